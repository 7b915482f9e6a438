"""Folds: against brute force over CONTRACTs, `numpy.einsum` and the simulator."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip import reference
from einchip.arch import PRESETS, Architecture
from einchip.check import verify
from einchip.mapper.cost import issue_cycles, latency
from einchip.mapper.emit import contracts
from einchip.mapper.factors import Fold, Run, Shape, runs
from einchip.mapper.lanes import Machine, best_cycles, candidates, steady_cycles
from einchip.mapper.layout import Layout, solve
from einchip.mapper.plan import Step
from einchip.program import Contract, Halt, Program
from einchip.sim import simulate
from tests.mapper.cases import mpo
from tests.mapper.test_network import WIDE, check

FOLDS = ("op", "hybrid", "flex", "ip")
NANO = {
    f: PRESETS["nano"].override(fold=f, data_bits=16, port_bytes=8, x_depth=1 << 17) for f in FOLDS
}


def fits(arch: Architecture, made: Contract) -> bool:
    """Ask the reference whether a CONTRACT fits a machine."""
    try:
        reference.check_fields(made, arch, 0)
    except reference.MachineError:
        return False
    return True


def cheapest(arch: Architecture, m: int, n: int, k: int, b: int, pads: bool = False) -> int:
    """Return the cycles of the cheapest fold, and its last tile's rows, by trying all lanes.

    With `pads` also those that take n for a few more.
    """
    best = 1 << 60
    for nm, nn, nk, nb in itertools.product(*(range(1, 1 + min(4, s)) for s in (m, n, k, b))):
        if k % nk:
            continue
        for nh, q in itertools.product(range(1, 5), range(1, 9)):
            if len({j * nm % arch.lanes for j in range(nh)}) < nh:
                continue  # no stride puts the held values into banks of their own
            made = Contract(nm0=nm, nn0=nn, nk0=nk, nb=nb, nh=nh)
            if nh > 1 or q > 1:
                made = replace(made, n_hold=1, loop_count=(q, 1, 1, 1, 1, 1))
            if not fits(arch, made):
                continue
            of_n = [runs(n, nn, q)]
            if pads and nn * (q - 1) < n < nn * q:
                of_n.append([Run(0, 1, nn, q)])
            for n_runs in of_n:
                total = sum(
                    max(
                        Machine.of(arch).floor,
                        issue_cycles(
                            rm.iterations * rn.iterations * rb.iterations, k // nk, rm.lanes,
                            held=rm.blocks, passing=rn.blocks,
                        ),
                    )
                    for rm, rn, rb in itertools.product(
                        runs(m, nm, nh, at_once=True), n_runs, runs(b, nb)
                    )
                )  # fmt: skip
                best = min(best, total + nm * q)
    return best


def sized(letter: str, *sizes: int) -> tuple[tuple[str, int], ...]:
    return tuple((f"{letter}{i}", s) for i, s in enumerate(sizes) if s > 1)


@pytest.mark.parametrize("pads", [False, True])
@pytest.mark.parametrize("fold", FOLDS)
@given(st.tuples(*(st.integers(1, 40) for _ in "mn"), st.integers(1, 12), st.integers(1, 5)))
def test_the_cheapest_fold_is_the_one_that_brute_force_finds(
    fold: str, pads: bool, sizes: tuple[int, int, int, int]
) -> None:
    m, n, k, b = sizes
    shape = Shape(sized("m", m), sized("n", n), sized("k", k), sized("b", b), (), ())
    arch = NANO[fold]
    wanted = cheapest(arch, *sizes, pads) + latency(0, arch)
    assert best_cycles(shape, arch, pads=pads) == wanted


@pytest.mark.parametrize(("drains", "wanted"), [(True, 144), (False, 98)])
def test_a_drain_that_is_hidden_counts_for_nothing(drains: bool, wanted: int) -> None:
    """24 x 32 x 32: with 32 held 96 slots, 2 before them, 48 rows behind; else 128 and 16."""
    shape = Shape((("m", 16), ("h", 2)), (("n", 24),), (("k", 32),), (), (), ())
    assert steady_cycles(shape, PRESETS["base"], drains=drains) == wanted


def test_values_that_pass_are_padded_where_a_rest_would_take_a_pass_of_its_own() -> None:
    """25 columns in 7 vectors of 4, 64 rows: the rest of 25 = 6 * 4 + 1 reads all of X again."""
    shape = Shape((("m", 16), ("h", 4)), (("n", 25),), (("k", 3600),), (), (), ())
    cycles = [steady_cycles(shape, PRESETS["base"], pads=pads) for pads in (False, True)]
    assert cycles == [2 * 4 * 3600, 7 * 3600 + 4]


def layouts(shape: Shape, fold: Fold, lanes: int) -> tuple[Layout, Layout, Layout] | None:
    """Return layouts of X, Y and the result that serve a fold."""
    m, n, k, b = (tuple(i for i, _ in g) for g in shape.groups()[:4])
    sizes = dict(itertools.chain(*shape.groups()))
    found = (
        solve(m + k + b, sizes, [fold.x_lanes], lanes),
        solve(k + n + b, sizes, [fold.y_lanes], lanes),
        solve(m + n + b, sizes, [fold.z_lanes], lanes),
    )
    return None if None in found else found  # type: ignore[return-value]


def scatter(array: np.ndarray, layout: Layout, indices: list[str], size: int) -> np.ndarray:
    """Return a scratchpad that holds an array."""
    memory = np.zeros(size, dtype=np.int64)
    at = np.zeros(array.shape, dtype=np.int64)
    for axis, i in enumerate(indices):
        shape = [1] * array.ndim
        shape[axis] = -1
        at += layout.stride(i) * np.arange(array.shape[axis]).reshape(shape)
    memory[at] = array
    return memory


def gather(memory: np.ndarray, layout: Layout, indices: list[str]) -> np.ndarray:
    """Return the array that a scratchpad holds."""
    sizes = [layout.sizes[i] for i in indices]
    at = sum(
        (layout.stride(i) * np.arange(n).reshape([-1 if a == k else 1 for a in range(len(sizes))])
         for k, (i, n) in enumerate(zip(indices, sizes, strict=True))),
        np.zeros(sizes, dtype=np.int64),
    )  # fmt: skip
    return memory[at]


@pytest.mark.parametrize("fold", FOLDS)
@given(data=st.data())
def test_the_contracts_of_every_fold_compute_the_step(fold: str, data: st.DataObject) -> None:
    group = st.lists(st.integers(1, 5), max_size=3)
    m, n = (sized(x, *data.draw(group)) for x in "mn")
    k, b = (sized(x, *data.draw(st.lists(st.integers(1, 3), max_size=2))) for x in "kb")
    shape, arch = Shape(m, n, k, b, (), ()), NANO[fold]
    found = candidates(shape, arch, slack=200, keep=64, pads=data.draw(st.booleans())).candidates
    chosen = data.draw(st.sampled_from(found)).fold
    placed = layouts(shape, chosen, arch.lanes)
    if placed is None:
        return
    sizes = dict(itertools.chain(*shape.groups()))
    tensors = ((m, k, b), (k, n, b), (m, n, b))
    names = [[i for i, _ in itertools.chain(*groups)] for groups in tensors]
    step = Step("z", "x", "y", "x", "y", chosen, sizes, 0)
    emitted = contracts(step, *placed)
    program = Program((*emitted, Halt()))
    assert verify(program, arch) == []
    rng = np.random.default_rng(1)
    x, y = (rng.integers(-3, 4, [sizes[i] for i in ix]) for ix in names[:2])
    memory = reference.Memory.empty(arch, 64)
    memory.space(0)[:] = scatter(x, placed[0], names[0], arch.capacity(0))
    memory.space(1)[:] = scatter(y, placed[1], names[1], arch.capacity(1))
    top = placed[0].extent
    moved = [replace(c, z_base=c.z_base + top) for c in emitted]
    reference.run(Program((*moved, Halt())), arch, memory)
    letters = {i: chr(97 + j) for j, i in enumerate(sizes)}
    left, right, out = ("".join(letters[i] for i in ix) for ix in names)
    np.testing.assert_array_equal(
        gather(memory.space(0)[top:], placed[2], names[2]),
        np.einsum(f"{left},{right}->{out}", x, y),
    )
    macs = prod(sizes.values())
    for factor in chosen.q:
        if factor.reach:
            macs = macs // prod(sizes[i] for i in factor.chain) * factor.reach
    assert sum(c.macs for c in emitted) == macs


@given(
    fold=st.sampled_from(["hybrid", "flex"]), n_m=st.integers(1, 4), iterations=st.integers(1, 9),
    tiles=st.integers(1, 9), nh=st.sampled_from([1, 2, 4]), q=st.integers(1, 8),
)  # fmt: skip
def test_one_contract_takes_what_the_formula_says(
    fold: str, n_m: int, iterations: int, tiles: int, nh: int, q: int
) -> None:
    arch = NANO[fold]
    if not arch.holds:
        nh = q = 1
    made = Contract(
        nm0=n_m, nh=nh, n_hold=1, n_reduce=1, loop_count=(q, iterations, tiles, 1, 1, 1),
        xs_m0=1, xs_h=1, zs_m0=1, zs_h=1,
    )  # fmt: skip
    if not made.holds or q == nh == 1:
        made = replace(made, n_hold=0, loop_count=(iterations, tiles, 1, 1, 1, 1))
    period = max(q, nh)
    held = issue_cycles(tiles, iterations, n_m, held=nh, passing=q)
    rest = min(q * n_m, (iterations - 1) * period + q)
    launch = 1 + Contract.WORDS + 1 + arch.setup_cycles + 1
    last = launch + held + rest + arch.accumulate_latency - 1 + arch.drain_latency
    assert simulate(Program((made, Halt())), arch, fetch=False).cycles == last + 2


def test_the_first_step_of_ucf11_holds_four_vectors() -> None:
    arch = PRESETS["base"].override(fold="flex")
    shape = Shape(sized("m", 20, 160), sized("n", 20), sized("k", 18), (), (), ())
    best = candidates(shape, arch).candidates[0]
    assert best.cycles - latency(best.fold.tile_rows, arch) == 4 + 4500  # the bound is 4500
    assert sum(f.count for f in best.fold.h) == 4


def test_many_small_modes_fill_the_array_fused() -> None:
    arch = WIDE["base"].override(fold="flex")
    network = mpo("x", (2,) * 6, (2,) * 6, 4)
    compiled = check(network, arch, tuple(n for n in network.tensors if n != "x"))
    assert any(s.fold.n_fused for s in compiled.mapping.part.steps)
    part = compiled.mapping.part
    assert part.searched.complete
    assert part.searched.folds > len(part.steps)


def test_a_fused_fold_is_quicker_than_one_of_two_modes_at_a_time() -> None:
    arch = PRESETS["base"]
    found = candidates(
        Shape(sized("m", 2, 2, 2, 2), sized("n", 2, 2, 2, 2), sized("k", 64), (), (), ()), arch
    ).candidates
    apart = min(c.cycles for c in found if not c.fold.n_fused)
    assert found[0].cycles - latency(16, arch) == 64
    assert apart - latency(4, arch) >= 64 * 8
