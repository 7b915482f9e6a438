"""Hidden parts and cells in shares of the hidden units: the same values, and fewer cycles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from einchip.arch import PRESETS
from einchip.mapper import CellKind, divide, map_model, place
from einchip.mapper.place import pipelined, placed, reordered
from einchip.mapper.problem import Recurrent
from einchip.network import Network
from einchip.program import Lstm
from einchip.sim import simulate
from tests.mapper.cases import LAYERS, WIDE, dense, mpo
from tests.mapper.models import MODELS, last, layer, linear, sequence
from tests.mapper.run_model import check_model

L0 = "layers.0"


def networks(n_gates: int = 4) -> tuple[Network, Network]:
    """Return the networks of a cell of 32 units."""
    return dense("x", 6, n_gates * 32), mpo("h", (4, 8), (n_gates * 4, 8), 2)


CUT = {
    "lstm": last(layer(L0, CellKind.LSTM, 32, networks())),
    "peephole": last(layer(L0, CellKind.PEEPHOLE, 32, networks())),
    "gru": last(layer(L0, CellKind.GRU, 32, networks(3))),
    "sequence": sequence(layer(L0, CellKind.LSTM, 32, networks())),
    "two directions": last(layer(L0, CellKind.LSTM, 32, networks(), networks())),
    "two phases": MODELS["stack, other modes"],
    "other hidden modes": LAYERS["other hidden modes"],
}


def with_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut every cell that can be cut, whatever it costs."""
    monkeypatch.setattr(place, "MIN_VECTORS", 1)
    monkeypatch.setattr(place, "NEAR", 0)
    for cycles in ("step_cycles", "sequence_cycles"):
        by_words = property(lambda mapped: max(1, 9999 - mapped.run().n_words))
        monkeypatch.setattr(place.Mapped, cycles, by_words)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", CUT)
def test_shares_change_no_answer(name: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with_shares(monkeypatch)
    mapping = check_model(replace(CUT[name], batch=batch), WIDE["nano"])
    assert all(p.shares for p in mapping.mapped.phases)


def crossed(kind: CellKind, n_gates: int, hidden: Network | None = None) -> Recurrent:
    """Return a layer of 48 units whose gates and h have modes that cross but for the last, 2."""
    modes = {4: (6, 16, 2), 3: (9, 8, 2), 1: (6, 4, 2)}[n_gates]
    return layer(
        L0, kind, 48, (mpo("x", (2, 2, 1), modes, 2), hidden or mpo("h", (4, 6, 2), modes, 2))
    )


#: Models whose vectors are flat, or fused.
CROSSED = {
    "lstm": last(crossed(CellKind.LSTM, 4)),
    "peephole": sequence(crossed(CellKind.PEEPHOLE, 4)),
    "gru": last(crossed(CellKind.GRU, 3)),
    "rnn": last(crossed(CellKind.RNN_TANH, 1)),
    "head": last(crossed(CellKind.LSTM, 4), linear("layers.1", mpo("x", (2, 12, 2), (2, 2, 2), 2))),
    "head, sequence": sequence(
        crossed(CellKind.GRU, 3), linear("layers.1", mpo("x", (2, 12, 2), (2, 2, 2), 2))
    ),
    "two layers": sequence(
        crossed(CellKind.LSTM, 4),
        layer("layers.1", CellKind.GRU, 6, (mpo("x", (4, 12), (6, 3), 2), dense("h", 6, 18))),
    ),
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", CROSSED)
def test_fused_vectors_change_no_answer(
    name: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(divide, "KINDS", (divide.Kind(fuse=True),))
    with_shares(monkeypatch)
    mapping = check_model(replace(CROSSED[name], batch=batch), WIDE["nano"])
    cell = mapping.mapped.phases[0].cell
    assert cell
    units = cell.units
    assert any(len(a.chain) > 1 for a in (*units.gates, *units.hidden, units.gate))
    assert not units.flat_gates
    assert not units.flat_hidden


def test_cells_of_fused_vectors_are_cut_where_that_is_quicker() -> None:
    """The FT-LSTM 40 -> 768 of four cores, rank 2: its 4 gates are no factor of 6 x 8 x 8 x 8."""
    modes = (6, 8, 8, 8)
    networks = mpo("x", (2, 2, 2, 5), modes, 2), mpo("h", (4, 4, 6, 8), modes, 2)
    problem = last(layer(L0, CellKind.LSTM, 768, networks))
    mapping = map_model(problem, PRESETS["base"])
    [phase] = mapping.mapped.phases
    assert phase.shares
    assert phase.cell
    assert not phase.cell.units.flat_gates
    flat = divide.ModelSearch(problem.batched, PRESETS["base"], divide.Kind()).run()
    assert flat.phases[0].shares is None
    plain = replace(mapping, mapped=flat)
    assert mapping.step_cycles < 0.95 * plain.step_cycles


#: The FT-LSTM 40 -> 768 of two cores, rank 3.
LARGE = last(
    layer(L0, CellKind.LSTM, 768, (mpo("x", (5, 8), (48, 64), 3), mpo("h", (12, 64), (48, 64), 3)))
)


def test_cells_are_cut_where_that_is_quicker() -> None:
    """In the simulator, against the same mapping with whole cells."""
    arch = PRESETS["base"]
    mapping = map_model(LARGE, arch)
    [phase] = mapping.mapped.phases
    assert phase.shares
    for name in (f"{L0}.lstm", f"{L0}.gates"):
        found = sorted(o.name for o in phase.body if o.name.rsplit("/")[0] == name)
        assert found == [f"{name}/{k}" for k in range(phase.shares.n)]
    cells = [i for i in mapping.emit().run.instructions if isinstance(i, Lstm)]
    assert len(cells) == phase.shares.n
    whole = placed([replace(phase, shares=None, ahead=False, order=())], arch)
    plain = replace(mapping, mapped=pipelined(reordered(whole, arch), arch))
    cycles = [
        simulate(m.emit().run, arch, host=m.host(12, 0, 1 << 20, 1 << 21), fetch=False).cycles
        for m in (mapping, plain)
    ]
    assert cycles[0] < 0.95 * cycles[1]


def test_small_cells_stay_whole() -> None:
    mapping = map_model(CUT["lstm"], PRESETS["base"])
    assert [p.shares for p in mapping.mapped.phases] == [None]
