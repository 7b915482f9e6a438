"""The energy of all runs, and every coefficient of its table with unit and source."""

from __future__ import annotations

from einchip import energy
from einchip.energy.sensitivity import study
from einchip.energy.table import Arithmetic, Dram, Leakage, Sram
from einchip.report.data import Coefficient, EnergyFigures, EnergyLine
from einchip.report.steps import Steps


def energy_figures(steps: Steps) -> EnergyFigures:
    """Return the energy of all runs, as `einchip simulate` prints it."""
    studied = study(steps.runs.counters, steps.arch, steps.table, steps.code.program)
    spent = studied.energy
    total = spent.total_pj
    return EnergyFigures(
        table=spent.table.name,
        total_pj=total,
        by_component_pj=spent.by_component,
        other_pj={c: e for c, e in steps.other_pj().items() if e},
        lines=tuple(
            EnergyLine(
                component=line.component,
                action=line.action,
                count=line.count,
                each_pj=line.each_pj,
                total_pj=line.total_pj,
                share=line.total_pj / total if total else 0.0,
                decides=decides,
            )
            for line, decides in zip(spent.lines, studied.decides, strict=True)
        ),
        coefficients=tuple(coefficients(spent.table)),
        notes=tuple(spent.notes()),
    )


def coefficients(table: energy.Table) -> list[Coefficient]:
    """Return the entries of an energy table, each with where it comes from."""
    found = []
    for action, entry in table.actions().items():
        values, unit = "", ""
        if isinstance(entry, Arithmetic):
            points = ", ".join(f"{bits} bit {pj:g}" for bits, pj in sorted(entry.points.items()))
            values, unit = f"{points} ({entry.rule})", entry.unit
        elif isinstance(entry, Sram):
            points = "; ".join(
                f"{p.bytes:,} bytes, {p.bits} bit: read {p.read:g}, write {p.write:g}"
                for p in entry.points
            )
            values, unit = f"{points} (larger: {entry.larger})", entry.unit
        elif isinstance(entry, Dram):
            values = f"{entry.bits} bit: read {entry.read:g}, write {entry.write:g}"
            unit = entry.unit
        elif isinstance(entry, Leakage):
            values, unit = f"{entry.power:g} at {entry.clock_mhz:g} MHz", entry.unit
        origin = table.origin(action)
        found.append(
            Coefficient(
                name=action,
                values=values,
                unit=unit,
                process=origin.process(),
                source=origin.source,
                note=entry.note,
            )
        )
    return found
