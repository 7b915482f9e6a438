"""Programs on the RTL: the generated Verilog under Verilator, driven as a host would.

`RtlMachine.build(arch).run([Start(program, host)], memory)` starts a program once and gives back
cycles, counters and the memory that the machine left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np

import einchip
from einchip import registers
from einchip.arch import Architecture
from einchip.files import write_text
from einchip.hw import generate, tokens
from einchip.program import TOKENS, Error, Halt, Load, Program, Store
from einchip.reference import Host, Memory, from_bytes, to_bytes
from einchip.registers import ADDRESS
from einchip.verify import jobs, native, probes, verilator

#: Programs, and copies of the scratchpads, lie at multiples of this, so that bursts do not depend
#: on what else is in memory.
PAGE_BYTES: Final = 4096
#: What is read after a run, in this order.
RUN_REGISTERS: Final = (
    "STATUS",
    "ERROR_CODE",
    "ERROR_ADDRESS",
    *(f"{c.name.upper()}_{half}" for c in registers.COUNTERS for half in ("LO", "HI")),
)
#: What the machine does, cycle by cycle: signals that are visible in every build.
ACTIVITY: Final = (
    "control/counters/events",
    "control/counters/running",
    "sequencer/_state",
    "sequencer/_pc",
    "sequencer/word",
    "sequencer/registers/write__en",
    "sequencer/registers/write__addr",
    "sequencer/registers/write__data",
    *(f"sequencer/{unit}__{s}" for unit in tokens.UNITS for s in ("valid", "ready")),
    *(f"{unit}/front/launch" for unit in tokens.UNITS),
    *(f"{unit}/tokens__{s}" for unit in tokens.UNITS for s in ("take", "give")),
    "load/done",
    "load/fetch__done",
    "store/ended",
    "store/answering.last",
    "array/drain/done",
    "vector/writes/ends",
    *(f"tokens/less_1_{k}" for k in range(TOKENS)),
)
#: The same of a serial machine.
SERIAL_ACTIVITY: Final = ("control/counters/events", "control/counters/running")
DEFAULT_CACHE: Final = Path("build") / "rtl"
DEFAULT_MAX_CYCLES: Final = 50_000_000


class RtlError(Exception):
    """The RTL did not stop, or broke a rule of its interfaces."""


@dataclass(frozen=True)
class Start:
    """One start of the machine: a program and what the host sets; `fetch` loads the program.

    The program lies `program_offset` bytes, a multiple of 16, behind the start of a page.
    """

    program: Program
    host: Host = field(default_factory=Host)
    fetch: bool = True
    program_offset: int = 0


@dataclass(frozen=True)
class RtlRun:
    """What the registers said after a stop; `counters` has every name of `registers.COUNTERS`."""

    cycles: int
    counters: dict[str, int]
    error: tuple[Error, int] | None

    @classmethod
    def of(cls, values: Sequence[int]) -> RtlRun:
        """Return what the registers of `RUN_REGISTERS` said, in their order."""
        status, code, address, *halves = values
        numbers = [low | high << 32 for low, high in zip(halves[::2], halves[1::2], strict=True)]
        counters = dict(zip((c.name for c in registers.COUNTERS), numbers, strict=True))
        error = (Error(code), address) if status & registers.STATUS_ERROR else None
        return cls(counters["cycles"], counters, error)


@dataclass(frozen=True)
class RtlResult:
    """The runs of one job in order, and the machine's memory after the last.

    `hazards` counts reads and writes of external memory that overlap while both are open.
    """

    runs: list[RtlRun]
    memory: Memory
    hazards: int


@dataclass(frozen=True)
class Work:
    """One job: starts one after the other on a machine that begins with `memory`.

    `latency`, `faults` (byte ranges that answer SLVERR), `stall`, `stall_cycles` and `seed` are
    those of `jobs.Job`.
    """

    starts: Sequence[Start]
    memory: Memory
    latency: int = 8
    faults: Sequence[tuple[int, int]] = ()
    stall: float = 0.0
    stall_cycles: int = 1
    seed: int = 0


@dataclass(frozen=True)
class RtlMachine:
    """A compiled machine of one architecture; `probes` are the signals of ACTIVITY, by place."""

    arch: Architecture
    harness: native.Harness
    probes: Mapping[str, probes.Probe]

    @classmethod
    def build(
        cls,
        arch: Architecture,
        cache: Path = DEFAULT_CACHE,
        waves: native.WaveFormat | None = None,
    ) -> RtlMachine:
        """Generate and compile the RTL of `arch`, or find it compiled in `cache`.

        With `waves`, it can record them in this format. Raises VerilatorError where a tool is
        missing, before anything is generated.
        """
        verilator.require_tools()
        text = generated(arch, cache)
        netlist = probes.Netlist(text.read_text(), native.TOP, native.SCOPE)
        places = SERIAL_ACTIVITY if arch.serial else ACTIVITY
        visible = {place: netlist.probe(place) for place in places}
        harness = native.build(
            text, cache, arch.port_bytes, visible=list(visible.values()),
            traced=waves is not None, waves=waves or "vcd",
        )  # fmt: skip
        return cls(arch, harness, visible)

    def run(
        self, starts: Sequence[Start], memory: Memory, *, latency: int = 8, stall: float = 0.0
    ) -> RtlResult:
        """Run one job; see `run_all`."""
        return self.run_all([Work(starts, memory, latency=latency, stall=stall)])[0]

    def run_all(
        self, work: Sequence[Work], max_cycles: int = DEFAULT_MAX_CYCLES
    ) -> list[RtlResult]:
        """Run jobs in one process, each on a fresh machine.

        The scratchpads are preset and read back by programs of LOADs and STOREs of their own, over
        the same port that a host would use. Raises RtlError when a run does not stop within
        `max_cycles` or the machine broke a rule of its interfaces.
        """
        plans = [_Plan(self.arch, w, max_cycles) for w in work]
        try:
            results = self.harness.run([plan.job for plan in plans])
        except native.HarnessError as error:
            raise RtlError(str(error)) from None
        return [plan.read(result) for plan, result in zip(plans, results, strict=True)]

    def record(
        self,
        work: Work,
        *,
        samples: Path | None = None,
        waves: Path | None = None,
        max_cycles: int = DEFAULT_MAX_CYCLES,
    ) -> RtlResult:
        """Run one job; record the last start: samples of `probes`, waves, or both.

        Raises RtlError, as `run_all` does.
        """
        plan = _Plan(self.arch, work, max_cycles, records=True)
        try:
            [result] = self.harness.run(
                [plan.job], trace=waves, probes=list(self.probes.values()), samples=samples
            )
        except native.HarnessError as error:
            raise RtlError(str(error)) from None
        return plan.read(result)


def generated(arch: Architecture, cache: Path) -> Path:
    """Generate the Verilog of `arch` (20 s for the largest), or find it in `cache`.

    It is kept under everything that it is made from: architecture, einchip's sources, Amaranth.
    """
    package = Path(einchip.__file__).parent
    sources = sorted([*package.glob("*.py"), *package.glob("hw/*.py")])
    parts = [arch.model_dump_json(), version("amaranth"), *(path.read_text() for path in sources)]
    path = cache / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}.v"
    cache.mkdir(parents=True, exist_ok=True)
    with native.locked(path.with_suffix(".lock")):
        if not path.exists():
            write_text(path, generate.verilog(arch))
    return path


class _Plan:
    """A job's operations, and where in the answers to look; `records` the last start."""

    def __init__(
        self, arch: Architecture, work: Work, max_cycles: int, records: bool = False
    ) -> None:
        self.arch, self.external_bytes = arch, len(work.memory.external)
        self._max_cycles = max_cycles
        self._operations: list[jobs.Operation] = []
        self._end = whole_pages(self.external_bytes)
        spaces = [(s, to_bytes(work.memory.space(s), arch)) for s in (0, 1)]
        copies = {s: self._place(b"", len(content)) for s, content in spaces}
        if any(any(content) for _, content in spaces):
            for s, content in spaces:
                self._add(jobs.Load(copies[s], content))
            self._start(Start(_transfers(Load, arch, copies)))
        self._add(jobs.Load(0, bytes(work.memory.external)))
        last = len(work.starts) - 1
        self._stops = [self._start(s, records and k == last) for k, s in enumerate(work.starts)]
        self._external = self._add(jobs.Dump(0, self.external_bytes))
        self._start(Start(_transfers(Store, arch, copies)))
        self._spaces = [self._add(jobs.Dump(copies[s], len(content))) for s, content in spaces]
        self.job = jobs.Job(
            memory_bytes=self._end,
            operations=self._operations,
            latency_cycles=work.latency,
            faults=work.faults,
            stall=work.stall,
            stall_cycles=work.stall_cycles,
            seed=work.seed,
        )

    def _add(self, operation: jobs.Operation) -> int:
        self._operations.append(operation)
        return len(self._operations) - 1

    def _place(self, content: bytes, n_bytes: int = 0) -> int:
        """Reserve pages after everything else, put `content` there and return the address."""
        at = self._end
        self._end += whole_pages(max(len(content), n_bytes))
        if content:
            self._add(jobs.Load(at, content))
        return at

    def _write(self, name: str, value: int) -> None:
        self._add(jobs.WriteRegister(ADDRESS[name], value))

    def _start(self, start: Start, recorded: bool = False) -> int:
        """Add one start; return the index of the first register that is read after it."""
        if start.fetch:
            at = self._place(bytes(start.program_offset) + start.program.encode())
            self._write("PROGRAM_ADDRESS", at + start.program_offset)
            self._write("PROGRAM_WORDS", start.program.n_words)
        for prefix, values in (("BASE", start.host.bases), ("ARG", start.host.args)):
            for k, value in enumerate(values):
                self._write(f"{prefix}{k}", value)
        self._write("IRQ_ENABLE", 1)
        fetch = registers.CONTROL_FETCH if start.fetch else 0
        if recorded:
            self._add(jobs.Record(on=True))
        self._write("CONTROL", registers.CONTROL_START | fetch)
        self._add(jobs.WaitIrq(self._max_cycles))
        if recorded:
            self._add(jobs.Record(on=False))
        first = len(self._operations)
        for name in RUN_REGISTERS:
            self._add(jobs.ReadRegister(ADDRESS[name]))
        self._write("CONTROL", registers.CONTROL_IRQ_CLEAR)
        return first

    def read(self, result: jobs.Result) -> RtlResult:
        """Take the answers apart."""
        for outcome in result.outcomes:
            if outcome.status is not jobs.Status.OK:
                raise RtlError(f"the machine did not stop within {self._max_cycles} cycles")
        x, y = (from_bytes(result.outcomes[k].data, self.arch) for k in self._spaces)
        external = bytearray(result.outcomes[self._external].data)
        values = [[o.value for o in result.outcomes[k:][: len(RUN_REGISTERS)]] for k in self._stops]
        runs = [RtlRun.of(v) for v in values]
        return RtlResult(runs, Memory(x, y, external), result.hazards)


def whole_pages(n_bytes: int) -> int:
    """Return a number of bytes rounded up to whole pages."""
    return -(-n_bytes // PAGE_BYTES) * PAGE_BYTES


def _transfers(kind: type[Load | Store], arch: Architecture, copies: dict[int, int]) -> Program:
    """A program that moves both scratchpads whole."""
    moves = [
        kind(space=s, ext_offset=at, beats=arch.capacity(s) // arch.port_elements)
        for s, at in copies.items()
    ]
    return Program((*moves, Halt()))


def words_that_differ(a: Memory, b: Memory) -> dict[str, list[int]]:
    """Return, per memory, the addresses (elements or external bytes) where two states differ."""
    pairs = {"X": (a.x, b.x), "Y": (a.y, b.y)}
    found = {name: np.flatnonzero(p != q).tolist() for name, (p, q) in pairs.items()}
    p, q = (np.frombuffer(bytes(m.external), dtype=np.uint8) for m in (a, b))
    found["external"] = np.flatnonzero(p != q).tolist()
    return found
