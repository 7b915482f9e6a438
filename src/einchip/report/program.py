"""The run program of a folder: what its instructions belong to, and what they do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from einchip.arch import Architecture
from einchip.compiler.plan import Operation, Plan
from einchip.program import (
    REGISTERS,
    Halt,
    Instruction,
    Load,
    Program,
    SetMode,
    SetRegister,
    Store,
    UnitInstruction,
)
from einchip.reference import Host
from einchip.sim import simulate
from einchip.sim.walker import Walker

#: What one execution of an instruction counts: actions, and the slots of a CONTRACT.
ACTIONS = (
    "instructions", "macs", "x_reads", "x_writes", "y_reads", "y_writes", "drained", "activations",
    "vector_ops", "dma_read_beats", "dma_write_beats", "array_issue",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """An instruction of a unit: the index of its first word, and its operation."""

    pc: int
    instruction: UnitInstruction
    operation: Operation

    @property
    def name(self) -> str:
        """The operation without the numbers of slice, share and copy: what a table has a row for.

        A contraction step's is the step's.
        """
        if self.operation.step:
            return self.operation.step
        return re.sub(r"(\.next|@\d+|/\d+|\.\d+)$", "", self.operation.name)

    @property
    def kind(self) -> str:
        """The instruction's name, in capitals as in docs/isa.md."""
        return type(self.instruction).__name__.upper()

    @property
    def unit(self) -> str:
        """The unit's name, as in the names of counters."""
        return self.instruction.UNIT.name.lower()


@dataclass(frozen=True)
class Code:
    """A program with its plan."""

    program: Program
    arch: Architecture
    plan: Plan

    @cached_property
    def lines(self) -> dict[int, Line]:
        """The instructions of units by the index of their first word, in program order.

        Raises ValueError where the plan is of another program.
        """
        own = [(pc, i) for pc, i in self.program.addresses() if isinstance(i, UnitInstruction)]
        if len(own) != len(self.plan.run):
            raise ValueError(f"run: found {len(self.plan.run)} operations, expected {len(own)}")
        pairs = zip(own, self.plan.run, strict=True)
        return {pc: Line(pc, i, o) for (pc, i), o in pairs}

    def executions(self, host: Host) -> Counter[int]:
        """Return how often a run executes each instruction of a unit; skipped ones not counted."""
        found, walker = Counter[int](), Walker(self.program, host)
        while True:
            taken = walker.take()
            if isinstance(taken.instruction, Halt):
                return found
            if isinstance(taken.instruction, UnitInstruction) and not taken.skipped:
                found[taken.pc] += 1
            walker.execute()

    def actions(self, host: Host) -> dict[int, dict[str, int]]:
        """Return what one execution of each instruction counts (`ACTIONS`), by a run of it alone.

        Registers are those of its first execution.
        """
        found: dict[int, dict[str, int]] = {}
        walker = Walker(self.program, host)
        while True:
            pc, i, _ = walker.take()
            if isinstance(i, Halt):
                return found
            if isinstance(i, UnitInstruction) and pc not in found:
                found[pc] = self._alone(i, walker.registers)
            walker.execute()

    def _alone(self, i: UnitInstruction, registers: tuple[int, ...]) -> dict[str, int]:
        free = replace(i, wait=0, signal=0)
        if isinstance(free, Load | Store):
            free = replace(free, skip_last=0)
        code: list[Instruction] = [
            SetRegister(k, SetMode.SET, registers[k]) for k in range(1, REGISTERS) if registers[k]
        ]
        program = Program((*code, free, Halt()))
        run = simulate(program, self.arch, fetch=False, check_banks=False, timeline=False)
        return {name: run.counters[name] for name in ACTIONS} | {"instructions": 1}


def added(executions: Mapping[int, int], actions: Mapping[int, Mapping[str, int]]) -> Counter[str]:
    """Return what some executions count together."""
    found = Counter[str]()
    for pc, n in executions.items():
        for name, count in actions[pc].items():
            found[name] += n * count
    return found
