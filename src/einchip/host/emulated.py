"""Machines that are not there: the register map over the simulator, and over the RTL.

Both agree in registers, memory and cycles, as `docs/timing.md` has it. After an error, code and
address agree; counters, and what instructions that were under way left, need not.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from einchip import reference
from einchip.arch import PEEPHOLE_LATENCY, Architecture
from einchip.host.device import Device, DeviceError, check_range
from einchip.host.rtl_start import RtlStart
from einchip.program import (
    BY_OPCODE,
    HOST_ARGS,
    HOST_BASES,
    REGISTER_BITS,
    WORD_BYTES,
    Error,
    Instruction,
    Program,
)
from einchip.reference import Host, MachineError, Memory
from einchip.registers import (
    CONTROL_FETCH,
    CONTROL_IRQ_CLEAR,
    CONTROL_START,
    COUNTERS,
    REGISTERS,
    STATUS_DONE,
    STATUS_ERROR,
    Register,
)
from einchip.sim import SimulationError, simulate
from einchip.sim.machine import DEFAULT_LATENCY
from einchip.sim.work import program_fetch
from einchip.verify.machine import (
    DEFAULT_CACHE,
    DEFAULT_MAX_CYCLES,
    PAGE_BYTES,
    RtlError,
    RtlMachine,
)
from einchip.verify.native import HarnessError
from einchip.verify.verilator import VerilatorError

_BY_ADDRESS: Final = {r.address: r for r in REGISTERS}
_WRITABLE: Final = tuple(r.name for r in REGISTERS if r.access == "rw")
_LOW_WORD: Final = (1 << REGISTER_BITS) - 1
NO_COUNTERS: Final = dict.fromkeys((c.name for c in COUNTERS), 0)


class Ended(NamedTuple):
    """How a run ended: error code and address, if any; every counter."""

    error: tuple[Error, int] | None
    counters: Mapping[str, int]


class Emulated(Device):
    """A machine after power-up: registers as `einchip.registers` says, all memories zero.

    A start runs the program to its end before the write to CONTROL returns, so that the host always
    finds the machine idle.

    Parameters
    ----------
    arch
        The machine.
    memory_bytes
        A multiple of PAGE_BYTES.
    """

    def __init__(self, arch: Architecture, memory_bytes: int) -> None:
        if memory_bytes < PAGE_BYTES or memory_bytes % PAGE_BYTES:
            raise DeviceError(
                f"memory: found {memory_bytes:,} bytes, expected a multiple of {PAGE_BYTES}"
            )
        self.arch, self.memory_bytes = arch, memory_bytes
        #: Whether the interrupt line is high.
        self.irq = False
        self.state = Memory.empty(arch, memory_bytes)
        self._program = bytearray(arch.program_words * WORD_BYTES)
        self._values = {r.name: r.reset or 0 for r in REGISTERS}
        self._values["CONFIG_HASH"] = arch.config_hash

    @abc.abstractmethod
    def execute(self, fetch: bool) -> Ended:
        """Run the program that is in program memory, and change `state` as it does.

        `fetch` says whether it came there by this start. DeviceError where that cannot be done.
        """

    def read_register(self, address: int) -> int:
        return self._values[_register(address).name]

    def write_register(self, address: int, value: int) -> None:
        register = _register(address)
        if not 0 <= value <= _LOW_WORD:
            raise DeviceError(
                f"register {register.name}: found {value}, expected 0 to {_LOW_WORD}: write 32 bits"
            )
        if register.access == "rw":
            self._values[register.name] = value & register.mask
        elif register.name == "CONTROL":
            if value & CONTROL_IRQ_CLEAR:
                self.irq = False
            if value & CONTROL_START:
                self._start(bool(value & CONTROL_FETCH))

    def read_memory(self, address: int, n_bytes: int) -> bytes:
        check_range(self, address, n_bytes)
        return bytes(self.state.external[address : address + n_bytes])

    def write_memory(self, address: int, data: bytes) -> None:
        check_range(self, address, len(data))
        self.state.external[address : address + len(data)] = data

    def close(self) -> None:
        """Nothing is held."""

    @property
    def host(self) -> Host:
        """The bases and arguments in the registers."""
        bases = tuple(self._values[f"BASE{k}"] for k in range(HOST_BASES))
        return Host(bases, tuple(self._values[f"ARG{k}"] for k in range(HOST_ARGS)))

    @property
    def n_words(self) -> int:
        """Words of the program."""
        return self._values["PROGRAM_WORDS"]

    def early_error(self, fetch: bool) -> tuple[Error, int] | None:
        """Return the error, code and address, that comes before the program's first word."""
        at, n_words = self._values["PROGRAM_ADDRESS"], self.n_words
        if n_words > self.arch.program_words:
            return Error.FIELD, 0
        if not fetch or not n_words:
            return None
        if at % WORD_BYTES:
            return Error.ALIGNMENT, 0
        for burst in program_fetch(n_words, at, self.arch):
            if burst.address + burst.beats * self.arch.port_bytes > self.memory_bytes:
                return Error.AXI_READ, burst.address
        return None

    @property
    def fits(self) -> bool:
        """Whether program memory holds a program of so many words."""
        return 0 < self.n_words <= self.arch.program_words

    @property
    def program(self) -> bytes:
        """The words that would run, those in program memory."""
        return bytes(self._program[: self.n_words * WORD_BYTES])

    def _start(self, fetch: bool) -> None:
        at = self._values["PROGRAM_ADDRESS"]
        if fetch and self.fits and at % WORD_BYTES == 0:
            # at the end of memory, beats come up to the first that is refused
            words = self.state.external[at : at + self.n_words * WORD_BYTES]
            self._program[: len(words)] = words
        error, counters = self.execute(fetch)
        code, address = error or (Error.NONE, 0)
        self._values["STATUS"] = STATUS_DONE | (STATUS_ERROR if error else 0)
        self._values |= {"ERROR_CODE": int(code), "ERROR_ADDRESS": address}
        for name, value in counters.items():
            self._values[f"{name.upper()}_LO"] = value & _LOW_WORD
            self._values[f"{name.upper()}_HI"] = value >> REGISTER_BITS
        self.irq = self.irq or bool(self._values["IRQ_ENABLE"])


def _register(address: int) -> Register:
    register = _BY_ADDRESS.get(address)
    if register is None:
        raise DeviceError(
            f"register {address:#x}: found a bus error (SLVERR), expected a register of "
            f"einchip.registers, a multiple of 4 from 0 to {max(_BY_ADDRESS):#x}"
        )
    return register


class SimulatorDevice(Emulated):
    """`einchip.sim` behind the register map.

    The simulator knows of a machine that nothing can ever move again, and stops it with TIMEOUT; a
    WATCHDOG that could expire while memory or a pipeline is about to answer is refused.

    Parameters
    ----------
    arch, memory_bytes
        As of `Emulated`.
    latency
        Of the memory, in cycles.
    """

    def __init__(
        self, arch: Architecture, memory_bytes: int, latency: int = DEFAULT_LATENCY
    ) -> None:
        super().__init__(arch, memory_bytes)
        self.latency = latency

    @property
    def longest_silence(self) -> int:
        """Cycles in which nothing moves of a machine that will go on, at most: a bound."""
        pipelines = self.arch.accumulate_latency + self.arch.drain_latency + PEEPHOLE_LATENCY
        return self.latency + self.arch.setup_cycles + pipelines

    def execute(self, fetch: bool) -> Ended:
        if self._values["WATCHDOG"] <= self.longest_silence:
            raise DeviceError(
                f"simulator: WATCHDOG: found {self._values['WATCHDOG']}, expected more than "
                f"{self.longest_silence} cycles, which a sound program may take; raise it"
            )
        error = self.early_error(fetch)
        if error:
            return Ended(error, NO_COUNTERS)
        program, end = sound_part(self.program)
        try:
            run = simulate(
                program,
                self.arch,
                memory=self.state,
                host=self.host,
                latency=self.latency,
                fetch=fetch,
                program_address=self._values["PROGRAM_ADDRESS"],
                timeline=False,
            )
        except SimulationError as error:
            raise DeviceError(f"simulator: {error}") from None
        cut = run.error == (Error.NO_HALT, program.n_words) and end is not None
        return Ended(end if cut else run.error, run.counters)


def sound_part(words: bytes) -> tuple[Program, tuple[Error, int] | None]:
    """Return what a program holds up to the first word that is no instruction.

    And the error with which the machine stops there, code and address.
    """
    found: list[Instruction] = []
    at = 0
    while at < len(words):
        kind = BY_OPCODE.get(words[at])
        if kind is None:
            return Program(tuple(found)), (Error.OPCODE, at // WORD_BYTES)
        if at + kind.WORDS * WORD_BYTES > len(words):
            return Program(tuple(found)), (Error.NO_HALT, len(words) // WORD_BYTES)
        found.append(kind.decode(words[at:]))
        at += kind.WORDS * WORD_BYTES
    return Program(tuple(found)), None


class ReferenceDevice(Emulated):
    """`einchip.reference` behind the register map: what a program means. No time passes."""

    def execute(self, fetch: bool) -> Ended:
        early = self.early_error(fetch)
        if early:
            return Ended(early, NO_COUNTERS)
        program, end = sound_part(self.program)
        try:
            reference.run(program, self.arch, self.state, self.host)
        except MachineError as error:
            cut = end is not None and error.code is Error.NO_HALT
            return Ended(end if cut else (error.code, error.address), NO_COUNTERS)
        return Ended(None, NO_COUNTERS)


class RtlDevice(Emulated):
    """The generated Verilog under Verilator behind the register map.

    Each start is a process of its own: scratchpads and program memory get what the last start left,
    over the machine's ports; after the run, all memories are read back.

    Parameters
    ----------
    arch, memory_bytes
        As of `Emulated`.
    cache
        Where the compiled machine is looked for, and kept.
    latency
        Of the memory, in cycles.
    max_cycles
        After so many cycles without a stop a start fails.
    """

    def __init__(
        self,
        arch: Architecture,
        memory_bytes: int,
        cache: Path = DEFAULT_CACHE,
        latency: int = DEFAULT_LATENCY,
        max_cycles: int = DEFAULT_MAX_CYCLES,
    ) -> None:
        super().__init__(arch, memory_bytes)
        self.latency, self.max_cycles = latency, max_cycles
        try:
            self._harness = RtlMachine.build(arch, cache).harness
        except VerilatorError as error:
            raise DeviceError(
                f"rtl: cannot build the machine: {_one_line(error)}; see `einchip doctor`"
            ) from None
        except OSError as error:
            raise DeviceError(
                f"rtl: cannot build the machine in {cache}: {error.strerror}; choose another folder"
            ) from None

    def execute(self, fetch: bool) -> Ended:
        start = RtlStart(
            arch=self.arch,
            host={name: self._values[name] for name in _WRITABLE},
            fetch=fetch,
            program=self.program if self.fits else b"",
            latency=self.latency,
            max_cycles=self.max_cycles,
        )
        try:
            run = start.run(self._harness, self.state)
        except (RtlError, HarnessError) as error:
            raise DeviceError(f"rtl: {_one_line(error)}; see what the program does") from None
        return Ended(run.error, run.counters)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
