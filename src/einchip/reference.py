"""The meaning of a program in NumPy, with no notion of time.

Instructions run one after the other in program order; tokens and SYNCs are ignored. What the
machine leaves in its scratchpads and in external memory must equal what `run` leaves here, bit for
bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from einchip import numeric
from einchip.accesses import VECTORS, first, first_addresses, vector_accesses
from einchip.arch import Architecture, clog2
from einchip.numeric import Ints
from einchip.program import (
    HOLD_LOOPS,
    HOST_ARGS,
    HOST_BASES,
    LOOP_DEPTH,
    REGISTER_BITS,
    REGISTERS,
    Act,
    Cell,
    Contract,
    Copy,
    EndLoop,
    Error,
    Fill,
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
    Read,
    SetMode,
    SetRegister,
    Store,
    Sync,
    UnitInstruction,
    Vector,
    is_built,
)

#: Instructions whose addresses are kept: the time steps of a sequence use the same ones.
ADDRESS_CACHE = 128
_MASK = (1 << REGISTER_BITS) - 1


class MachineError(Exception):
    """The machine would stop with this error code and address."""

    def __init__(self, code: Error, address: int) -> None:
        super().__init__(f"machine error {code.name} at {address:#x}")
        self.code, self.address = code, address


@dataclass
class Host:
    """What the host sets before a start: external base addresses and loop counts."""

    bases: tuple[int, ...] = (0,) * HOST_BASES
    args: tuple[int, ...] = (0,) * HOST_ARGS


@dataclass
class Memory:
    """The machine's state that a program can see.

    `x` and `y` hold one int64 per element (values of `data_bits` bits), `external` is bytes from
    address 0. Memory survives from one run to the next: weights stay resident.
    """

    x: Ints
    y: Ints
    external: bytearray

    @classmethod
    def empty(cls, arch: Architecture, external_bytes: int) -> Memory:
        """Return zeroed scratchpads and an external memory of that many bytes."""
        x, y = (np.zeros(arch.capacity(s), dtype=np.int64) for s in (0, 1))
        return cls(x, y, bytearray(external_bytes))

    def space(self, number: int) -> Ints:
        """Return scratchpad X (0) or Y (1)."""
        return self.y if number else self.x

    def copy(self) -> Memory:
        """Return an independent copy."""
        return Memory(self.x.copy(), self.y.copy(), bytearray(self.external))


class Step(NamedTuple):
    """One executed instruction: its word index, itself, and the registers it saw."""

    pc: int
    instruction: Instruction
    registers: tuple[int, ...]


def trace(program: Program, host: Host) -> Iterator[Step]:
    """Yield unit instructions and SYNCs in the order of execution, loops unrolled; last the HALT.

    Raises MachineError for FIELD, LOOP and NO_HALT errors of the sequencer.
    """
    for step in walk(program, host):
        if isinstance(step.instruction, UnitInstruction | Sync | Halt):
            yield step


def walk(program: Program, host: Host) -> Iterator[Step]:
    """Yield every instruction but skipped transfers in the order of execution, as `trace`.

    Those of the sequencer come with the registers that they leave.
    """
    code = list(program.addresses())
    registers = [0] * REGISTERS
    stack: list[list[int]] = []  # [index of the first instruction of the body, iterations left]
    at = 0
    while True:
        if at >= len(code):
            raise MachineError(Error.NO_HALT, program.n_words)
        pc, i = code[at]
        at += 1
        if isinstance(i, Loop):
            if i.arg > HOST_ARGS:
                raise MachineError(Error.FIELD, pc)
            count = host.args[i.arg - 1] & _MASK if i.arg else i.count
            if count == 0:
                raise MachineError(Error.FIELD, pc)
            if len(stack) == LOOP_DEPTH:
                raise MachineError(Error.LOOP, pc)
            stack.append([at, count])
        elif isinstance(i, EndLoop):
            if not stack:
                raise MachineError(Error.LOOP, pc)
            stack[-1][1] -= 1
            if stack[-1][1]:
                at = stack[-1][0]
            else:
                stack.pop()
        elif isinstance(i, SetRegister):
            if i.reg == 0 or i.mode > max(SetMode):
                raise MachineError(Error.FIELD, pc)
            old = registers[i.reg]
            new = {SetMode.SET: i.value, SetMode.ADD: old + i.value, SetMode.TOGGLE: i.value - old}
            registers[i.reg] = new[SetMode(i.mode)] & _MASK
        elif isinstance(i, Load | Store) and i.skipped(stack[-1][1] if stack else 0):
            continue
        yield Step(pc, i, tuple(registers))
        if isinstance(i, Halt):
            return


def blocks(i: Contract) -> tuple[int, int]:
    """Return (K, B): how many row blocks `n_k` and `nb` lanes take, each a power of two."""
    return 1 << clog2(i.n_k), 1 << clog2(i.nb)


def fits(i: Contract, arch: Architecture) -> bool:
    """Tell whether the lanes and held vectors of a CONTRACT fit the fold of a machine."""
    if i.held_issues > arch.tile_accumulators or (i.holds and not arch.holds):
        return False
    if arch.fold == "ip":
        return i.n_m == i.n_n == i.nb == 1 and i.n_k <= arch.rows and i.nh <= arch.cols
    if not arch.blocks and (i.n_k > 1 or i.nb > 1):
        return False
    k, b = blocks(i)
    return k * b * i.n_m <= arch.rows and (1 << clog2(i.nh)) * k * b * i.n_n <= arch.cols


def check_fields(i: UnitInstruction, arch: Architecture, pc: int) -> None:
    """Raise MachineError(FIELD) where the machine does.

    That is for a count of 0, lanes that do not fit, a stride beyond arch.stride_bits, a cell that
    the machine lacks.
    """
    good = all(n >> arch.stride_bits == 0 for n in i.strides())
    if isinstance(i, Contract):
        counts = (i.nm0, i.nm1, i.nn0, i.nn1, i.nk0, i.nk1, i.nb, i.nh, *i.loop_count)
        good = (
            good and all(counts) and i.n_hold <= HOLD_LOOPS and i.n_tile_loops <= len(i.loop_count)
        )
        good = good and i.act in set(Act) and i.act_shift <= numeric.ACT_OUT_FRAC
        good = good and fits(i, arch)
    elif isinstance(i, VECTORS):
        good = good and all((i.nl0, i.nl1, *i.loop_count)) and i.n_lanes <= arch.lanes
        good = good and is_built(type(i), arch)
    elif isinstance(i, Load | Store):
        good = i.beats > 0
    if not good:
        raise MachineError(Error.FIELD, pc)


def _grid(terms: list[tuple[int, int]]) -> Ints:
    """Return sum_t i_t * stride_t for all i, as an array of shape (count_0, count_1, ...)."""
    total = np.zeros((), dtype=np.int64)
    for count, stride in terms:
        total = total[..., None] + np.arange(count, dtype=np.int64) * stride
    return total


def _nest(counts: tuple[int, ...], strides: tuple[int, ...]) -> Ints:
    """Return the offsets of a temporal nest, flat, loop 0 fastest."""
    return _grid(list(zip(counts[::-1], strides[::-1], strict=True))).ravel()


def _checked(addresses: Ints, space: int, arch: Architecture) -> Ints:
    bad = addresses >= arch.capacity(space)
    if bad.any():
        raise MachineError(Error.ADDRESS, space << 31 | int(addresses[bad][0]))
    return addresses


class ContractAddresses(NamedTuple):
    """Element addresses of a CONTRACT.

    x: (tiles, iterations, h, k, b, m); y: (tiles, iterations, q, k, b, n); z, d: (tiles, q, h, b,
    m, n).
    """

    x: Ints
    y: Ints
    z: Ints
    d: Ints


def contract_addresses(i: Contract, registers: tuple[int, ...]) -> ContractAddresses:
    """Return every address that a CONTRACT touches (unchecked), loops flattened, loop 0 fastest."""
    x, y, z = _contract_offsets(i)
    return ContractAddresses(
        first(i.x_base, i.x_reg, registers) + x,
        first(i.y_base, i.y_reg, registers) + y,
        first(i.z_base, i.z_reg, registers) + z,
        first(i.d_base, i.d_reg, registers) + z,
    )


@lru_cache(maxsize=ADDRESS_CACHE)
def _contract_offsets(i: Contract) -> tuple[Ints, Ints, Ints]:
    """Return what a CONTRACT adds to its first addresses: of X, of Y, of result and addend."""
    hold, tile, (n_q, n_tiles) = i.n_hold, i.n_tile_loops, (i.held_issues, i.tiles)
    x0 = _nest(i.loop_count[hold:], i.loop_x[hold:]).reshape(n_tiles, i.tile_iterations)
    y0 = _nest(i.loop_count, i.loop_y).reshape(n_tiles, i.tile_iterations, n_q)
    z0 = _nest(
        i.loop_count[:hold] + i.loop_count[tile:], i.loop_z[:hold] + i.loop_z[tile:]
    ).reshape(n_tiles, n_q)
    xl = _grid(
        [(i.nh, i.xs_h), (i.nk1, i.xs_k1), (i.nk0, i.xs_k0), (i.nb, i.xs_b), (i.nm1, i.xs_m1),
         (i.nm0, i.xs_m0)]
    )  # fmt: skip
    yl = _grid(
        [(i.nk1, i.ys_k1), (i.nk0, i.ys_k0), (i.nb, i.ys_b), (i.nn1, i.ys_n1), (i.nn0, i.ys_n0)]
    )
    zl = _grid(
        [(i.nh, i.zs_h), (i.nb, i.zs_b), (i.nm1, i.zs_m1), (i.nm0, i.zs_m0), (i.nn1, i.zs_n1),
         (i.nn0, i.zs_n0)]
    )  # fmt: skip
    return (
        x0[:, :, None, None, None, None] + xl.reshape(i.nh, i.n_k, i.nb, i.n_m),
        y0[:, :, :, None, None, None] + yl.reshape(i.n_k, i.nb, i.n_n),
        z0[:, :, None, None, None, None] + zl.reshape(i.nh, i.nb, i.n_m, i.n_n),
    )


def finish(i: Contract, acc: Ints, addend: Ints | None, arch: Architecture) -> Ints:
    """Return the drain path's result for accumulators (any shape)."""
    if addend is not None:
        acc = numeric.wrap(acc + (addend << i.d_shift), arch.acc_bits)
    if i.act in (Act.NONE, Act.RELU):
        result = numeric.requantise(acc, i.shift, arch.data_bits)
        return np.maximum(result, 0) if i.act == Act.RELU else result
    wide = numeric.requantise(acc, i.shift, numeric.WIDE_BITS)
    function = numeric.sigmoid if i.act == Act.SIGMOID else numeric.tanh
    return numeric.requantise(function(wide), i.act_shift, arch.data_bits)


def run_contract(
    i: Contract, registers: tuple[int, ...], arch: Architecture, memory: Memory
) -> None:
    """Execute a CONTRACT."""
    a = contract_addresses(i, registers)
    x = memory.x[_checked(a.x, 0, arch)]
    y = memory.y[_checked(a.y, 1, arch)]
    # int64 wraps modulo 2**64, so the low acc_bits are exact whatever the sum
    acc = numeric.wrap(np.einsum("tihkbm,tiqkbn->tqhbmn", x, y), arch.acc_bits)
    addend = memory.space(i.d_space)[_checked(a.d, i.d_space, arch)] if i.has_addend else None
    result = finish(i, acc, addend, arch)
    memory.space(i.z_space)[_checked(a.z, i.z_space, arch)] = result


def vector_addresses(i: Vector, registers: tuple[int, ...]) -> tuple[Ints, Ints]:
    """Return (source, destination) addresses, each (vectors, lanes); the source's of gate 0."""
    src, dst = (
        _nest(i.loop_count, strides)[:, None] + _grid([(i.nl1, l1), (i.nl0, l0)]).ravel()
        for strides, l0, l1 in ((i.loop_src, i.src_l0, i.src_l1), (i.loop_dst, i.dst_l0, i.dst_l1))
    )
    return (
        first(i.src_base, i.src_reg, registers) + src,
        first(i.dst_base, i.dst_reg, registers) + dst,
    )


def run_vector(i: Vector, registers: tuple[int, ...], arch: Architecture, memory: Memory) -> None:
    """Execute an instruction of the vector unit."""
    reads, writes = vector_accesses(i, registers, arch)
    found = [
        memory.space(a.space)[_checked(a.addresses(), a.space, arch)].astype(np.int64)
        for a in reads
    ]
    for access, values in zip(writes, _results(i, _operands(i, found, arch), arch), strict=True):
        memory.space(access.space)[_checked(access.addresses(), access.space, arch)] = values


def _operands(i: Vector, found: list[Ints], arch: Architecture) -> dict[Read, Ints]:
    """Return what each read found, planes joined; all arrays are (vectors, lanes)."""
    given: dict[Read, Ints] = {}
    at = 0
    for read in i.READS:
        n = arch.cell_planes if read.source == "state" else 1
        given[read] = from_planes(found[at : at + n], arch) if n > 1 else found[at]
        at += n
    return given


def from_planes(planes: list[Ints], arch: Architecture) -> Ints:
    """Return the 16-bit states whose planes these are, the lowest bits first."""
    low = (1 << arch.data_bits) - 1
    parts = [(p & low) << (k * arch.data_bits) for k, p in enumerate(planes)]
    return numeric.wrap(sum(parts), numeric.WIDE_BITS)


def to_planes(state: Ints, arch: Architecture) -> list[Ints]:
    """Return the planes of 16-bit states, the lowest bits first."""
    shifts = (k * arch.data_bits for k in range(arch.cell_planes))
    return [numeric.wrap(state >> shift, arch.data_bits) for shift in shifts]


def _results(i: Vector, given: dict[Read, Ints], arch: Architecture) -> list[Ints]:
    """Return what an instruction writes, in order: the state's planes (if at all), the rest."""
    if isinstance(i, Fill):
        return [numeric.wrap(i.value, arch.data_bits)]
    if isinstance(i, Copy):
        return [given[Read("src")]]
    if isinstance(i, GruReset):
        gate, state = given[Read("src")], given[Read("state")]
        return [numeric.gru_reset(gate, state, **_formats(i, arch))]
    new, out = _update(i, given, arch)
    return [*to_planes(new, arch), out]


def _formats(i: Cell, arch: Architecture) -> dict[str, int]:
    return {
        "gate_frac": i.gate_frac, "cell_frac": i.cell_frac, "hidden_frac": i.hidden_frac,
        "data_bits": arch.data_bits,
    }  # fmt: skip


def _update(
    i: Lstm | Peephole | Gru | GruUpdate, given: dict[Read, Ints], arch: Architecture
) -> tuple[Ints, Ints]:
    """Return (new state, destination) of a cell."""
    src, aux, packed = (
        {read.gate: values for read, values in given.items() if read.source == source}
        for source in ("src", "aux", "packed")
    )
    state, formats = given[Read("state")], _formats(i, arch)
    if isinstance(i, Lstm):
        return numeric.lstm_cell((src[0], src[1], src[2], src[3]), state, **formats)
    if isinstance(i, Peephole):
        gates, weights = (src[0], src[1], src[2], src[3]), (packed[0], packed[1], packed[2])
        return numeric.peephole_cell(gates, weights, state, peephole_frac=i.aux_frac, **formats)
    if isinstance(i, Gru):
        hidden, inputs = (src[0], src[1], src[2]), (aux[0], aux[1], aux[2])
        return numeric.gru_cell(hidden, inputs, state, aux_frac=i.aux_frac, **formats)
    return numeric.gru_update(src[0], aux[0], state, aux_frac=i.aux_frac, **formats)


def transfer_addresses(
    i: Load | Store, registers: tuple[int, ...], arch: Architecture, host: Host, pc: int
) -> tuple[int, int]:
    """Return (external byte address, scratchpad address) of a transfer.

    Raises MachineError: ALIGNMENT, where either is no multiple of a beat.
    """
    external = (host.bases[i.ext_base] + registers[i.ext_reg] + i.ext_offset) & _MASK
    address = first(i.addr, i.addr_reg, registers)
    if external % arch.port_bytes or address % arch.port_elements:
        raise MachineError(Error.ALIGNMENT, pc)
    return external, address


def to_bytes(values: Ints, arch: Architecture) -> bytes:
    """Return elements as they lie in external memory: little endian, `data_bits` each."""
    return values.astype(f"<i{arch.element_bytes}").tobytes()


def from_bytes(data: bytes | bytearray, arch: Architecture) -> Ints:
    """Return the elements that lie in these bytes of external memory."""
    return np.frombuffer(bytes(data), dtype=f"<i{arch.element_bytes}").astype(np.int64)


def run_transfer(
    i: Load | Store,
    registers: tuple[int, ...],
    arch: Architecture,
    memory: Memory,
    host: Host,
    pc: int,
) -> None:
    """Execute a LOAD or STORE; an external address beyond the memory answers a bus error."""
    external, address = transfer_addresses(i, registers, arch, host, pc)
    size, count = i.beats * arch.port_bytes, i.beats * arch.port_elements
    if external + size > len(memory.external):
        code = Error.AXI_READ if isinstance(i, Load) else Error.AXI_WRITE
        raise MachineError(code, external)
    where = _checked(address + np.arange(count, dtype=np.int64), i.space, arch)
    if isinstance(i, Load):
        memory.space(i.space)[where] = from_bytes(memory.external[external : external + size], arch)
    else:
        memory.external[external : external + size] = to_bytes(memory.space(i.space)[where], arch)


def check_first_addresses(
    i: UnitInstruction, registers: tuple[int, ...], arch: Architecture
) -> None:
    """Raise MachineError(ADDRESS) for a first address outside its scratchpad."""
    for space, address in first_addresses(i, registers):
        if address >= arch.capacity(space):
            raise MachineError(Error.ADDRESS, space << 31 | address & ~(1 << 31))


@dataclass
class Result:
    """What a reference run did: executed unit instructions by kind."""

    executed: dict[str, int] = field(default_factory=dict)


def run(program: Program, arch: Architecture, memory: Memory, host: Host | None = None) -> Result:
    """Execute `program` on `memory` in place.

    Raises MachineError with the code and the address with which the machine stops. (After an error
    the memory holds the effects of the instructions before it.)
    """
    host = host or Host()
    result = Result()
    for pc, i, registers in trace(program, host):
        name = type(i).__name__
        result.executed[name] = result.executed.get(name, 0) + 1
        if not isinstance(i, UnitInstruction):
            continue
        check_fields(i, arch, pc)
        check_first_addresses(i, registers, arch)
        if isinstance(i, Contract):
            run_contract(i, registers, arch, memory)
        elif isinstance(i, Load | Store):
            run_transfer(i, registers, arch, memory, host, pc)
        elif isinstance(i, VECTORS):
            run_vector(i, registers, arch, memory)
    return result
