"""A whole board in simulation, and the real driver at the other end of its serial line."""

import random
import threading
from collections.abc import Callable, Iterator

import pytest

from einchip.arch import PRESETS, Architecture
from einchip.compiler.folder import Folder
from einchip.host import DeviceError, Session
from einchip.host.compare import compare
from einchip.registers import ADDRESS, ID_VALUE
from tests.compiler import cases
from tests.compiler.helpers import compiled_small, compiled_vowels, labelled
from tests.fpga.board.virtual import VirtualBoard
from tests.host.helpers import folder_of

#: The machine of most boards, and one whose beats are the host's words.
MACHINES = ["pico", pytest.param("nano", marks=pytest.mark.nightly)]
MEMORY = 1 << 15
#: Seconds after which something happens in the middle of a transfer, which takes some more.
SOON = 0.3
#: Seconds until a request that was lost is sent again.
RETRY = 0.5


@pytest.fixture(scope="module", params=MACHINES)
def arch(request: pytest.FixtureRequest) -> Architecture:
    return PRESETS[request.param]


@pytest.fixture(scope="module")
def board(arch: Architecture, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualBoard]:
    with VirtualBoard(arch, MEMORY, tmp_path_factory.mktemp("board")) as board:
        yield board


@pytest.fixture(scope="module")
def vowels(arch: Architecture) -> Folder:
    """The trained MPS model of Japanese Vowels with one of its sequences."""
    return folder_of(compiled_vowels("mps", arch.name, 8), labelled("test").sequences[:1])


@pytest.fixture(scope="module")
def small(arch: Architecture) -> Folder:
    """A small model with a short sequence."""
    return folder_of(compiled_small(preset=arch.name), cases.sequences("mpo lstm", (2,)))


def assert_runs(board: VirtualBoard, model: Folder) -> None:
    """Open the board, load a model, and compare every word with the reference."""
    with board.open() as device:
        session = Session(device, board.arch)
        report = compare(session, model)
    assert report.n_words
    assert report.n_differing == 0


def during(what: Callable[[], None], transfer: Callable[[], object]) -> None:
    """Do something in the middle of a transfer."""
    timer = threading.Timer(SOON, what)
    timer.start()
    try:
        transfer()
    finally:
        timer.join()


def test_registers_and_memory_are_reached(board: VirtualBoard) -> None:
    with board.open() as device:
        assert device.memory_bytes == MEMORY
        assert device.read_register(ADDRESS["ID"]) == ID_VALUE
        data = random.Random(1).randbytes(700)
        device.write_memory(1001, data)
        assert device.read_memory(1001, 700) == data
        with pytest.raises(DeviceError, match="within the 32,768 bytes"):
            device.read_memory(MEMORY - 3, 4)
        with pytest.raises(DeviceError, match="found no such register"):
            device.read_register(0x4C)
        assert device.read_register(ADDRESS["ID"]) == ID_VALUE


def test_a_trained_model_gives_the_words_of_the_reference(
    board: VirtualBoard, vowels: Folder
) -> None:
    assert_runs(board, vowels)


def test_another_machine_than_the_models_is_refused(board: VirtualBoard) -> None:
    with board.open() as device, pytest.raises(DeviceError, match=r"configuration .* of small"):
        Session(device, PRESETS["small"])


def test_bytes_that_are_lost_or_changed_are_sent_again(board: VirtualBoard) -> None:
    data = random.Random(2).randbytes(2000)
    try:
        with board.open(RETRY) as device:
            board.do("errors 5 600")
            device.write_memory(0, data)
            assert device.read_memory(0, len(data)) == data
            board.do("errors 0 0")
            assert device.read_memory(0, len(data)) == data
    finally:
        board.do("errors 0 0")


def test_a_line_that_is_too_bad_is_an_error_and_a_good_one_works_again(
    board: VirtualBoard, small: Folder
) -> None:
    try:
        with board.open(RETRY) as device:
            board.do("errors 6 12")
            with pytest.raises(DeviceError, match="found no answer in 5 tries"):
                device.write_memory(0, bytes(range(256)) * 8)
            with pytest.raises(DeviceError, match="closed; open it again"):
                device.read_register(0)
    finally:
        board.do("errors 0 0")
    assert_runs(board, small)


def test_a_reset_in_the_middle_is_told_and_the_model_loaded_again(
    board: VirtualBoard, small: Folder
) -> None:
    with board.open(RETRY) as device, pytest.raises(DeviceError, match="was reset"):
        during(lambda: board.do("reset"), lambda: device.write_memory(0, bytes(MEMORY)))
    assert_runs(board, small)


def test_a_pulled_cable_is_told_and_the_model_loaded_again(
    board: VirtualBoard, small: Folder
) -> None:
    with board.open(RETRY) as device, pytest.raises(DeviceError, match=r"lost: .*plug it in"):
        during(lambda: board.do("pull"), lambda: device.write_memory(0, bytes(MEMORY)))
    board.do("plug")
    assert_runs(board, small)
