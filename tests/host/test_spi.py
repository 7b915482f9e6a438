"""host.spi_port against a board of this process, in place of the kernel's transfers."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from einchip.host import DeviceError, open_device, spi_port
from einchip.host.link_device import LONGEST, TRIES
from einchip.host.spi_port import DEFAULT_HZ, SpiDevice
from einchip.link import ESCAPE, FILL, FLAG, FLIP, FrameError, Request, request_of
from einchip.registers import ADDRESS, ID_VALUE
from tests.host.peer import MEMORY, NANO, RETRY, Peer, Reply

NODE = "/dev/spidev0.0"
NOTHING = bytes((FILL,))


class Board:
    """A board's bytes, one for each that comes; as the bridge, it is deaf while it answers.

    `sends` are bytes that it still has to send; before each it has nothing for `pause` bytes.
    """

    def __init__(self, reply: Reply, sends: bytes = b"", pause: int = 0) -> None:
        self.reply, self.sends, self.pause = reply, bytearray(sends), pause
        self.heard, self.waited, self.opened = b"", 0, list[tuple[str, int, int]]()

    def move(self, byte: int) -> int:
        """Return what the board sends while a byte comes."""
        busy, out = bool(self.sends), FILL
        if busy and self.waited == self.pause:
            out, self.waited = self.sends.pop(0), 0
        elif busy:
            self.waited += 1
        if byte != FILL and not busy:
            self.hear(byte)
        return out

    def hear(self, byte: int) -> None:
        """Answer a frame at its end."""
        self.heard += bytes((byte,))
        if byte != FLAG:
            return
        frame, self.heard = self.heard[:-1], b""
        try:
            answer = self.reply(request_of(frame))
        except FrameError:
            return
        for plain in answer or b"":
            self.sends += bytes((ESCAPE, FILL ^ FLIP)) if plain == FILL else bytes((plain,))


Connect = Callable[[Board | int], Board | int]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Connect]:
    """Put a board, or a wire that keeps a level, at the end of every node."""
    files = list[int]()

    def at_nodes(end: Board | int) -> Board | int:
        class Spi:
            def __init__(self, node: str, mode: int, hz: int) -> None:
                self.fd = os.open(tmp_path / "node", os.O_RDWR | os.O_CREAT)
                files.append(self.fd)
                if isinstance(end, Board):
                    end.opened.append((node, mode, hz))

            def transfer(self, data: bytes) -> bytes:
                if isinstance(end, int):
                    return bytes((end,)) * len(data)
                return bytes(map(end.move, data))

            def close(self) -> None:
                if self.fd in files:
                    files.remove(self.fd)
                    os.close(self.fd)

        monkeypatch.setattr(spi_port, "SPI", Spi)
        return end

    yield at_nodes
    assert files == []


def test_registers_and_memory_are_reached_in_mode_0(connect: Connect) -> None:
    board = Board(Peer())
    connect(board)
    content = bytes(range(256)) * 3 + NOTHING * 40
    with open_device(f"spi:{NODE}", NANO) as device:
        assert device.memory_bytes == MEMORY
        assert device.read_register(ADDRESS["ID"]) == ID_VALUE
        device.write_register(ADDRESS["BASE1"], 0x7C7C_7E7D)
        assert device.read_register(ADDRESS["BASE1"]) == 0x7C7C_7E7D
        device.write_memory(1001, content)
        assert device.read_memory(1001, len(content)) == content
    open_device(f"spi:{NODE}@500000", NANO).close()
    assert board.opened == [(NODE, 0, DEFAULT_HZ), (NODE, 0, 500_000)]


@pytest.mark.parametrize("pause", [1, 7, 100])
def test_a_slow_board_is_waited_for(connect: Connect, pause: int) -> None:
    connect(Board(Peer(), pause=pause))
    with SpiDevice(NODE, timeout=5) as device:
        device.write_memory(0, bytes(range(100)))
        assert device.read_memory(0, 100) == bytes(range(100))


@pytest.mark.parametrize("left", [b"\x11", bytes((FLAG,)) + bytes(LONGEST), bytes((FLAG,)) * 99])
def test_what_a_board_had_still_to_send_is_taken_before_it_is_asked(
    connect: Connect, left: bytes
) -> None:
    """Somebody before asked, and did not wait; the first try is answered."""
    peer = Peer()
    connect(Board(peer, sends=left))
    with SpiDevice(NODE, timeout=5) as device:
        assert device.read_register(ADDRESS["ID"]) == ID_VALUE
    assert [request.tag for request in peer.asked] == [1, 2]


@pytest.mark.parametrize("lost", ["request", "answer", "answer changed"])
def test_what_is_lost_is_sent_again_with_the_same_tag(connect: Connect, lost: str) -> None:
    peer, trouble = Peer(), [0]

    def reply(request: Request) -> bytes | None:
        trouble[0] += 1
        if trouble[0] % 3 and lost == "request":
            return None
        answer = peer(request) or b""
        if trouble[0] % 3:
            return None if lost == "answer" else answer[:3] + bytes((answer[3] ^ 1,)) + answer[4:]
        return answer

    connect(Board(reply))
    with SpiDevice(NODE, timeout=RETRY) as device:
        device.write_memory(8, b"words of 4 b")
        assert device.read_memory(8, 12) == b"words of 4 b"
    assert {request.tag for request in peer.asked} == {1, 2, 3}
    assert len(set(peer.asked)) == 3


@pytest.mark.parametrize("level", [0x00, 0xFF, FILL, FLAG])
def test_a_wire_without_a_board_is_told_after_some_tries(connect: Connect, level: int) -> None:
    connect(level)
    with pytest.raises(DeviceError) as error:
        SpiDevice(NODE, 2_000_000, timeout=RETRY)
    assert str(error.value).startswith(f"{NODE}: found no answer in {TRIES} tries of 0.05")
    assert "expected one at 2000000 Hz; check power, wires, frequency" in str(error.value)
    assert "built with --link spi" in str(error.value)


def test_a_transfer_that_fails_is_a_lost_board(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> int:
        raise OSError(errno.EIO, "SPI transfer: Input/output error")

    board = Board(Peer())
    connect(board)
    with SpiDevice(NODE, timeout=5) as device:
        monkeypatch.setattr(board, "move", fail)
        with pytest.raises(DeviceError, match=f"{NODE}: lost: spi transfer: input/output error;"):
            device.read_register(0)
        with pytest.raises(DeviceError, match="is closed; open it again"):
            device.read_register(0)


def test_a_node_that_somebody_uses_is_told(connect: Connect) -> None:
    connect(Board(Peer()))
    with SpiDevice(NODE), pytest.raises(DeviceError, match="a node that nobody else uses"):
        SpiDevice(NODE)


def test_a_node_that_is_not_there_is_named_with_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "no such file or directory, expected a device node of SPI; there are: "
    with pytest.raises(DeviceError, match=f"^/dev/spidev9.9: .*{message}"):
        SpiDevice("/dev/spidev9.9")
    for name in ("spidev1.1", "spidev0.0", "ttyS0"):
        (tmp_path / name).touch()
    monkeypatch.setattr(spi_port, "NODES", tmp_path)
    with pytest.raises(DeviceError, match=f"{message}{tmp_path}/spidev0.0, {tmp_path}/spidev1.1$"):
        SpiDevice(str(tmp_path / "spidev0.1"))


def test_a_file_that_is_no_node_of_spi_is_told() -> None:
    with pytest.raises(DeviceError, match=r"/dev/null: .*, expected a device node of SPI, such as"):
        SpiDevice("/dev/null")


def test_a_node_without_permission_says_whose_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(
        DeviceError, match=r"permission denied, expected permission .*group \(spi\)"
    ):
        SpiDevice(NODE)


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "periphery", None)
    monkeypatch.delitem(sys.modules, "einchip.host.spi_port")
    with pytest.raises(
        DeviceError, match=r"^spi: found no python-periphery; install einchip\[host\]"
    ):
        importlib.import_module("einchip.host.spi_port")
