"""The mapping of a folder: its networks as trees, its steps with loop nests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Final

from einchip.compiler.plan import Plan, PlannedNetwork
from einchip.report.data import NetworkFigures, TreeNode

#: The scalar 1 that a step with one operand multiplies by.
_ONE: Final = "@one"


@dataclass(frozen=True)
class MappedStep:
    """A contraction step as mapping.json has it, with its network's sizes and its loop nest."""

    network: int
    planned: PlannedNetwork
    described: Mapping[str, Any]
    loop_nest: str

    @property
    def name(self) -> str:
        """The name of the step and its result."""
        return str(self.described["result"])

    def indices(self, tensor: str) -> dict[str, int]:
        """Return a tensor's indices with their sizes."""
        return dict(self.planned.tensors[tensor].indices)

    def elements(self, tensor: str) -> int:
        """Return the elements of a whole tensor."""
        return prod(self.indices(tensor).values())

    @property
    def summed(self) -> dict[str, int]:
        """The indices that the step sums over, with their sizes."""
        names = (self.described["left"], self.described["right"])
        both = {i: n for name in names for i, n in self.indices(name).items()}
        return {i: n for i, n in both.items() if i not in self.indices(self.name)}


@dataclass(frozen=True)
class Mapped:
    """The mapping of a folder; `described` is mapping.json, `nests` mapping.txt."""

    plan: Plan
    described: Mapping[str, Any]
    nests: str

    @cached_property
    def steps(self) -> list[MappedStep]:
        """All steps, network by network.

        Raises ValueError where mapping.txt has others.
        """
        nests = _blocks(self.nests)
        found = []
        for number, (planned, network) in enumerate(
            zip(self.plan.networks, self.described["networks"], strict=True)
        ):
            for step in network["steps"]:
                nest = next(nests)
                if not nest.startswith(f"{step['result']}["):
                    raise ValueError(f"mapping.txt: found {nest[:40]!r}, expected {step['result']}")
                found.append(MappedStep(number, planned, step, nest))
        return found

    def networks(self, order: Mapping[str, int]) -> Iterator[NetworkFigures]:
        """Yield the networks with their trees; `order` has the numbers of the run's steps.

        Steps that only setup executes are S1, S2 .. in its order.
        """
        setup = dict.fromkeys(o.step for o in self.plan.setup if o.step and o.step not in order)
        numbers = {name: str(k) for name, k in order.items()}
        numbers |= {name: f"S{k}" for k, name in enumerate(setup, start=1)}
        for number, network in enumerate(self.described["networks"]):
            own = {s.name: s for s in self.steps if s.network == number}
            result = list(own)[-1]
            yield NetworkFigures(
                name=result, tree=network["tree"], root=self._node(result, own, number, numbers)
            )

    def _node(
        self,
        name: str,
        steps: Mapping[str, MappedStep],
        network: int,
        numbers: Mapping[str, str],
    ) -> TreeNode:
        """Return a tensor with what it is contracted from."""
        tensor = self.plan.networks[network].tensors[name]
        step = steps.get(name)
        operands = (step.described["left"], step.described["right"]) if step else ()
        return TreeNode(
            name=name,
            role=tensor.role,
            bond=dict(tensor.indices),
            number=numbers.get(name, "") if step else "",
            summed=step.summed if step else {},
            operands=tuple(
                self._node(o, steps, network, numbers) for o in operands if not o.startswith(_ONE)
            ),
        )


def _blocks(nests: str) -> Iterator[str]:
    """Yield the loop nest of each step: a line that is not indented, and those behind it."""
    block: list[str] = []
    for line in nests.splitlines():
        if block and not line.startswith(" "):
            yield "\n".join(block)
            block = []
        block.append(line)
    yield "\n".join(block)
