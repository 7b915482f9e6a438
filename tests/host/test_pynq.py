"""PYNQ boards, against a stand-in of the package whose memory is behind a cache."""

from __future__ import annotations

import sys
from functools import partial

import pytest

from einchip.host import Layout, Session, open_device
from einchip.host.pynq_device import PynqDevice
from einchip.registers import ID_VALUE
from tests.host.fake_pynq import IP, MEMORY_AT, OTHERS, Board
from tests.host.helpers import NANO, read, refused, zoo

N_BYTES = Layout.of(zoo()).size


def plugged(monkeypatch: pytest.MonkeyPatch, board: Board) -> Board:
    """Let `import pynq` find a board."""
    monkeypatch.setitem(sys.modules, "pynq", board.module)
    return board


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    return plugged(monkeypatch, Board(NANO, N_BYTES))


def test_model_answers_as_on_the_simulator(board: Board) -> None:
    """Through base addresses that are not 0, and a cache."""
    folder = zoo()
    plain = Session(open_device("simulator", NANO, N_BYTES), NANO)
    plain.load(folder)
    with open_device("pynq:nano.bit", NANO, N_BYTES) as device:
        assert (device.memory_base, device.memory_bytes) == (MEMORY_AT, N_BYTES)
        session = Session(device, NANO)
        session.load(folder)
        for number in (2, 0, 1):
            found, expected = session.run(number), plain.run(number)
            assert (found.output, found.counters) == (expected.output, expected.counters)
    assert board.loaded == ["nano.bit"]
    assert not any(board.machine.read_memory(0, MEMORY_AT))


def test_memory_at_any_alignment(board: Board) -> None:
    device = PynqDevice("nano.bit", N_BYTES)
    device.write_memory(3, b"hello")
    device.write_memory(N_BYTES - 1, b"!")
    device.write_memory(N_BYTES, b"")
    assert board.machine.read_memory(MEMORY_AT + 3, 5) == b"hello"
    board.machine.write_memory(MEMORY_AT + 4, b"a")
    assert device.read_memory(2, 7) == b"\0hallo\0"
    assert device.read_memory(N_BYTES - 1, 1) == b"!"
    assert device.read_memory(N_BYTES, 0) == b""
    message = refused(lambda: device.read_memory(N_BYTES - 1, 2))
    assert message.startswith(f"memory: found 2 bytes from {N_BYTES - 1:#x} on")
    message = refused(lambda: device.write_memory(-1, b"a"))
    assert message.startswith("memory: found 1 bytes from -0x1 on")


@pytest.mark.usefixtures("board")
def test_unknown_register_is_never_asked_for() -> None:
    device = PynqDevice("nano.bit", N_BYTES)
    assert read(device, "ID") == ID_VALUE
    for address in (2, 0x7C, 0x200, -4):
        message = refused(partial(device.read_register, address))
        assert message.startswith(f"register {address:#x}: found none there")
        refused(partial(device.write_register, address, 0))


def test_memory_is_freed_once_and_then_the_device_is_closed(board: Board) -> None:
    with PynqDevice("nano.bit", N_BYTES) as device:
        assert board.n_buffers == 1
        device.close()
        assert board.n_buffers == 0
        for use in (lambda: device.read_memory(0, 1), lambda: read(device, "ID")):
            assert refused(use) == "pynq: found the device closed: open it again"
    assert board.n_buffers == 0


def test_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynq", None)
    message = refused(lambda: open_device("pynq:nano.bit", NANO))
    assert message == "pynq: found no such package: run on a board with a PYNQ image"


@pytest.mark.usefixtures("board")
def test_what_the_package_refuses_is_one_line() -> None:
    assert refused(lambda: PynqDevice("nano.txt", N_BYTES)) == (
        "pynq: nano.txt: cannot load it: Bitstream file nano.txt does not exist."
    )
    assert refused(lambda: PynqDevice("nano.bit", N_BYTES + 4096)) == (
        f"pynq: nano.bit: cannot allocate {N_BYTES + 4096:,} bytes: Failed to allocate memory!"
    )


@pytest.mark.parametrize(
    ("blocks", "found"),
    [
        (OTHERS, "axi_dma_0"),
        ({"a": IP, "b": IP, **OTHERS}, "a, b"),
        ({"Einchip_0": {**IP, "type": "x"}}, None),
    ],
)
def test_design_has_one_block_of_ours(
    blocks: dict[str, dict[str, object]], found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugged(monkeypatch, Board(NANO, N_BYTES, **blocks))
    if found is None:
        assert read(PynqDevice("nano.bit", N_BYTES), "ID") == ID_VALUE
        return
    message = refused(lambda: PynqDevice("nano.bit", N_BYTES))
    assert message.startswith(f"pynq: nano.bit: found {found}, expected one block with einchip in ")
