"""A whole board in simulation, and the real driver at the other end of its link."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from typing import NamedTuple

import pytest

from einchip.arch import PRESETS, Architecture
from einchip.compiler.folder import Folder
from einchip.host import Device, DeviceError, Session
from einchip.host.compare import compare
from einchip.link import MAX_DATA
from einchip.registers import ADDRESS, ID_VALUE
from tests.compiler import cases
from tests.compiler.helpers import compiled_small, compiled_vowels, labelled
from tests.fpga.board.virtual import PATIENCE, VirtualBoard
from tests.host.helpers import folder_of

Boards = Callable[[str, str], VirtualBoard]
MEMORY = 1 << 15
#: Seconds after which something happens in the middle of a transfer, which takes some more.
SOON = 0.3
#: Seconds until a request that was lost is sent again, at least; and how many times the time of a
#: long answer that is, where the computer is busy.
RETRY, ANSWERS = 0.5, 4
#: Links that a board has, its machine, and the link that is used. Most boards have `pico`; a beat
#: of `nano` is the host's word; `femto` and its memory are those of the iCEBreaker.
BY_UART, BY_SPI = ("uart spi", "pico", "uart"), ("uart spi", "pico", "spi")
ALONE = [
    pytest.param((link, preset, link), marks=pytest.mark.nightly)
    for preset in ("pico", "nano")
    for link in ("uart", "spi")
]
ONE = ("uart", "femto", "uart")
RUNS = [BY_UART, BY_SPI, ONE, *ALONE]
#: What waits long, for nobody to answer, over the other link at night only.
LONG = pytest.mark.parametrize(
    "end",
    [BY_UART, pytest.param(BY_SPI, marks=pytest.mark.nightly), *ALONE],
    indirect=True,
    ids=" ".join,
    scope="module",
)


class End(NamedTuple):
    """The host's end of a link of a board."""

    board: VirtualBoard
    link: str

    @property
    def arch(self) -> Architecture:
        return self.board.arch

    def open(self, timeout: float = PATIENCE / 4) -> Device:
        return self.board.open(self.link, timeout)

    def retry(self) -> float:
        """Return seconds until a request is sent again, by how fast the simulation is."""
        with self.open() as device:
            begin = time.monotonic()
            device.read_memory(0, 3 * MAX_DATA)
            return max(RETRY, ANSWERS / 3 * (time.monotonic() - begin))

    def errors(self, seed: int, one_in: int) -> None:
        self.board.do(f"errors {self.link} {seed} {one_in}")


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boards]:
    """Boards by their links and machines; one runs until another is asked for."""
    with ExitStack() as running:

        @lru_cache(maxsize=1)
        def board(links: str, preset: str) -> VirtualBoard:
            running.close()
            folder = tmp_path_factory.mktemp("board")
            return running.enter_context(VirtualBoard(links, PRESETS[preset], MEMORY, folder))

        yield board


@pytest.fixture(scope="module", params=RUNS, ids=" ".join)
def end(request: pytest.FixtureRequest, boards: Boards) -> End:
    links, preset, link = request.param
    return End(boards(links, preset), link)


@pytest.fixture(scope="module")
def vowels(end: End) -> Folder:
    """The trained MPS model of Japanese Vowels with some of its sequences."""
    n = 1 if end.arch.serial else 2
    return folder_of(compiled_vowels("mps", end.arch.name, 8), labelled("test").sequences[:n])


@pytest.fixture(scope="module")
def small(end: End) -> Folder:
    """A small model with a short sequence."""
    return folder_of(compiled_small(preset=end.arch.name), cases.sequences("mpo lstm", (2,)))


def assert_runs(end: End, model: Folder) -> None:
    """Open the board, load a model, and compare every word with the reference."""
    with end.open() as device:
        session = Session(device, end.arch)
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


def test_registers_and_memory_are_reached(end: End) -> None:
    with end.open() as device:
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


def test_a_trained_model_gives_the_words_of_the_reference(end: End, vowels: Folder) -> None:
    assert_runs(end, vowels)


def test_another_machine_than_the_models_is_refused(end: End) -> None:
    with end.open() as device, pytest.raises(DeviceError, match=r"configuration .* of small"):
        Session(device, PRESETS["small"])


def test_bytes_that_are_lost_or_changed_are_sent_again(end: End) -> None:
    data = random.Random(2).randbytes(1200)
    try:
        with end.open(end.retry()) as device:
            end.errors(5, 800)
            device.write_memory(0, data)
            assert device.read_memory(0, len(data)) == data
            end.errors(0, 0)
            assert device.read_memory(0, len(data)) == data
    finally:
        end.errors(0, 0)


@LONG
def test_a_line_that_is_too_bad_is_an_error_and_a_good_one_works_again(
    end: End, small: Folder
) -> None:
    try:
        with end.open(end.retry()) as device:
            end.errors(6, 12)
            with pytest.raises(DeviceError, match="found no answer in 5 tries"):
                device.write_memory(0, bytes(range(256)) * 8)
            with pytest.raises(DeviceError, match="closed; open it again"):
                device.read_register(0)
    finally:
        end.errors(0, 0)
    assert_runs(end, small)


def test_a_reset_in_the_middle_is_told_and_the_model_loaded_again(end: End, small: Folder) -> None:
    with end.open(end.retry()) as device, pytest.raises(DeviceError, match="was reset"):
        during(lambda: end.board.do("reset"), lambda: device.write_memory(0, bytes(MEMORY)))
    assert_runs(end, small)


@LONG
def test_a_pulled_cable_is_told_and_the_model_loaded_again(end: End, small: Folder) -> None:
    """A serial port of USB goes away; at the end of SPI nobody answers."""
    told = {"uart": r"lost: .*plug it in", "spi": "found no answer in 5 tries"}
    with end.open(end.retry()) as device, pytest.raises(DeviceError, match=told[end.link]):
        during(
            lambda: end.board.do(f"pull {end.link}"), lambda: device.write_memory(0, bytes(MEMORY))
        )
    end.board.do(f"plug {end.link}")
    assert_runs(end, small)
