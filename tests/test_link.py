"""einchip.link: frames, and what is no frame."""

import random
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip.link import (
    CRC_BYTES,
    ESCAPE,
    FILL,
    FLAG,
    MAX_DATA,
    MAX_FRAME,
    Answer,
    FrameError,
    Kind,
    Request,
    Status,
    answer_bytes,
    answer_of,
    content_of,
    framed,
    request_bytes,
    request_of,
    without_fill,
)


@given(content=st.binary(min_size=1, max_size=MAX_DATA))
def test_a_frame_gives_its_content_and_has_flags_at_its_ends_only(content: bytes) -> None:
    frame = framed(content)
    assert frame[0] == frame[-1] == FLAG
    assert FLAG not in frame[1:-1]
    assert content_of(frame[1:-1]) == content


@given(content=st.binary(min_size=1, max_size=MAX_DATA), pad=st.integers(0, 9))
def test_a_frame_over_spi_has_no_fill_and_the_same_content(content: bytes, pad: int) -> None:
    frame = without_fill(framed(content + bytes((FILL,)) * pad))
    assert FILL not in frame
    assert frame.count(FLAG) == 2
    assert content_of(frame[1:-1]) == content + bytes((FILL,)) * pad


@pytest.mark.parametrize("n_bits", range(1, 8))
def test_fill_that_is_out_of_step_is_no_flag(n_bits: int) -> None:
    assert (FILL << n_bits | FILL >> 8 - n_bits) & 0xFF not in (FLAG, ESCAPE)


def test_a_frame_is_that_of_the_page() -> None:
    """Written out by hand: CRC-32 low byte first, both special bytes escaped."""
    content = bytes((FLAG, ESCAPE, 0x11))
    crc = struct.pack("<I", zlib.crc32(content))
    assert not {FLAG, ESCAPE} & {*crc}
    assert framed(content) == bytes.fromhex("7e 7d5e 7d5d 11") + crc + bytes((FLAG,))


@given(
    kind=st.sampled_from(Kind), tag=st.integers(0, 255), words=st.integers(0, MAX_DATA // 4),
    address=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_requests_come_back(kind: Kind, tag: int, words: int, address: int) -> None:
    data = random.Random(words).randbytes(4 * words) if kind.writes else b""
    request = Request(kind, tag, address, 4 * words, data)
    wire = request_bytes(request)
    assert request_of(wire[1:-1]) == request
    assert len(content_of(wire[1:-1])) <= MAX_FRAME - CRC_BYTES


@given(
    kind=st.sampled_from(Kind), tag=st.integers(0, 255), status=st.sampled_from(Status),
    data=st.binary(max_size=MAX_DATA),
)  # fmt: skip
def test_answers_come_back(kind: Kind, tag: int, status: Status, data: bytes) -> None:
    answer = Answer(kind, tag, status, data)
    assert answer_of(answer_bytes(answer)[1:-1]) == answer


@given(content=st.binary(min_size=1, max_size=40), bit=st.integers(0))
def test_a_changed_bit_or_a_lost_byte_is_noticed(content: bytes, bit: int) -> None:
    frame = bytearray(framed(content)[1:-1])
    place = bit % (8 * len(frame))
    changed = bytearray(frame)
    changed[place // 8] ^= 1 << place % 8
    lost = frame[: place // 8] + frame[place // 8 + 1 :]
    for wrong in (changed, lost):
        with pytest.raises(FrameError):
            content_of(bytes(wrong))


@pytest.mark.parametrize("frame", [b"", b"\x01", b"\x7d", b"\x01\x7d\x7d\x02" + bytes(8)])
def test_what_is_no_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(FrameError):
        content_of(frame)


def test_an_answer_is_no_request_and_the_other_way_round() -> None:
    request, answer = request_bytes(Request(Kind.OPEN, 1)), answer_bytes(Answer(1, 1, 0, b""))
    with pytest.raises(FrameError, match="expected a kind of request"):
        request_of(answer[1:-1])
    with pytest.raises(FrameError, match="expected an answer"):
        answer_of(request[1:-1])
