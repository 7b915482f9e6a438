"""Reports of every kind of model hold together: sums, places, roofs. All of the zoo nightly."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pytest

from einchip import energy
from einchip.arch import PRESETS
from einchip.compiler import folder
from einchip.compiler.compiled import compile_model
from einchip.report import Report
from einchip.report.gather import Asked, gather, read_mapped
from tests.compiler import cases

#: Of each kind one: two phases, shared places, an upper bound of two cells, sequences side by side.
FEW: Final = (("bidirectional", 1), ("tucker gru-before", 1), ("bt lstm", 3))


def reported(name: str, batch: int, target: Path) -> Report:
    model, given = cases.model(name), cases.sequences(name, (4, 2, 4))
    made = compile_model(model, PRESETS["nano" if batch == 1 else "small"], given, batch)
    folder.write(made, given, target)
    read = folder.read(target)
    asked = Asked(target, read, energy.load("cacti45"), 8, ["einchip"])
    return gather(asked, read_mapped(target, read))


@pytest.mark.parametrize(("name", "batch"), FEW)
def test_a_report_holds_together(name: str, batch: int, tmp_path: Path) -> None:
    """Oracle: sums that are all cycles and all energy, a map of every element in every cycle."""
    holds_together(reported(name, batch, tmp_path / "made"))


@pytest.mark.nightly
def test_reports_of_the_whole_zoo_hold_together(tmp_path: Path) -> None:
    """Oracle: as above, for every format, cell and graph."""
    for number, name in enumerate(cases.CASES):
        holds_together(reported(name, 1, tmp_path / str(number)))


def holds_together(r: Report) -> None:
    b, cycles = r.bottleneck, r.headline.cycles
    assert b.floor_cycles + sum(x.cycles for x in b.losses) == pytest.approx(cycles)
    assert min(x.cycles for x in b.losses) > -1e-6
    spent = sum(sum(s.energy_pj.values()) for s in r.steps) + sum(r.energy.other_pj.values())
    assert spent == pytest.approx(r.headline.energy_pj)
    assert min(r.energy.other_pj.values()) >= 0
    assert sum(s.macs for s in r.steps) == r.headline.macs
    for s in r.steps:
        c = s.contraction
        if c and c.limit != "results":  # whose last rows drain while the next step is executed
            assert 0 < c.achieved <= c.roof * (1 + 1e-9)
    for pad in r.memory.scratchpads:
        held = np.zeros((pad.capacity, r.timeline.cycles), dtype=np.int8)
        for v in (v for v in r.memory.lives if v.space == pad.space):
            held[v.base : v.base + v.elements, v.start : v.end] += 1
        assert held.max() == 1
