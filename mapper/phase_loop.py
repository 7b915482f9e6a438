"""The program of one phase: registers, tokens and the loop over the time steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from einchip.mapper import ops as op
from einchip.mapper.phase import Phase
from einchip.mapper.ports import MODULUS, RECORD_REGISTERS
from einchip.mapper.programs import emitted
from einchip.mapper.tokens import Plan, copy_name, ordered
from einchip.program import EndLoop, Give, Instruction, Loop, SetMode, SetRegister, Sync

X_REGISTER, NEXT_X_REGISTER = 2, 3
#: The LOOP's field for host register ARG0: the number of time steps.
STEPS_ARGUMENT = 1


@dataclass(frozen=True)
class PhaseLoop:
    """A phase as a part of a program."""

    phase: Phase

    @cached_property
    def tokens(self) -> Plan:
        """The tokens of all sections."""
        toggles: dict[str, tuple[str, int]] = {}
        for name in self.phase.toggled:
            toggles |= {name: (name, 0), f"{name}.next": (name, 1)}
        return ordered(self.phase.before, self.phase.body, self.phase.after, toggles)

    def aliases(self, bases: Mapping[str, int]) -> dict[str, int]:
        """Return the addresses of the other names of toggled buffers."""
        return {
            alias: bases[name]
            for name in self.phase.toggled
            for alias in (f"{name}.next", copy_name(name, 0))
        }

    @property
    def registers(self) -> dict[str, int]:
        """The registers that are added to the addresses of buffers."""
        found: dict[str, int] = {}
        for name in self.phase.toggled:
            found |= {name: X_REGISTER, f"{name}.next": NEXT_X_REGISTER}
        return found

    @property
    def records(self) -> dict[int, int]:
        """Bytes from one step to the next of each host register that the loop reads or writes."""
        fields = [*self.phase.ports.sources, *(s.field for s in self.phase.ports.sinks)]
        return {f.base: f.record for f in fields}

    def instructions(self, place: op.Place) -> list[Instruction]:
        """Return the phase's part of the program."""
        plan = self.tokens
        between = [Sync()] if plan.synced else []
        credits = [Give(mask) for mask in plan.credits]
        run: list[Instruction] = list(self._start())
        run += [] if plan.settled else credits
        run += emitted(self.phase.before, plan.before, place)
        if self.phase.toggled:
            run.append(SetRegister(NEXT_X_REGISTER, SetMode.SET, self.phase.distance))
        run += [Sync(), *credits] if plan.settled else []
        run.append(Loop(arg=STEPS_ARGUMENT))
        run += emitted(self.phase.body, plan.body, place)
        run += [*self._steps(), *between, EndLoop()]
        run += [Sync()] if plan.closed and self.phase.after else []
        run += emitted(self.phase.after, plan.after, place)
        return run

    def _steps(self) -> Iterator[SetRegister]:
        """Yield what brings the registers to the next time step."""
        sign = -1 if self.phase.ports.reverse else 1
        for base, n in self.records.items():
            yield SetRegister(RECORD_REGISTERS[base], SetMode.ADD, sign * n % MODULUS)
        if self.phase.toggled:
            for register in (X_REGISTER, NEXT_X_REGISTER):
                yield SetRegister(register, SetMode.TOGGLE, self.phase.distance)

    def _start(self) -> Iterator[Instruction]:
        """Yield the end of the phase before, and the registers' first values.

        A reverse phase begins where the one before it, over the same records, ended.
        """
        if not self.phase.number:
            return
        yield Sync()
        for base, n in self.records.items():
            reverse = self.phase.ports.reverse
            mode, value = (SetMode.ADD, -n % MODULUS) if reverse else (SetMode.SET, 0)
            yield SetRegister(RECORD_REGISTERS[base], mode, value)
        if self.phase.toggled:
            yield SetRegister(X_REGISTER, SetMode.SET, 0)
