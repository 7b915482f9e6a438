"""The meaning of programs: CONTRACT against numpy.einsum, LSTM against numeric, errors by name."""

import string
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip import accesses, numeric, reference
from einchip.arch import CELLS, PRESETS, Architecture
from einchip.program import (
    ARRAY_LOOPS,
    Act,
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
    SetMode,
    SetRegister,
    Store,
    Sync,
)
from einchip.reference import Host, MachineError, Memory

NANO = PRESETS["nano"]
BASE = PRESETS["base"]
REGISTERS = (0,) * 8

#: Factors of an instruction's lanes: name of the count, and the tensors that carry it.
LANES = {"m0": "xz", "m1": "xz", "n0": "yz", "n1": "yz", "k0": "xy", "k1": "xy", "b": "xyz",
         "h": "xz"}  # fmt: skip


@dataclass
class Layout:
    """Where a tensor lies: its indices from the slowest to the fastest, with their strides."""

    order: list[str]
    strides: dict[str, int]
    size: int

    @classmethod
    def dense(cls, order: list[str], sizes: dict[str, int], padding: int) -> "Layout":
        strides, step = {}, 1
        for name in reversed(order):
            strides[name] = step
            step = step * sizes[name] + padding
        return cls(order, strides, step)

    def place(self, tensor: np.ndarray, space: np.ndarray, base: int) -> None:
        np.put(space, self.addresses(tensor.shape, base), tensor)

    def addresses(self, shape: tuple[int, ...], base: int) -> np.ndarray:
        grids = np.indices(shape)
        return base + sum(
            (g * self.strides[name] for g, name in zip(grids, self.order, strict=True)),
            np.zeros(shape, dtype=np.int64),
        )


class Folded(NamedTuple):
    """A machine, sizes of all indices, loops as (index, tensors that carry it), how many hold."""

    arch: Architecture
    sizes: dict[str, int]
    loops: list[tuple[str, str]]
    n_hold: int


@st.composite
def folds(draw: st.DrawFn) -> Folded:
    arch = draw(st.sampled_from([BASE, *(BASE.override(fold=f) for f in ("op", "flex", "ip"))]))
    h = draw(st.integers(1, 16)) if arch.holds else 1
    if arch.fold == "ip":
        k0, k1, b = draw(st.sampled_from([(1, 1, 1), (16, 1, 1), (3, 5, 1)]))
        m0 = n0 = m1 = n1 = 1
    else:
        shapes = [(1, 1, 1)] if arch.fold == "op" else [(2, 1, 1), (2, 2, 1), (1, 1, 3), (3, 1, 2)]
        k0, k1, b = draw(st.sampled_from([(1, 1, 1), *shapes]))
        blocks = (1 << (k0 * k1 - 1).bit_length()) * (1 << (b - 1).bit_length())
        h = min(h, 16 // blocks)
        cols = 16 // blocks // (1 << (h - 1).bit_length())
        m0 = draw(st.integers(1, 16 // blocks))
        n0 = draw(st.integers(1, cols))
        m1 = draw(st.integers(1, 16 // blocks // m0))
        n1 = draw(st.integers(1, cols // n0))
    sizes = {"m0": m0, "m1": m1, "n0": n0, "n1": n1, "k0": k0, "k1": k1, "b": b, "h": h}
    held = [(f"q{k}", "yz") for k in range(draw(st.integers(0, 2)) if arch.holds else 0)]
    loops = [*held, *((f"r{k}", "xy") for k in range(draw(st.integers(0, 3))))]
    room = ARRAY_LOOPS - len(loops)
    carriers = draw(st.lists(st.sampled_from(["xz", "yz", "xyz"]), max_size=room))
    loops += [(f"o{k}", tensors) for k, tensors in enumerate(carriers)]
    most = {"q": 8 if len(held) == 1 else 2}
    sizes.update({name: draw(st.integers(1, most.get(name[0], 3))) for name, _ in loops})
    return Folded(arch, sizes, loops, len(held))


@given(folds(), st.data())
def test_contract_is_einsum_for_any_fold(fold: Folded, data: st.DataObject) -> None:
    machine, sizes, loops, n_hold = fold
    carried = {**LANES, **dict(loops)}
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    layouts, tensors = {}, {}
    for t in "xyz":
        names = [n for n in carried if t in carried[n]]
        order = [names[k] for k in rng.permutation(len(names))]
        layouts[t] = Layout.dense(order, sizes, data.draw(st.integers(0, 1)))
        tensors[t] = rng.integers(-128, 128, [sizes[n] for n in order])
    counts = [sizes[n] for n, _ in loops] + [1] * (ARRAY_LOOPS - len(loops))

    def loop_strides(t: str) -> tuple[int, ...]:
        unused = 999 if t == "x" else 0  # the loop_x of a loop that holds
        strides = [layouts[t].strides.get(n, unused if n[0] == "q" else 0) for n, _ in loops]
        return (*strides, *(0,) * (ARRAY_LOOPS - len(loops)))

    shift, act = data.draw(st.integers(0, 14)), data.draw(st.sampled_from(list(Act)))
    z_space, z_base = data.draw(st.integers(0, 1)), 20000
    i = Contract(
        **{f"n{n}": sizes[n] for n in LANES},
        **{f"{t}s_{n}": layouts[t].strides[n] for n in LANES for t in LANES[n]},
        x_base=3, y_reg=1, z_space=z_space, z_base=z_base,
        n_hold=n_hold, n_reduce=sum(t == "xy" for _, t in loops), loop_count=tuple(counts),
        loop_x=loop_strides("x"), loop_y=loop_strides("y"), loop_z=loop_strides("z"),
        has_addend=data.draw(st.integers(0, 1)), d_space=1, d_base=40000, d_shift=2,
        shift=shift, act=act, act_shift=8,
    )  # fmt: skip
    memory = Memory.empty(BASE, 0)
    layouts["x"].place(tensors["x"], memory.x, 3)
    layouts["y"].place(tensors["y"], memory.y, 7)
    addend = rng.integers(-128, 128, tensors["z"].shape)
    layouts["z"].place(addend, memory.y, 40000)

    letters = dict(zip(carried, string.ascii_letters, strict=False))
    text = ["".join(letters[n] for n in layouts[t].order) for t in "xyz"]
    total = np.einsum(f"{text[0]},{text[1]}->{text[2]}", tensors["x"], tensors["y"])
    if i.has_addend:
        total = total + 4 * addend
    if act in (Act.SIGMOID, Act.TANH):
        function = numeric.sigmoid if act is Act.SIGMOID else numeric.tanh
        expected = numeric.requantise(function(numeric.requantise(total, shift, 16)), 8, 8)
    else:
        expected = numeric.requantise(total, shift, 8)
        expected = np.where(expected < 0, 0, expected) if act is Act.RELU else expected

    reference.check_fields(i, machine, 0)
    reference.run_contract(i, (0, 7, 0, 0, 0, 0, 0, 0), machine, memory)
    found = memory.space(z_space)[layouts["z"].addresses(tensors["z"].shape, z_base)]
    assert np.array_equal(found, expected)


def test_accumulation_wraps_at_the_accumulator_s_width() -> None:
    narrow = NANO.override(acc_bits=17)
    memory = Memory.empty(narrow, 0)
    memory.x[:8] = -128
    memory.y[:8] = -128
    sums = Contract(n_reduce=1, loop_count=(8, 1, 1, 1, 1, 1), loop_x=(1, 0, 0, 0, 0, 0),
                    loop_y=(1, 0, 0, 0, 0, 0), z_base=64, shift=10)  # fmt: skip
    reference.run_contract(sums, REGISTERS, narrow, memory)
    assert memory.x[64] == (8 * 128 * 128 - 2**17) >> 10


@pytest.mark.parametrize("bits", [8, 16])
def test_lstm_updates_cells_kept_in_planes(bits: int) -> None:
    arch = NANO.override(data_bits=bits)
    rng = np.random.default_rng(5)
    memory = Memory.empty(arch, 0)
    gates = rng.integers(-128, 128, (4, 3, 4))  # gate, vector, lane
    cells = rng.integers(-(2**15), 2**15, (3, 4))
    memory.y[:48] = gates.transpose(1, 0, 2).ravel()
    planes = [cells] if bits == 16 else [numeric.wrap(cells, 8), cells >> 8]
    width = 4 * len(planes)
    for vector in range(3):
        for p, plane in enumerate(planes):
            memory.x[64 + vector * width + 4 * p :][:4] = plane[vector]
    i = Lstm(nl0=2, nl1=2, src_space=1, src_l0=1, src_l1=2, gate_stride=4, dst_l0=1, dst_l1=2,
             loop_count=(3, 1, 1, 1), loop_src=(16, 0, 0, 0), loop_dst=(4, 0, 0, 0),
             cell_base=64, gate_frac=4, cell_frac=11, hidden_frac=6)  # fmt: skip
    reference.run_vector(i, REGISTERS, arch, memory)
    new, hidden = numeric.lstm_cell(
        (gates[0], gates[1], gates[2], gates[3]), cells,
        gate_frac=4, cell_frac=11, hidden_frac=6, data_bits=bits,
    )  # fmt: skip
    assert np.array_equal(memory.x[:12].reshape(3, 4), hidden)
    kept = memory.x[64 : 64 + 3 * width].reshape(3, len(planes), 4)
    mask = (1 << bits) - 1
    found = sum((kept[:, p] & mask) << (p * bits) for p in range(len(planes)))
    assert np.array_equal(numeric.wrap(found, 16), new)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", [Peephole, Gru, GruReset, GruUpdate])
def test_cells_read_their_streams_and_keep_their_state(kind: type[Cell], bits: int) -> None:
    """Three vectors of 2 x 2 lanes of four, every element of every stream written one by one."""
    arch = NANO.override(data_bits=bits)
    rng, planes, memory = np.random.default_rng(6), 16 // bits, Memory.empty(arch, 0)
    low, high = numeric.limits(bits)
    src, aux = rng.integers(low, high, (2, 4, 3, 4), endpoint=True)  # gate, vector, lane
    state = rng.integers(-(2**15), 2**15, (3, 4))
    formats = {"gate_frac": 4 + bits // 2, "cell_frac": 13, "hidden_frac": 6}
    i = kind(
        nl0=2, nl1=2, loop_count=(1, 3, 1, 1), src_space=1, src_base=100, src_reg=1, src_l0=5,
        src_l1=1, gate_stride=40, loop_src=(0, 12, 0, 0), dst_base=7, dst_l0=1, dst_l1=2,
        loop_dst=(0, 8, 0, 0), cell_space=1, cell_base=400, cell_reg=2, aux_base=300, aux_reg=3,
        aux_frac=11, **formats,
    )  # fmt: skip
    registers = (0, 1000, 8, 4, 0, 0, 0, 0)
    for v in range(3):
        for lane in range(4):
            l0, l1 = lane % 2, lane // 2
            for gate in range(4):
                offset = 5 * l0 + l1 + 12 * v + 40 * gate
                memory.y[1100 + offset] = src[gate, v, lane]
                if kind is not Peephole:
                    memory.x[304 + offset] = aux[gate, v, lane]
            for q in range(3):
                if kind is Peephole:
                    memory.x[304 + (3 * v + q) * 4 + lane] = aux[q, v, lane]
            for p in range(planes):
                part = numeric.wrap(state[v, lane] >> (8 * p), bits)
                memory.y[408 + (planes * v + p) * 4 + lane] = part
    before = memory.copy()
    reference.run_vector(i, registers, arch, memory)
    s, a, every = list(src), list(aux), {**formats, "data_bits": bits}
    if kind is GruReset:
        new, out = state, numeric.gru_reset(s[0], state, **every)
    elif kind is GruUpdate:
        new, out = numeric.gru_update(s[0], a[0], state, aux_frac=11, **every)
    elif kind is Gru:
        new, out = numeric.gru_cell(
            (s[0], s[1], s[2]), (a[0], a[1], a[2]), state, aux_frac=11, **every
        )
    else:
        new, out = numeric.peephole_cell(
            (s[0], s[1], s[2], s[3]), (a[0], a[1], a[2]), state, peephole_frac=11, **every
        )
    for v in range(3):
        for lane in range(4):
            before.x[7 + 8 * v + lane] = out[v, lane]
            for p in range(planes):
                part = numeric.wrap(new[v, lane] >> (8 * p), bits)
                before.y[408 + (planes * v + p) * 4 + lane] = part
    assert np.array_equal(memory.x, before.x)
    assert np.array_equal(memory.y, before.y)


def run(
    *instructions: Instruction, memory: Memory | None = None, host: Host | None = None
) -> Memory:
    memory = memory or Memory.empty(NANO, 4096)
    reference.run(Program((*instructions, Halt())), NANO, memory, host)
    return memory


def test_load_and_store_move_little_endian_elements() -> None:
    arch: Architecture = NANO.override(data_bits=16)
    memory = Memory.empty(arch, 64)
    memory.external[:8] = np.array([1, -2, 300, -32768], dtype="<i2").tobytes()
    program = Program((Load(beats=2), Store(beats=2, ext_offset=16), Halt()))
    reference.run(program, arch, memory)
    assert memory.x[:4].tolist() == [1, -2, 300, -32768]
    assert memory.external[16:24] == memory.external[:8]


def test_fill_wraps_its_value_and_copy_changes_the_layout() -> None:
    memory = run(
        Fill(nl0=4, dst_l0=1, value=0xFF80),
        Fill(nl0=4, dst_l0=1, dst_base=4, value=5),
        Copy(nl0=2, nl1=2, src_l0=1, src_l1=4, dst_l0=2, dst_l1=1, dst_space=1),
    )
    assert memory.x[:8].tolist() == [-128] * 4 + [5] * 4
    assert memory.y[:4].tolist() == [-128, 5, -128, 5]


def test_loops_and_registers_run_as_written() -> None:
    # r1: 0, 4, 8; r2 toggles between 64 and 0; ARG1 turns
    program = Program(
        (
            SetRegister(reg=2, mode=SetMode.SET, value=64),
            Loop(arg=2),
            Give(mask=1),
            Fill(nl0=1, dst_reg=1, dst_base=1),
            Fill(nl0=1, dst_reg=2),
            SetRegister(reg=1, mode=SetMode.ADD, value=4),
            SetRegister(reg=2, mode=SetMode.TOGGLE, value=64),
            EndLoop(),
            Halt(),
        )
    )
    steps = list(reference.trace(program, Host(args=(0, 3, 0, 0))))
    assert [s.registers[1:3] for s in steps[:6:2]] == [(0, 64), (4, 0), (8, 64)]
    assert isinstance(steps[-1].instruction, Halt)
    assert [s.pc for s in steps] == [3, 7] * 3 + [14]


def test_registers_wrap_at_32_bits() -> None:
    down = (SetRegister(reg=3, value=10), SetRegister(reg=3, mode=SetMode.ADD, value=2**32 - 4))
    steps = list(reference.trace(Program((*down, Halt())), Host()))
    assert steps[-1].registers[3] == 6
    assert accesses.first(2**20 - 1, 3, (0, 0, 0, 2**32 - 1, 0, 0, 0, 0)) == 2**20 - 2


def test_trace_has_units_syncs_and_halt_and_walk_everything_but_what_is_skipped() -> None:
    body = (Give(mask=1), Load(beats=1, skip_last=1), SetRegister(reg=1, value=5), Sync())
    program = Program((Loop(count=2), *body, EndLoop(), Halt()))
    kinds = [type(step.instruction) for step in reference.trace(program, Host())]
    assert kinds == [Load, Sync, Sync, Halt]
    every = [(type(s.instruction), s.registers[1]) for s in reference.walk(program, Host())]
    first = [(Give, 0), (Load, 0), (SetRegister, 5), (Sync, 5), (EndLoop, 5)]
    again = [(Give, 5), (SetRegister, 5), (Sync, 5), (EndLoop, 5)]
    assert every == [(Loop, 0), *first, *again, (Halt, 5)]


def test_sync_changes_nothing_in_memory() -> None:
    memory = run(
        Fill(nl0=4, dst_l0=1, value=3), Sync(), Copy(nl0=4, src_l0=1, dst_l0=1, dst_base=8)
    )
    assert memory.x[:12].tolist() == [3] * 4 + [0] * 4 + [3] * 4


TOP = NANO.capacity(0)


@pytest.mark.parametrize(
    ("instructions", "error"),
    [
        ((Loop(count=0),), (Error.FIELD, 0)),
        ((Loop(arg=5),), (Error.FIELD, 0)),
        ((Loop(arg=1),), (Error.FIELD, 0)),
        ((SetRegister(reg=1, mode=3),), (Error.FIELD, 0)),
        ((Loop(count=1),) * 5, (Error.LOOP, 4)),
        ((EndLoop(),), (Error.LOOP, 0)),
        ((Give(), Contract(nm0=5)), (Error.FIELD, 1)),
        ((Contract(nk0=3, nm0=2),), (Error.FIELD, 0)),
        ((Contract(nb=3, nn0=2),), (Error.FIELD, 0)),
        ((Contract(n_reduce=7),), (Error.FIELD, 0)),
        ((Contract(act_shift=16),), (Error.FIELD, 0)),
        ((Contract(nh=0),), (Error.FIELD, 0)),
        ((Contract(nh=2),), (Error.FIELD, 0)),
        ((Contract(n_hold=1),), (Error.FIELD, 0)),
        ((Copy(nl0=5),), (Error.FIELD, 0)),
        ((Copy(loop_count=(1, 0, 1, 1)),), (Error.FIELD, 0)),
        ((Load(beats=0),), (Error.FIELD, 0)),
        ((Load(beats=1, addr=1),), (Error.ALIGNMENT, 0)),
        ((Store(beats=1, ext_offset=2),), (Error.ALIGNMENT, 0)),
        ((Load(beats=2, addr=TOP - 4),), (Error.ADDRESS, TOP)),
        ((Fill(dst_base=TOP, dst_space=1),), (Error.ADDRESS, 1 << 31 | TOP)),
        ((Gru(cell_base=TOP),), (Error.ADDRESS, TOP)),
        ((Gru(aux_base=TOP, aux_space=1),), (Error.ADDRESS, 1 << 31 | TOP)),
        ((Gru(aux_base=TOP - 8, gate_stride=4),), (Error.ADDRESS, TOP)),
        ((Peephole(aux_base=TOP, aux_space=1),), (Error.ADDRESS, 1 << 31 | TOP)),
        ((Peephole(src_base=TOP, dst_base=TOP + 1),), (Error.ADDRESS, TOP)),
        ((GruReset(loop_count=(1, 1, 0, 1)),), (Error.FIELD, 0)),
        ((GruUpdate(nl0=3, nl1=2),), (Error.FIELD, 0)),
        ((Sync(), Sync(), EndLoop()), (Error.LOOP, 2)),
        ((Load(beats=2, ext_offset=4092),), (Error.AXI_READ, 4092)),
        ((Store(beats=2, ext_offset=4092),), (Error.AXI_WRITE, 4092)),
    ],
)
def test_error(instructions: tuple[Instruction, ...], error: tuple[Error, int]) -> None:
    with pytest.raises(MachineError) as raised:
        run(*instructions)
    assert (raised.value.code, raised.value.address) == error


FLEX = NANO.override(fold="flex", accumulators=8, cols=4)
FOLDED = {
    "op": NANO.override(fold="op"), "hybrid": NANO, "flex": FLEX,
    "ip": NANO.override(fold="ip", accumulators=8),
}  # fmt: skip
#: CONTRACTs for 4 x 4 PEs, and the folds that they fit; held operands have 4 accumulators.
FITTING: list[tuple[Contract, set[str]]] = [
    (Contract(nm0=4, nn0=4), {"op", "hybrid", "flex"}),
    (Contract(nm0=5), set()),
    (Contract(nk0=2, nm0=2, nn0=2), {"hybrid", "flex"}),
    (Contract(nk0=3, nb=2), set()),
    (Contract(nk0=3), {"hybrid", "flex", "ip"}),
    (Contract(nk0=2, nk1=2), {"hybrid", "flex", "ip"}),
    (Contract(nb=3), {"hybrid", "flex"}),
    (Contract(nb=3, nn0=2), set()),
    (Contract(nh=3, nm0=4), {"flex"}),
    (Contract(nh=3, nk0=4), {"ip"}),
    (Contract(nh=3, nn0=2), set()),
    (Contract(nh=2, nk0=2, nm0=2), {"flex"}),
    (Contract(nh=5), set()),
    (Contract(n_hold=1), {"flex", "ip"}),
    (Contract(n_hold=1, loop_count=(4, 9, 1, 1, 1, 1)), {"flex", "ip"}),
    (Contract(n_hold=1, loop_count=(5, 1, 1, 1, 1, 1)), set()),
    (Contract(n_hold=2, loop_count=(2, 2, 9, 1, 1, 1), nh=4), {"flex", "ip"}),
    (Contract(n_hold=2, loop_count=(2, 3, 1, 1, 1, 1)), set()),
    (Contract(n_hold=3), set()),
    (Contract(n_hold=1, n_reduce=5), {"flex", "ip"}),
    (Contract(n_hold=2, n_reduce=5), set()),
    (Contract(n_reduce=6), {"op", "hybrid", "flex", "ip"}),
]


@pytest.mark.parametrize(("contract", "fitting"), FITTING)
def test_what_fits_depends_on_the_fold(contract: Contract, fitting: set[str]) -> None:
    for fold, machine in FOLDED.items():
        if fold in fitting:
            reference.check_fields(contract, machine, 7)
            continue
        with pytest.raises(MachineError) as raised:
            reference.check_fields(contract, machine, 7)
        assert (raised.value.code, raised.value.address) == (Error.FIELD, 7)


#: The cell that each instruction of one is for.
CELL_OF: dict[type[Cell], str] = {
    Lstm: "lstm", Peephole: "peephole", Gru: "gru", GruReset: "gru_before", GruUpdate: "gru_before",
}  # fmt: skip


@pytest.mark.parametrize("cells", [(), ("lstm",), ("gru", "gru_before"), CELLS], ids="+".join)
def test_a_cell_that_the_machine_lacks_is_an_error(cells: tuple[str, ...]) -> None:
    machine = NANO.override(cells=cells)
    for kind, cell in CELL_OF.items():
        if cell in cells:
            reference.check_fields(kind(), machine, 7)
            continue
        with pytest.raises(MachineError) as raised:
            reference.check_fields(kind(), machine, 7)
        assert (raised.value.code, raised.value.address) == (Error.FIELD, 7)
    for other in (Copy(), Fill(), Contract()):
        reference.check_fields(other, machine, 7)


def test_program_without_halt_is_an_error_past_its_end() -> None:
    with pytest.raises(MachineError) as raised:
        reference.run(Program((Give(), Contract())), NANO, Memory.empty(NANO, 0))
    assert (raised.value.code, raised.value.address) == (Error.NO_HALT, 9)


def test_copies_of_memory_are_independent() -> None:
    one = Memory.empty(NANO, 8)
    other = one.copy()
    other.x[0], other.external[0] = 1, 1
    assert (one.x[0], one.external[0]) == (0, 0)


def test_executed_instructions_are_counted_by_kind() -> None:
    fill = replace(Fill(), value=1)
    program = Program((Loop(count=3), fill, EndLoop(), Load(beats=1), Halt()))
    result = reference.run(program, NANO, Memory.empty(NANO, 64))
    assert result.executed == {"Fill": 3, "Load": 1, "Halt": 1}
