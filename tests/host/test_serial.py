"""host.serial_port against a peer of this process, at the other end of a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from einchip.host import DeviceError, open_device
from einchip.host.link_device import TRIES
from einchip.host.serial_port import SerialDevice
from einchip.link import (
    FLAG,
    MAX_DATA,
    PROTOCOL,
    Answer,
    FrameError,
    Kind,
    Request,
    Status,
    answer_bytes,
    request_of,
)
from einchip.registers import ADDRESS, ID_VALUE
from tests.host.peer import MEMORY, NANO, RETRY, Peer, Reply


@contextmanager
def line(reply: Reply) -> Iterator[str]:
    """Yield the name of a port at whose other end requests get replies; None: no answer."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    ended = threading.Event()

    def serve() -> None:
        pending = b""
        while not ended.is_set():
            if not select.select([master], [], [], 0.02)[0]:
                continue
            *frames, pending = (pending + os.read(master, 4096)).split(bytes((FLAG,)))
            for frame in frames:
                try:
                    answer = reply(request_of(frame))
                except FrameError:
                    continue
                if answer is not None:
                    os.write(master, answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        ended.set()
        thread.join()
        os.close(master)
        os.close(slave)


def test_registers_and_memory_of_any_alignment_are_reached() -> None:
    peer = Peer()
    with line(peer) as port, SerialDevice(port, timeout=5) as device:
        assert device.memory_bytes == MEMORY
        assert device.read_register(ADDRESS["ID"]) == ID_VALUE
        device.write_register(ADDRESS["BASE1"], 0x1234_5678)
        assert device.read_register(ADDRESS["BASE1"]) == 0x1234_5678
        content = bytes(range(256)) * 3
        for address in (0, 1, 2, 3, 1001):
            for n_bytes in (0, 1, 3, 4, 5, 700):
                before = bytearray(device.read_memory(0, MEMORY))
                device.write_memory(address, content[:n_bytes])
                before[address : address + n_bytes] = content[:n_bytes]
                assert device.read_memory(0, MEMORY) == before
                assert device.read_memory(address, n_bytes) == content[:n_bytes]
    for request in peer.asked:
        assert request.address % 4 == request.length % 4 == 0
        assert request.length <= MAX_DATA


def test_it_is_opened_by_its_address_with_and_without_a_baud_rate() -> None:
    with line(Peer()) as port:
        for text in (f"serial:{port}", f"serial:{port}@115200"):
            with open_device(text, NANO) as device:
                assert device.read_register(ADDRESS["ID"]) == ID_VALUE


@pytest.mark.parametrize("lost", ["request", "answer", "answer changed"])
def test_what_is_lost_is_sent_again_with_the_same_tag(lost: str) -> None:
    peer, trouble = Peer(), [0]

    def reply(request: Request) -> bytes | None:
        trouble[0] += 1
        if trouble[0] % 3:
            if lost == "request":
                return None
            answer = peer(request) or b""
            return None if lost == "answer" else answer[:3] + bytes((answer[3] ^ 1,)) + answer[4:]
        return peer(request)

    with line(reply) as port, SerialDevice(port, timeout=RETRY) as device:
        assert device.read_register(ADDRESS["ID"]) == ID_VALUE
        device.write_memory(8, b"words of 4 b")
        assert device.read_memory(8, 12) == b"words of 4 b"
    by_tag: dict[int, set[Request]] = {}
    for request in peer.asked:
        by_tag.setdefault(request.tag, set()).add(request)
    assert len(by_tag) == 4
    assert all(len(requests) == 1 for requests in by_tag.values())


def test_answers_that_come_late_are_not_those_of_the_next_request() -> None:
    peer, held = Peer(), list[bytes]()

    def reply(request: Request) -> bytes | None:
        held.append(peer(request) or b"")
        # each request is answered by the answer to the one before it, then by its own
        return b"".join(held[-2:])

    with line(reply) as port, SerialDevice(port, timeout=5) as device:
        assert [device.read_register(ADDRESS[n]) for n in ("ID", "VERSION", "ID")] == [
            ID_VALUE,
            peer.device.read_register(ADDRESS["VERSION"]),
            ID_VALUE,
        ]


def test_garbage_before_an_answer_does_no_harm() -> None:
    peer = Peer()

    def reply(request: Request) -> bytes | None:
        return b"\x00noise\x7d" + bytes((FLAG,)) + b"more" + (peer(request) or b"")

    with line(reply) as port, SerialDevice(port, timeout=5) as device:
        assert device.read_register(ADDRESS["ID"]) == ID_VALUE


def opening(reply: Reply) -> str:
    """Return the error of a device that cannot be opened."""
    with line(reply) as port:
        with pytest.raises(DeviceError) as error:
            SerialDevice(port, timeout=RETRY)
        assert str(error.value).startswith(f"{port}: ")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_line_where_nobody_answers_is_told_after_some_tries() -> None:
    asked = list[Request]()
    message = opening(asked.append)
    assert f"found no answer in {TRIES} tries" in message
    assert "check power, cable, baud rate and bitstream" in message
    assert len(asked) == TRIES
    assert len(set(asked)) == 1


def test_another_protocol_is_refused() -> None:
    assert f"found protocol 9, expected {PROTOCOL}" in opening(Peer(protocol=9))


@pytest.mark.parametrize(
    ("status", "message", "closed"),
    [
        (Status.NOT_OPEN, "was reset: what it had loaded is gone", True),
        (Status.BUS_ERROR, "READ_REGISTER at 0x4: found no such register", False),
        (Status.BAD_REQUEST, "found status 2, expected 0", True),
        (77, "found status 77, expected 0", True),
    ],
)
def test_what_a_board_refuses_is_said_in_words(status: int, message: str, closed: bool) -> None:
    peer = Peer()

    def reply(request: Request) -> bytes | None:
        if request.kind is Kind.READ_REGISTER and request.address == 4:
            return answer_bytes(Answer(request.kind, request.tag, status, b""))
        return peer(request)

    with line(reply) as port, SerialDevice(port, timeout=5) as device:
        with pytest.raises(DeviceError, match=message):
            device.read_register(4)
        if closed:
            with pytest.raises(DeviceError, match="is closed; open it again"):
                device.read_register(0)
        else:
            assert device.read_register(0) == ID_VALUE


def test_an_answer_of_another_length_is_no_data() -> None:
    peer = Peer()

    def reply(request: Request) -> bytes | None:
        if request.kind is Kind.READ_MEMORY:
            return answer_bytes(Answer(request.kind, request.tag, Status.OK, b"123"))
        return peer(request)

    with (
        line(reply) as port,
        SerialDevice(port, timeout=5) as device,
        pytest.raises(DeviceError, match="found 3 bytes, expected 8"),
    ):
        device.read_memory(0, 8)


def test_a_port_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="expected a serial port; there are: "):
        SerialDevice(str(tmp_path / "ttyUSB7"))


def test_a_port_that_somebody_uses_is_told() -> None:
    with (
        line(Peer()) as port,
        SerialDevice(port, timeout=5),
        pytest.raises(DeviceError, match="that nobody else uses"),
    ):
        SerialDevice(port, timeout=5)


def test_a_port_without_permission_says_whose_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DeviceError, match=r"permission denied, expected permission .*dialout"):
        SerialDevice("/dev/ttyUSB0")
