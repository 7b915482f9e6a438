"""Where the sequencer stands in a program: the next instruction, registers, loops. No time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from einchip.program import (
    HOST_ARGS,
    LOOP_DEPTH,
    REGISTER_BITS,
    REGISTERS,
    EndLoop,
    Error,
    Halt,
    Instruction,
    Load,
    Loop,
    Program,
    SetMode,
    SetRegister,
    Store,
    UnitInstruction,
)
from einchip.reference import Host, MachineError

_MASK = (1 << REGISTER_BITS) - 1


class Taken(NamedTuple):
    """An instruction on which the sequencer has come: its word, itself, whether it is skipped."""

    pc: int
    instruction: Instruction
    skipped: bool


class Walker:
    """Goes through a program one instruction after the other, as the sequencer does.

    Members
    -------
    at : number of the next instruction.
    taken : the instruction before that, at first a HALT that is not in the program.
    registers : what they hold, register 0 first.
    turns : how often an ENDLOOP went back.
    """

    def __init__(self, program: Program, host: Host) -> None:
        self._code: Sequence[tuple[int, Instruction]] = list(program.addresses())
        self._n_words, self._host = program.n_words, host
        self._loops: list[tuple[int, int]] = []  # first instruction of the body, iterations left
        self.at = self.turns = 0
        self.taken = Taken(0, Halt(), False)
        self.registers: tuple[int, ...] = (0,) * REGISTERS

    @property
    def bodies(self) -> tuple[int, ...]:
        """The first instruction of every open loop's body, the outermost first."""
        return tuple(first for first, _ in self._loops)

    def copy(self) -> Walker:
        """Return an independent walker that stands at the same place."""
        made = object.__new__(Walker)
        made.__dict__.update(self.__dict__)
        made._loops = list(self._loops)
        return made

    def take(self) -> Taken:
        """Go on to the next instruction and return it.

        Raises MachineError: NO_HALT.
        """
        if self.at == len(self._code):
            raise MachineError(Error.NO_HALT, self._n_words)
        pc, i = self._code[self.at]
        self.at += 1
        left = self._loops[-1][1] if self._loops else 0
        self.taken = Taken(pc, i, isinstance(i, Load | Store) and i.skipped(left))
        return self.taken

    def execute(self) -> None:
        """Do what the instruction does if it is LOOP, ENDLOOP or SETR; others do nothing here.

        Raises MachineError: FIELD, LOOP.
        """
        pc, i, _ = self.taken
        if isinstance(i, Loop):
            self._loop(pc, i)
        elif isinstance(i, EndLoop):
            self._end_loop(pc)
        elif isinstance(i, SetRegister):
            self._set(pc, i)

    def _loop(self, pc: int, i: Loop) -> None:
        if i.arg > HOST_ARGS:
            raise MachineError(Error.FIELD, pc)
        count = self._host.args[i.arg - 1] & _MASK if i.arg else i.count
        if count == 0:
            raise MachineError(Error.FIELD, pc)
        if len(self._loops) == LOOP_DEPTH:
            raise MachineError(Error.LOOP, pc)
        self._loops.append((self.at, count))

    def _end_loop(self, pc: int) -> None:
        if not self._loops:
            raise MachineError(Error.LOOP, pc)
        first, left = self._loops.pop()
        if left > 1:
            self._loops.append((first, left - 1))
            self.at = first
            self.turns += 1

    def _set(self, pc: int, i: SetRegister) -> None:
        if i.reg == 0 or i.mode > max(SetMode):
            raise MachineError(Error.FIELD, pc)
        old = self.registers[i.reg]
        new = (i.value, old + i.value, i.value - old)[i.mode] & _MASK
        self.registers = (*self.registers[: i.reg], new, *self.registers[i.reg + 1 :])


def registers_of(i: Instruction) -> tuple[int, ...]:
    """Return the sequencer registers whose values an instruction reads."""
    if not isinstance(i, UnitInstruction):
        return ()
    used = {getattr(i, s.name) for s in i.layout() if s.name.endswith("_reg")}
    return tuple(sorted(used - {0}))
