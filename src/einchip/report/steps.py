"""What every operation of the run program takes: cycles by cause, MACs, energy, its roofline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from einchip import energy
from einchip.arch import Architecture
from einchip.report.data import Contraction, Lanes, StepFigures
from einchip.report.mapping import Mapped, MappedStep
from einchip.report.program import ACTIONS, Code, Line, added
from einchip.report.record import WAITING
from einchip.report.runs import Runs

#: The component that the energy model charges once for all cells of a run (an upper bound).
_VECTOR: Final = "vector"
#: What sets the pace of a step whose largest tensor is its X operand, its Y operand, its result.
LIMITS: Final[tuple[Literal["reads of X", "reads of Y", "results"], ...]] = (
    "reads of X", "reads of Y", "results",
)  # fmt: skip


@dataclass(frozen=True)
class Steps:
    """The operations of a folder's runs."""

    runs: Runs
    code: Code
    mapped: Mapped
    table: energy.Table

    @property
    def arch(self) -> Architecture:
        """The machine."""
        return self.code.arch

    @cached_property
    def lines(self) -> dict[str, list[Line]]:
        """The instructions of every operation, in program order."""
        found: dict[str, list[Line]] = {}
        for line in self.code.lines.values():
            found.setdefault(line.name, []).append(line)
        return found

    @cached_property
    def executions(self) -> Counter[int]:
        """How often all runs execute each instruction."""
        found = Counter[int]()
        for n_steps, times in Counter(self.runs.lengths).items():
            host = self.runs.folder.places.host(n_steps)
            for pc, n in self.code.executions(host).items():
                found[pc] += times * n
        return found

    @cached_property
    def actions(self) -> dict[int, dict[str, int]]:
        """What one execution of each instruction counts."""
        return self.code.actions(self.runs.folder.places.host(1))

    def whole(self, name: str, executions: Mapping[int, int]) -> int:
        """Return how often an operation is executed as a whole, with all slices and shares."""
        parts = {line.operation.part: line.pc for line in reversed(self.lines[name])}
        return sum(executions[pc] for pc in parts.values())

    def counted(self, name: str) -> dict[str, int]:
        """Return what an operation counts in all runs (`program.ACTIONS`)."""
        own = {line.pc: self.executions[line.pc] for line in self.lines[name]}
        return dict.fromkeys(ACTIONS, 0) | dict(added(own, self.actions))

    # --- energy ------------------------------------------------------------------------------
    @cached_property
    def spent(self) -> energy.Energy:
        """The energy of all runs, as `einchip simulate` prints it."""
        return energy.energy(self.runs.counters, self.arch, self.table, self.code.program)

    @cached_property
    def energy_pj(self) -> dict[str, dict[str, float]]:
        """The energy of every operation by component.

        What the energy model charges for cells is an upper bound of the whole run: it is shared out
        in proportion to the bounds of the operations alone.
        """
        none = dict.fromkeys(self.runs.counters, 0)
        alone = {
            name: energy.energy(
                none | self.counted(name), self.arch, self.table, self.code.program
            ).by_component
            for name in self.lines
        }
        total = sum(parts.get(_VECTOR, 0.0) for parts in alone.values())
        for parts in alone.values():
            if total and _VECTOR in parts:
                parts[_VECTOR] *= self.spent.by_component[_VECTOR] / total
        return alone

    def other_pj(self) -> dict[str, float]:
        """Return what no operation takes, by component: sequencer, program fetch, leakage."""
        found = {}
        for component, total in self.spent.by_component.items():
            own = sum(parts.get(component, 0.0) for parts in self.energy_pj.values())
            rest = total - own
            found[component] = rest if abs(rest) > 1e-9 * max(total, 1.0) else 0.0
        return found

    # --- figures -----------------------------------------------------------------------------
    @cached_property
    def cycles(self) -> dict[str, Counter[str]]:
        """The recorded cycles of every operation by state of its unit, waiting included."""
        found = {name: Counter[str]() for name in self.lines}
        for _, times, made in self.runs.records:
            for (_, state, pc), n in made.by_pc.items():
                if pc in self.code.lines and state != "idle":
                    found[self.code.lines[pc].name][state] += times * n
        return found

    @cached_property
    def launched(self) -> Counter[int]:
        """How often each instruction was launched in what was recorded."""
        found = Counter[int]()
        for _, times, made in self.runs.records:
            for job in made.run.timeline:
                found[job.pc] += times
        return found

    def figures(self) -> Iterator[StepFigures]:
        """Yield the operations in program order."""
        steps = {s.name: s for s in self.mapped.steps}
        for name, number in self.numbers.items():
            lines = self.lines[name]
            counted = self.counted(name)
            step = steps.get(name)
            yield StepFigures(
                number=number,
                name=name,
                kind=lines[0].kind,
                unit=lines[0].unit,
                parts=tuple(dict.fromkeys(line.operation.part for line in lines)),
                executions=sum(self.executions[line.pc] for line in lines),
                macs=counted["macs"],
                recorded_executions=sum(self.launched[line.pc] for line in lines),
                cycles=dict(self.cycles[name]),
                energy_pj={c: e for c, e in self.energy_pj[name].items() if e},
                contraction=self._contraction(step) if step else None,
            )

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The operations, numbered in the order in which the program has them.

        An input part that runs ahead is in front of the loop and in it: its place in it counts.
        """
        place = {
            name: next(
                (line.pc for line in lines if line.operation.part == "time step"), lines[0].pc
            )
            for name, lines in self.lines.items()
        }
        order = sorted(self.lines, key=lambda name: place[name])
        return {name: number for number, name in enumerate(order, start=1)}

    def _contraction(self, step: MappedStep) -> Contraction:
        d, arch, cycles = step.described, self.arch, self.cycles[step.name]
        sizes = [step.elements(d["x"]), step.elements(d["y"]), step.elements(step.name)]
        intensity = d["macs"] / max(sizes)
        slow = arch.lanes * intensity < arch.n_pes
        busy = sum(n for state, n in cycles.items() if state not in WAITING)
        return Contraction(
            network=step.network,
            einsum=d["einsum"],
            left=d["left"],
            right=d["right"],
            x_elements=sizes[0],
            y_elements=sizes[1],
            result_elements=sizes[2],
            utilisation=d["utilisation"],
            intensity=intensity,
            roof=min(arch.n_pes, arch.lanes * intensity),
            limit=LIMITS[sizes.index(max(sizes))] if slow else "multipliers",
            achieved=self.whole(step.name, self.launched) * d["macs"] / busy if busy else 0.0,
            lanes=tuple(
                Lanes(group=group, factors=factors)
                for group, factors in d["lanes"].items()
                if factors
            ),
            loop_nest=step.loop_nest,
        )
