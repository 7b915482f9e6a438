"""A compiled model on a device: check the machine, load weights and programs, run sequences.

Memory of the device holds what a folder's places say (weights, sequence, output, workspace), and
behind it, each from a page on, the two programs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from einchip.arch import Architecture
from einchip.compiler.compiled import PAGE_BYTES
from einchip.compiler.folder import Folder
from einchip.host.device import Device, DeviceError
from einchip.host.status import MachineStopError, Status
from einchip.numeric import Ints
from einchip.program import WORD_BYTES, Fill, Halt, Program, Space
from einchip.reference import Host, from_bytes
from einchip.registers import (
    ADDRESS,
    CONTROL_FETCH,
    CONTROL_START,
    COUNTERS,
    ID_VALUE,
    STATUS_DONE,
    STATUS_ERROR,
    STATUS_RUNNING,
    VERSION_VALUE,
)

DEFAULT_TIMEOUT_SECONDS: Final = 60.0
#: Seconds between two looks at STATUS: at first, and at most.
FIRST_PAUSE: Final = 0.0005
LONGEST_PAUSE: Final = 0.05
#: Rows that one loop of a FILL clears, a power of two.
FILL_ROWS: Final = 1 << 12
#: Bytes that the machine's addresses reach.
ADDRESSABLE: Final = 1 << 32


@dataclass(frozen=True)
class Result:
    """What a run left.

    Attributes
    ----------
    n_steps : time steps of the sequence.
    output : the answer's bytes, as they lie in memory.
    words : its elements, in the same order.
    counters : every counter of `registers.COUNTERS`; weights and program were on the chip before.
    """

    n_steps: int
    output: bytes
    words: Ints
    counters: dict[str, int]

    @property
    def cycles(self) -> int:
        """Cycles from start to stop."""
        return self.counters["cycles"]


@dataclass(frozen=True)
class Layout:
    """Where the programs lie in memory, and the bytes that all of a folder takes."""

    clear: int
    setup: int
    run: int
    size: int

    @classmethod
    def of(cls, folder: Folder) -> Layout:
        """Return the layout, everything from a page on."""
        starts = [folder.places.size]
        for program in (clearing(folder.arch), folder.setup, folder.run):
            starts.append(starts[-1] + -(-program.n_words * WORD_BYTES // PAGE_BYTES) * PAGE_BYTES)
        return cls(*starts)


def clearing(arch: Architecture) -> Program:
    """Return the program that makes every element of both scratchpads 0."""

    def fill(space: Space) -> Fill:
        depth = arch.depth(space)
        rows = min(depth, FILL_ROWS)
        return Fill(
            nl0=arch.lanes,
            dst_l0=1,
            dst_space=space,
            loop_count=(rows, -(-depth // rows), 1, 1),
            loop_dst=(arch.lanes, arch.lanes * rows, 0, 0),
        )

    return Program((*map(fill, Space), Halt()))


class Session:
    """The use of a device by one host.

    After any error what was loaded counts as lost: load again, here or in a new session.

    Parameters
    ----------
    device
        Stays open, whatever happens here.
    arch
        The machine that it should be.
    timeout_seconds
        A machine that runs for longer is given up.

    Raises
    ------
    DeviceError
        It is another machine, another version or configuration; it runs and does not stop.
    """

    def __init__(
        self, device: Device, arch: Architecture, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> None:
        self.device, self.arch, self.timeout_seconds = device, arch, timeout_seconds
        self._loaded: Folder | None = None
        self._check_identity()
        self._check_memory()
        self._wait("what was started before", STATUS_RUNNING, 0)

    def load(self, folder: Folder) -> int:
        """Write weights and programs, run the setup, and return its cycles.

        The scratchpads are cleared before, so that what comes does not depend on what was there. A
        step of zeros follows: it brings the program of the runs into program memory, so that all of
        them take what they take without a fetch.

        Raises
        ------
        DeviceError
            The folder is for another machine, or memory is too small; what `run` raises.
        """
        layout, places = Layout.of(folder), folder.places
        self._loaded = None
        self._check_fits(folder, layout)
        self.device.write_memory(0, folder.weights)
        self._put(layout.clear, clearing(self.arch))
        self._execute("clearing", places.host(0), fetch=True)
        self._put(layout.setup, folder.setup)
        setup = self._execute("the setup", places.host(0), fetch=True)
        self._put(layout.run, folder.run)
        self.device.write_memory(places.sequence, bytes(folder.manifest.sequence.n_bytes(1)))
        self._execute("a step of zeros", places.host(1), fetch=True)
        self._loaded = folder
        return setup["cycles"]

    def run(self, sequence: int | tuple[int, bytes]) -> Result:
        """Run a sequence of the folder, by its number, or (time steps, bytes from BASE1 on).

        Raises
        ------
        DeviceError
            Nothing is loaded; the machine stopped with an error (MachineStopError) or did not stop
            in time.
        ValueError
            A sequence that there is not, or that the folder has no room for.
        """
        if self._loaded is None:
            raise DeviceError("session: nothing is loaded, or an error came after it: load first")
        folder = self._loaded
        n_steps, data = _checked(folder, sequence)
        places, n_bytes = folder.places, folder.manifest.output.n_bytes(n_steps)
        self._loaded = None  # until all went well
        self.device.write_memory(places.sequence, data)
        self.device.write_memory(places.output, bytes(n_bytes))  # no older answer is taken for this
        what = f"sequence {sequence}" if isinstance(sequence, int) else f"{n_steps} time steps"
        counters = self._execute(f"the run of {what}", places.host(n_steps), fetch=False)
        output = self.device.read_memory(places.output, n_bytes)
        self._loaded = folder
        return Result(n_steps, output, from_bytes(output, self.arch), counters)

    def _check_identity(self) -> None:
        found, version = self._get("ID"), self._get("VERSION")
        if found != ID_VALUE:
            raise DeviceError(
                f"device: found ID {found:#010x}, expected {ID_VALUE:#010x} of einchip: check the "
                "connection and what is loaded there"
            )
        if version != VERSION_VALUE:
            raise DeviceError(
                f"device: found version {_version(version)}, expected {_version(VERSION_VALUE)}: "
                "build its bitstream anew, or take the einchip that built it"
            )
        configuration = self._get("CONFIG_HASH")
        self._check_configuration("device", configuration, "build and load its bitstream")

    def _check_configuration(self, who: str, found: int, advice: str) -> None:
        expected = self.arch.config_hash
        if found != expected:
            raise DeviceError(
                f"{who}: found configuration {found:#010x}, expected {expected:#010x} of "
                f"{self.arch.name}: {advice}"
            )

    def _check_memory(self) -> None:
        base, size = self.device.memory_base, self.device.memory_bytes
        if base % PAGE_BYTES or base + size > ADDRESSABLE:
            raise DeviceError(
                f"device: found {size:,} bytes of memory from {base:#x} on, expected them below "
                f"{ADDRESSABLE:#x} from a multiple of {PAGE_BYTES} on: allocate less, or elsewhere"
            )

    def _check_fits(self, folder: Folder, layout: Layout) -> None:
        model, advice = folder.manifest.model, f"compile it for {self.arch.name}"
        self._check_configuration(model, folder.arch.config_hash, advice)
        missing = layout.size - self.device.memory_bytes
        if missing > 0:
            raise DeviceError(
                f"{model}: found {self.device.memory_bytes:,} bytes of memory on the device, "
                f"expected {layout.size:,}, which are {missing:,} more: give it more memory, or "
                "compile shorter sequences"
            )

    def _put(self, address: int, program: Program) -> None:
        """Write a program, and say where it is."""
        self.device.write_memory(address, program.encode())
        self._set("PROGRAM_ADDRESS", self.device.memory_base + address)
        self._set("PROGRAM_WORDS", program.n_words)

    def _execute(self, what: str, host: Host, fetch: bool) -> dict[str, int]:
        """Start, wait for the stop, and return the counters."""
        for k, base in enumerate(host.bases):
            self._set(f"BASE{k}", self.device.memory_base + base)
        for k, arg in enumerate(host.args):
            self._set(f"ARG{k}", arg)
        self._set("CONTROL", CONTROL_START | (CONTROL_FETCH if fetch else 0))
        bits = self._wait(what, STATUS_RUNNING | STATUS_DONE, STATUS_DONE)
        if bits & STATUS_ERROR:
            raise MachineStopError(what, Status.read(self.device))
        return {c.name: self._counter(c.name) for c in COUNTERS}

    def _wait(self, what: str, mask: int, value: int) -> int:
        """Wait until STATUS has this value under the mask, and return it."""
        deadline, pause = time.monotonic() + self.timeout_seconds, FIRST_PAUSE
        while (bits := self._get("STATUS")) & mask != value:
            if time.monotonic() >= deadline:
                raise DeviceError(
                    f"machine: {what} has not stopped within {self.timeout_seconds:g} s: "
                    f"{Status.read(self.device)}; give it more time (timeout_seconds), or reset it"
                )
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return bits

    def _get(self, name: str) -> int:
        return self.device.read_register(ADDRESS[name])

    def _set(self, name: str, value: int) -> None:
        self.device.write_register(ADDRESS[name], value)

    def _counter(self, name: str) -> int:
        low, high = (self._get(f"{name.upper()}_{half}") for half in ("LO", "HI"))
        return high << 32 | low


def _version(value: int) -> str:
    return f"{value >> 16}.{value & 0xFFFF}"


def _checked(folder: Folder, sequence: int | tuple[int, bytes]) -> tuple[int, bytes]:
    """Return time steps and bytes of a sequence that the folder has room for."""
    if isinstance(sequence, int):
        if not 0 <= sequence < len(folder.sequences):
            raise ValueError(
                f"sequence: found number {sequence}, expected 0 to {len(folder.sequences) - 1}"
            )
        return folder.sequences[sequence]
    n_steps, data = sequence
    longest = max(n for n, _ in folder.sequences)
    if not 1 <= n_steps <= longest:
        raise ValueError(f"sequence: found {n_steps} time steps, expected 1 to {longest}")
    expected = folder.manifest.sequence.n_bytes(n_steps)
    if len(data) != expected:
        raise ValueError(f"sequence: found {len(data)} bytes, expected {expected}")
    return n_steps, data
