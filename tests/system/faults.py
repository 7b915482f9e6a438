"""Sound programs made faulty: one field of one instruction, or one range of external memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np
from numpy.random import Generator

from einchip import reference
from einchip.arch import Architecture
from einchip.program import (
    ADDRESS_BITS,
    TOKEN_MAX,
    Cell,
    Contract,
    Copy,
    EndLoop,
    Error,
    Fill,
    Give,
    Gru,
    GruReset,
    GruUpdate,
    Halt,
    Instruction,
    Load,
    Loop,
    Lstm,
    Peephole,
    Program,
    SetRegister,
    Store,
    UnitInstruction,
    is_built,
)
from einchip.reference import MachineError
from tests.system.instructions import PAGE_BYTES, footprint
from tests.system.programs import EXTERNAL_BYTES, Case

_REGISTERS: Final = 1 << 32
CELLS: Final = (Lstm, Peephole, Gru, GruReset, GruUpdate)
#: Lane strides and the counts beside them, by kind of instruction.
_LANES: Final[dict[type[Instruction], dict[str, str]]] = {
    Contract: {
        "xs_m0": "nm0", "xs_m1": "nm1", "xs_k0": "nk0", "xs_k1": "nk1", "xs_b": "nb",
        "ys_n0": "nn0", "ys_n1": "nn1", "ys_k0": "nk0", "ys_k1": "nk1", "ys_b": "nb",
        "zs_n0": "nn0", "zs_n1": "nn1", "zs_m0": "nm0", "zs_m1": "nm1", "zs_b": "nb",
        "zs_h": "nh",
    },
    **{c: {"src_l0": "nl0", "src_l1": "nl1", "dst_l0": "nl0", "dst_l1": "nl1"} for c in CELLS},
    Copy: {"src_l0": "nl0", "src_l1": "nl1", "dst_l0": "nl0", "dst_l1": "nl1"},
    Fill: {"dst_l0": "nl0", "dst_l1": "nl1"},
}  # fmt: skip
_BASES: Final[dict[type[Instruction], tuple[str, ...]]] = {
    Contract: ("x_base", "y_base", "z_base"),
    **dict.fromkeys((Lstm, GruReset), ("src_base", "dst_base", "cell_base")),
    **dict.fromkeys((Peephole, Gru, GruUpdate), ("src_base", "dst_base", "cell_base", "aux_base")),
    Copy: ("src_base", "dst_base"),
    Fill: ("dst_base",),
    Load: ("addr",),
    Store: ("addr",),
}
_LOOPS: Final[dict[type[Instruction], tuple[str, ...]]] = {
    Contract: ("loop_x", "loop_y", "loop_z"),
    **dict.fromkeys(CELLS, ("loop_src", "loop_dst")),
    Copy: ("loop_src", "loop_dst"),
    Fill: ("loop_dst",),
}


@dataclass(frozen=True)
class Illegal(Instruction):
    """An instruction whose opcode means nothing."""

    OPCODE = 255


@dataclass(frozen=True)
class Faulty:
    """A faulty program; `bus` is the range of external bytes that answers errors."""

    what: str
    case: Case
    bus: tuple[int, int] | None = None


class NothingToBreakError(Exception):
    """The program has no place for this fault."""


def faulty(seed: int, case: Case) -> Faulty:
    """Return a program with one fault, drawn by a seed."""
    rng = np.random.default_rng(seed)
    while True:
        what = str(rng.choice(list(_BREAK)))
        try:
            return _BREAK[what](rng, case)
        except NothingToBreakError:
            continue


def named(what: str, seed: int, case: Case) -> Faulty:
    """Return a program with a fault of that name. Raises NothingToBreakError."""
    return _BREAK[what](np.random.default_rng(seed), case)


def _choose(rng: Generator, case: Case, *kinds: type[Instruction]) -> int:
    """Return the number of a random instruction of these kinds."""
    numbers = [k for k, i in enumerate(case.program.instructions) if isinstance(i, kinds)]
    if not numbers:
        raise NothingToBreakError
    return int(rng.choice(numbers))


def _with(case: Case, k: int, *instructions: Instruction) -> Case:
    """Return the case with instruction k replaced."""
    code = case.program.instructions
    return replace(case, program=Program((*code[:k], *instructions, *code[k + 1 :])))


def _changed(what: str, case: Case, k: int, **fields: Any) -> Faulty:
    return Faulty(
        f"{what}: instruction {k}: {fields}",
        _with(case, k, replace(case.program.instructions[k], **fields)),
    )


def _zero_count(rng: Generator, case: Case) -> Faulty:
    k = _choose(rng, case, Contract, *CELLS, Copy, Fill, Load, Store)
    i = case.program.instructions[k]
    if isinstance(i, Load | Store):
        return _changed("count", case, k, beats=0)
    counts = ("nm0", "nm1", "nn0", "nn1", "nk0", "nk1", "nb", "nh", "nl0")
    names = [n for n in i.__dict__ if n in counts]
    name = str(rng.choice([*names, "loop_count"]))
    return _changed("count", case, k, **{name: _zeroed(rng, getattr(i, name))})


def _zeroed(rng: Generator, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
    if isinstance(value, int):
        return 0
    at = int(rng.integers(len(value)))
    return (*value[:at], 0, *value[at + 1 :])


def _field(rng: Generator, case: Case) -> Faulty:
    k = _choose(rng, case, Contract)
    bad = {
        "act_shift": 16, "n_reduce": 7, "nm0": 127, "nn1": 127, "nk1": 100, "nb": 65, "nh": 65,
        "n_hold": 3,
    }  # fmt: skip
    name = str(rng.choice(list(bad)))
    return _changed("field", case, k, **{name: bad[name]})


def _lacking(rng: Generator, case: Case) -> Faulty:
    """Let a cell that the machine lacks stand where it has another, a COPY or a FILL."""
    lacking = [kind for kind in CELLS if not is_built(kind, case.arch)]
    if not lacking:
        raise NothingToBreakError
    k = _choose(rng, case, *CELLS, Copy, Fill)
    kind = lacking[int(rng.integers(len(lacking)))]
    changed = kind(**case.program.instructions[k].__dict__)
    return Faulty(f"lacking: instruction {k}: {kind.__name__}", _with(case, k, changed))


def _lanes(rng: Generator, case: Case) -> Faulty:
    k = _choose(rng, case, *CELLS, Copy, Fill)
    return _changed("lanes", case, k, nl0=case.arch.lanes, nl1=2)


def _base(rng: Generator, case: Case) -> Faulty:
    """Put a first address beyond its scratchpad, at all executions."""
    k = _choose(rng, case, *_BASES)
    name = str(rng.choice(_BASES[type(case.program.instructions[k])]))
    reg = "addr_reg" if name == "addr" else name.replace("base", "reg")
    room = (1 << ADDRESS_BITS) - max(case.arch.capacity(s) for s in (0, 1))
    if room < 1:
        raise NothingToBreakError
    at = (1 << ADDRESS_BITS) - case.arch.lanes * (1 + int(rng.integers(room // case.arch.lanes)))
    return _changed("base", case, k, **{name: at, reg: 0})


def _stride(rng: Generator, case: Case) -> Faulty:
    """Let lanes leave their scratchpad, in the banks that they were in."""
    k = _choose(rng, case, *_LANES)
    i = case.program.instructions[k]
    names = [name for name, count in _LANES[type(i)].items() if getattr(i, count) > 1]
    if not names:
        raise NothingToBreakError
    name, lanes = str(rng.choice(names)), case.arch.lanes
    most = 1 << int(rng.choice([case.arch.stride_bits, ADDRESS_BITS]))
    stride = getattr(i, name) % lanes + lanes * int(rng.integers(most // lanes))
    return _changed("stride", case, k, **{name: stride})


def _loop(rng: Generator, case: Case) -> Faulty:
    """Let an instruction's loop leave the scratchpad at some iteration."""
    k = _choose(rng, case, *_LOOPS)
    i = cast(Any, case.program.instructions[k])
    name = str(rng.choice(_LOOPS[type(i)]))
    still = range(0)
    if isinstance(i, Contract):
        passing, reducing = range(i.n_hold), range(i.n_hold, i.n_tile_loops)
        still = {"loop_x": passing, "loop_z": reducing}.get(name, still)
    moving = [n for n, count in enumerate(i.loop_count) if count > 1 and n not in still]
    if not moving:
        raise NothingToBreakError
    strides = list(getattr(i, name))
    strides[int(rng.choice(moving))] = int(
        rng.integers(1 << int(rng.integers(8, ADDRESS_BITS + 1)))
    )
    return _changed("loop", case, k, **{name: tuple(strides)})


def _rows(rng: Generator, case: Case) -> Faulty:
    """Let a state, or packed weights, begin in the last row and leave the scratchpad."""
    k = _choose(rng, case, *CELLS)
    i = cast(Cell, case.program.instructions[k])
    names = ["aux"] if isinstance(i, Peephole) else []
    if i.vectors * case.arch.cell_planes > 1:
        names.append("cell")
    if not names:
        raise NothingToBreakError
    name = str(rng.choice(names))
    last = case.arch.capacity(getattr(i, f"{name}_space")) - case.arch.lanes
    if last >= 1 << ADDRESS_BITS:
        raise NothingToBreakError
    return _changed("rows", case, k, **{f"{name}_base": last, f"{name}_reg": 0})


def _beats(rng: Generator, case: Case) -> Faulty:
    """Let a transfer leave the scratchpad, or external memory, whichever comes first."""
    k = _choose(rng, case, Store)
    i = cast(Store, case.program.instructions[k])
    beats = case.arch.capacity(i.space) // case.arch.port_elements
    if case.arch.port_bytes * beats > EXTERNAL_BYTES // 2:
        raise NothingToBreakError
    offset = -case.host.bases[i.ext_base] % _REGISTERS
    return _changed("beats", case, k, beats=beats + 1, ext_reg=0, ext_offset=offset)


def _alignment(rng: Generator, case: Case) -> Faulty:
    k = _choose(rng, case, Load, Store)
    i = cast(Load, case.program.instructions[k])
    step = 1 + int(rng.integers(case.arch.port_bytes - 1))
    if rng.random() < 0.5:
        return _changed("alignment", case, k, ext_offset=(i.ext_offset + step) % _REGISTERS)
    step %= case.arch.port_elements
    if not step:
        raise NothingToBreakError
    return _changed("alignment", case, k, addr=i.addr + step)


def _sequencer(rng: Generator, case: Case) -> Faulty:
    """Put an illegal instruction of the sequencer before some unit's."""
    k = _choose(rng, case, UnitInstruction)
    illegal: list[tuple[Instruction, ...]] = [
        (Loop(count=0),),
        (Loop(count=1, arg=5),),
        (Loop(count=1),) * 5,
        (SetRegister(reg=0, value=1),),
        (SetRegister(reg=1, mode=3),),
        (EndLoop(),) * 5,
        (Illegal(),),
    ]
    chosen = illegal[int(rng.integers(len(illegal)))]
    code = case.program.instructions
    return Faulty(f"sequencer: {chosen[-1]} before {k}", _with(case, k, *chosen, code[k]))


def _end(rng: Generator, case: Case) -> Faulty:
    """Let the program end without HALT: before it, or inside an instruction."""
    return Faulty("end", _with(case, len(case.program.instructions) - 1))


def _overflow(rng: Generator, case: Case) -> Faulty:
    """Overflow a token that nobody takes."""
    used = 0
    for i in case.program.instructions:
        used |= getattr(i, "wait", 0) | getattr(i, "signal", 0) | getattr(i, "mask", 0)
    free = [token for token in range(16) if not used >> token & 1]
    if not free:
        raise NothingToBreakError
    k = _choose(rng, case, UnitInstruction, Halt)
    gives = (Give(1 << int(rng.choice(free))),) * (TOKEN_MAX + 1)
    return Faulty(f"overflow before {k}", _with(case, k, *gives, case.program.instructions[k]))


def _silence(rng: Generator, case: Case) -> Faulty:
    """Never give one of the tokens."""
    signalling = [
        k
        for k, i in enumerate(case.program.instructions)
        if isinstance(i, UnitInstruction) and i.signal
    ]
    if not signalling:
        raise NothingToBreakError
    return _changed("silence", case, int(rng.choice(signalling)), signal=0)


def _bus(rng: Generator, case: Case) -> Faulty:
    """Let a few bytes of a transfer's range answer errors, all in one beat.

    So the transfers that touch them are all ordered: their errors come in the program's order.
    """
    transfers = _transfers(case)
    if not transfers:
        raise NothingToBreakError
    start, n_bytes = transfers[int(rng.integers(len(transfers)))]
    low = start + int(rng.integers(n_bytes))
    end = (low // case.arch.port_bytes + 1) * case.arch.port_bytes
    return Faulty(f"bus: byte {low}", case, (low, min(end, low + 1 + int(rng.integers(8)))))


_BREAK: Final[dict[str, Callable[[Generator, Case], Faulty]]] = {
    "count": _zero_count,
    "field": _field,
    "lacking": _lacking,
    "lanes": _lanes,
    "base": _base,
    "stride": _stride,
    "loop": _loop,
    "rows": _rows,
    "beats": _beats,
    "alignment": _alignment,
    "sequencer": _sequencer,
    "end": _end,
    "overflow": _overflow,
    "silence": _silence,
    "bus": _bus,
}
NAMES: Final = tuple(_BREAK)


# --- what a faulty program may do --------------------------------------------------------------
def _steps(case: Case) -> Iterator[reference.Step]:
    """Yield the unit instructions up to the first error that the sequencer would find."""
    try:
        for step in reference.trace(case.program, case.host):
            if isinstance(step.instruction, UnitInstruction):
                reference.check_fields(step.instruction, case.arch, step.pc)
                yield step
    except MachineError:
        return


def _transfers(case: Case) -> list[tuple[int, int]]:
    """Return (first external byte, bytes) of every transfer in order."""
    found = []
    for _, i, registers in _steps(case):
        if isinstance(i, Load | Store):
            at = case.host.bases[i.ext_base] + registers[i.ext_reg] + i.ext_offset
            found.append((at % _REGISTERS, i.beats * case.arch.port_bytes))
    return found


def may_write(case: Case) -> tuple[int, int]:
    """Return masks of the elements (as `footprint`) and external bytes that a run may change."""
    elements = external = 0
    for _, i, registers in _steps(case):
        if isinstance(i, UnitInstruction):
            elements |= footprint(i, registers, case.arch).writes
        if isinstance(i, Store):
            at = (case.host.bases[i.ext_base] + registers[i.ext_reg] + i.ext_offset) % _REGISTERS
            external |= ((1 << i.beats * case.arch.port_bytes) - 1) << at if at < 1 << 20 else 0
    return elements, external & ((1 << EXTERNAL_BYTES) - 1)


def bus_error(case: Case, bus: tuple[int, int]) -> tuple[Error, int] | None:
    """Return the error of a sound program with a bad range of bytes: its first burst there."""
    low, high = bus
    kinds = [i for _, i, _ in _steps(case) if isinstance(i, Load | Store)]
    for (start, n_bytes), i in zip(_transfers(case), kinds, strict=True):
        for first, last in bursts(start, n_bytes, case.arch):
            if first < high and low < last:
                code = Error.AXI_READ if isinstance(i, Load) else Error.AXI_WRITE
                return code, first
    return None


def bursts(start: int, n_bytes: int, arch: Architecture) -> Iterator[tuple[int, int]]:
    """Yield first byte, and byte after the last, of every burst of a range."""
    end = start + n_bytes
    while start < end:
        page = (start // PAGE_BYTES + 1) * PAGE_BYTES
        stop = min(end, page, start + arch.burst_beats * arch.port_bytes)
        yield start, stop
        start = stop
