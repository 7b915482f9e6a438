"""The host link: frames of bytes over a line (UART, SPI) that may lose or change some.

A frame is what stands between two FLAG bytes. Inside it, FLAG and ESCAPE are sent as ESCAPE and the
byte with FLIP, so that a receiver is in step again after the next FLAG, whatever came before. Its
last CRC_BYTES are the CRC-32 of the others (ISO-HDLC, `zlib.crc32`), low byte first. A frame that
is too short or too long, or whose CRC is wrong, is dropped without an answer.

    request    kind, tag, length (2), address (4), data
    answer     kind | ANSWER, tag, status, 0, data

Numbers are little endian. One request is under way at a time. The host repeats one that is not
answered, with the same tag; the device does not carry out a write a second time whose tag is that
of the request before it, but answers again. `data` of a request are what is written; of an answer,
what was read. `length` are the bytes to read or to write; it and `address` are multiples of
WORD_BYTES.

After a reset the device answers NOT_OPEN to everything but OPEN, so that a host learns that what it
had loaded is gone. OPEN forgets the last tag. Its answer is OPEN_ANSWER: PROTOCOL, WORD_BYTES of
each field, and the bytes of memory.

Over SPI bytes move in both directions whenever the host moves one. Whoever has nothing to send
sends FILL, within a frame, too; it is dropped where it arrives. FILL itself has an escape there, as
FLAG has (`without_fill`).
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from typing import Final, NamedTuple

FLAG: Final = 0x7E
ESCAPE: Final = 0x7D
FLIP: Final = 0x20
#: Nothing, over SPI. Shifted by some bits, as after a lost edge of the clock, it is no FLAG.
FILL: Final = 0x7C
CRC_BYTES: Final = 4
#: Version of what this module says.
PROTOCOL: Final = 1
WORD_BYTES: Final = 4
#: Most bytes that a request reads or writes.
MAX_DATA: Final = 256
#: This bit of `kind` tells an answer from a request.
ANSWER: Final = 0x80
REQUEST: Final = struct.Struct("<BBHI")
REPLY: Final = struct.Struct("<BBBx")
OPEN_ANSWER: Final = struct.Struct("<II")
#: Bytes of the longest frame, CRC included, as they are before escapes.
MAX_FRAME: Final = REQUEST.size + MAX_DATA + CRC_BYTES


class Kind(IntEnum):
    """What a request asks for."""

    OPEN = 1
    READ_REGISTER = 2
    WRITE_REGISTER = 3
    READ_MEMORY = 4
    WRITE_MEMORY = 5

    @property
    def writes(self) -> bool:
        """Whether the request has data."""
        return self in (Kind.WRITE_REGISTER, Kind.WRITE_MEMORY)


class Status(IntEnum):
    """How a request ended."""

    OK = 0
    BUS_ERROR = 1  # a register that there is not
    BAD_REQUEST = 2  # unknown kind; odd address or length; memory's end
    NOT_OPEN = 3  # since the last reset


class FrameError(ValueError):
    """Bytes that are no frame of this protocol."""


class Request(NamedTuple):
    """A request as the host states it; `length` bytes are read, or `data` written."""

    kind: Kind
    tag: int
    address: int = 0
    length: int = 0
    data: bytes = b""


class Answer(NamedTuple):
    """What the device answers."""

    kind: int
    tag: int
    status: int
    data: bytes


def framed(content: bytes) -> bytes:
    """Return content with its CRC, escapes and flags."""
    whole = content + zlib.crc32(content).to_bytes(CRC_BYTES, "little")
    escaped = b"".join(
        bytes((ESCAPE, b ^ FLIP)) if b in (FLAG, ESCAPE) else bytes((b,)) for b in whole
    )
    return bytes((FLAG,)) + escaped + bytes((FLAG,))


def without_fill(wire: bytes) -> bytes:
    """Return frames with an escape for FILL, as they go over SPI."""
    return wire.replace(bytes((FILL,)), bytes((ESCAPE, FILL ^ FLIP)))


def content_of(frame: bytes) -> bytes:
    """Return the content of what stood between two flags. Raises FrameError for none of ours."""
    plain, escaped = bytearray(), False
    for byte in frame:
        if byte == ESCAPE:
            if escaped:
                raise FrameError("found two escapes in a row")
            escaped = True
        else:
            plain.append(byte ^ FLIP if escaped else byte)
            escaped = False
    content, crc = bytes(plain[:-CRC_BYTES]), int.from_bytes(plain[-CRC_BYTES:], "little")
    if escaped or len(plain) <= CRC_BYTES or zlib.crc32(content) != crc:
        raise FrameError(f"found {len(frame)} bytes whose CRC is wrong")
    return content


def request_bytes(request: Request) -> bytes:
    """Return a request as it goes over the line."""
    length = len(request.data) if request.kind.writes else request.length
    head = REQUEST.pack(request.kind, request.tag, length, request.address)
    return framed(head + request.data)


def request_of(frame: bytes) -> Request:
    """Return the request in a frame. Raises FrameError for something else."""
    content = content_of(frame)
    if len(content) < REQUEST.size or content[0] not in Kind.__members__.values():
        raise FrameError(f"found {content[:1].hex()} in front, expected a kind of request")
    kind, tag, length, address = REQUEST.unpack_from(content)
    return Request(Kind(kind), tag, address, length, content[REQUEST.size :])


def answer_bytes(answer: Answer) -> bytes:
    """Return an answer as it goes over the line."""
    return framed(REPLY.pack(answer.kind | ANSWER, answer.tag, answer.status) + answer.data)


def answer_of(frame: bytes) -> Answer:
    """Return the answer in a frame. Raises FrameError for something else."""
    content = content_of(frame)
    if len(content) < REPLY.size or not content[0] & ANSWER:
        raise FrameError(f"found {content[:1].hex()} in front, expected an answer")
    kind, tag, status = REPLY.unpack_from(content)
    return Answer(kind & ~ANSWER, tag, status, content[REPLY.size :])
