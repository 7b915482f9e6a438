"""What the native harness is asked, and what it answers: operations, jobs, outcomes.

The layouts here and in `harness_jobs.h` are the same, little endian, and change together.
"""

import enum
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


class Response(enum.IntEnum):
    """An AXI response."""

    OKAY = 0
    SLVERR = 2
    DECERR = 3


class Status(enum.IntEnum):
    """How an operation ended; SKIPPED after the control port hung, UNSUPPORTED without a hook."""

    OK = 0
    TIMEOUT = 1
    SKIPPED = 2
    UNSUPPORTED = 3


@dataclass(frozen=True)
class WriteRegister:
    """Write 32 bits on the control port, and wait for the response."""

    address: int
    value: int

    def encode(self) -> bytes:
        return _operation(1, address=self.address, value=self.value)


@dataclass(frozen=True)
class ReadRegister:
    """Read 32 bits on the control port into `Outcome.value`."""

    address: int

    def encode(self) -> bytes:
        return _operation(2, address=self.address)


@dataclass(frozen=True)
class PollRegister:
    """Read a register until `(read & mask) == value`, TIMEOUT after `max_cycles`."""

    address: int
    value: int
    max_cycles: int
    mask: int = 0xFFFF_FFFF

    def encode(self) -> bytes:
        wanted = self.mask << 32 | self.value
        return _operation(3, address=self.address, value=wanted, length=self.max_cycles)


@dataclass(frozen=True)
class WaitIrq:
    """Wait for the first cycle with `irq` high, `Outcome.end`; TIMEOUT after `max_cycles`."""

    max_cycles: int

    def encode(self) -> bytes:
        return _operation(4, value=self.max_cycles)


@dataclass(frozen=True)
class Idle:
    """Let `n_cycles` pass."""

    n_cycles: int

    def encode(self) -> bytes:
        return _operation(5, value=self.n_cycles)


@dataclass(frozen=True)
class Load:
    """Set bytes of the external memory, in no time."""

    address: int
    data: bytes

    def encode(self) -> bytes:
        return _operation(6, address=self.address, length=len(self.data)) + self.data


@dataclass(frozen=True)
class Dump:
    """Get bytes of the external memory into `Outcome.data`, in no time."""

    address: int
    n_bytes: int

    def encode(self) -> bytes:
        return _operation(7, address=self.address, length=self.n_bytes)


@dataclass(frozen=True)
class Peek:
    """Get bytes from inside the machine, through the hook; `space` means what the hook says."""

    space: int
    address: int
    n_bytes: int

    def encode(self) -> bytes:
        return _operation(8, space=self.space, address=self.address, length=self.n_bytes)


@dataclass(frozen=True)
class Poke:
    """Set bytes inside the machine, through the hook."""

    space: int
    address: int
    data: bytes

    def encode(self) -> bytes:
        head = _operation(9, space=self.space, address=self.address, length=len(self.data))
        return head + self.data


@dataclass(frozen=True)
class Record:
    """Record waves and samples from the next cycle on, or no more.

    A job without any is recorded whole; one with some begins without.
    """

    on: bool

    def encode(self) -> bytes:
        return _operation(10, value=self.on)


Operation = (
    WriteRegister | ReadRegister | PollRegister | WaitIrq | Idle | Load | Dump | Peek | Poke
    | Record
)  # fmt: skip


def _operation(
    kind: int, *, space: int = 0, address: int = 0, value: int = 0, length: int = 0
) -> bytes:
    return struct.pack("<IIQQQ", kind, space, address, value, length)


@dataclass(frozen=True)
class Job:
    """Operations on a machine that has just been reset, with a memory of zeros.

    Parameters
    ----------
    memory_bytes
        Size of the external memory, a multiple of the port's width.
    operations
        Done one after the other.
    latency_cycles
        L of the memory's timing.
    faults
        Ranges (start, end), end excluded, that answer SLVERR.
    stall
        Probability that a channel closes, in [0, 1), in steps of 1/256.
    stall_cycles
        Longest time for which a channel stays closed, or open, before it draws anew.
    seed
        Of the stalls.
    fresh
        Start from the state at power-up. Otherwise the machine is only reset, and keeps what its
        memories hold from the job before.
    """

    memory_bytes: int
    operations: Sequence[Operation]
    latency_cycles: int = 8
    faults: Sequence[tuple[int, int]] = ()
    stall: float = 0.0
    stall_cycles: int = 1
    seed: int = 0
    fresh: bool = True

    def __post_init__(self) -> None:
        if self.latency_cycles < 1:
            raise ValueError("latency_cycles must be at least 1")
        if not 0 <= self.stall < 1:
            raise ValueError("stall must be in [0, 1)")
        if self.stall_cycles < 1:
            raise ValueError("stall_cycles must be at least 1")

    def encode(self) -> bytes:
        head = struct.pack(
            "<QQIIII",
            self.memory_bytes,
            self.seed,
            self.latency_cycles,
            min(round(self.stall * 256), 255),
            self.stall_cycles,
            self.fresh,
        )
        faults = [struct.pack("<QQ", *fault) for fault in self.faults]
        operations = [operation.encode() for operation in self.operations]
        return b"".join([head, *_counted(faults), *_counted(operations)])


@dataclass(frozen=True)
class Outcome:
    """What an operation did.

    `begin` is the cycle in which a register access was accepted (of a write: address and data), and
    otherwise the one in which the operation started. `end` is the cycle in which its response was
    accepted or the interrupt seen, and otherwise the one in which the next operation starts.
    """

    status: Status
    response: Response
    begin: int
    end: int
    value: int
    data: bytes


@dataclass(frozen=True)
class Result:
    """What a job did: one outcome for each operation, and totals."""

    outcomes: tuple[Outcome, ...]
    cycles: int
    read_beats: int
    write_beats: int
    hazards: int
    violations: int
    first_violation: str
    printed: str


class _Reader:
    """Takes a result file apart."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def unpack(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from(layout, self._data, self._at)
        self._at += struct.calcsize(layout)
        return values

    def block(self) -> bytes:
        (length,) = self.unpack("<Q")
        self._at += length
        return self._data[self._at - length : self._at]

    def text(self) -> str:
        return self.block().decode(errors="replace")

    def outcome(self) -> Outcome:
        status, response, begin, end, value = self.unpack("<IIQQQ")
        return Outcome(Status(status), Response(response), begin, end, value, self.block())

    def result(self) -> Result:
        (n_outcomes,) = self.unpack("<I")
        outcomes = tuple(self.outcome() for _ in range(n_outcomes))
        cycles, read_beats, write_beats, hazards, violations = self.unpack("<5Q")
        return Result(
            outcomes=outcomes,
            cycles=cycles,
            read_beats=read_beats,
            write_beats=write_beats,
            hazards=hazards,
            violations=violations,
            first_violation=self.text(),
            printed=self.text(),
        )


def encode_jobs(jobs: Sequence[Job]) -> bytes:
    """Return the job file."""
    return b"".join(_counted([job.encode() for job in jobs]))


def decode_results(data: bytes, n_jobs: int) -> list[Result]:
    """Return what stands in the result file of `n_jobs` jobs."""
    reader = _Reader(data)
    return [reader.result() for _ in range(n_jobs)]


def _counted(parts: Sequence[bytes]) -> Iterator[bytes]:
    yield struct.pack("<I", len(parts))
    yield from parts
