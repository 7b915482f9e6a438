"""The front of every unit: an instruction slot, a setup stage and the launch."""

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.hw.interfaces import IssueSignature
from einchip.program import TOKENS


class FrontEnd(wiring.Component):
    """Take instructions from the sequencer, one in the slot and one in the setup stage.

    An instruction in the slot moves to the setup stage in the first cycle in which the stage is
    empty. Moved in cycle t, it is set up in cycles t + 1 .. t + `setup_cycles` (the unit generates
    the offsets of lane `setup_lane` in each) and is ready from the cycle after that. It launches in
    the first cycle in which it is ready, every token of its wait mask is positive and execution can
    take it; from the next cycle the stage is empty.

    Parameters
    ----------
    layout
        What the sequencer hands over; `raw.wait` is the mask of tokens to take.
    setup_cycles
        Cycles of setup, 0 or more.

    Members
    -------
    issue : IssueSignature(layout), in
        `ready` while the slot is empty.
    desc : layout, out
        The instruction in the setup stage, stable while `taken`, also in the cycle of the launch.
    positive, take : TOKENS, in and out
        Which tokens are positive; which are taken (in the cycle of the launch).
    can_take : in
        Execution can take an instruction.
    stop : in
        Nothing launches, and slot and stage are emptied.
    setup_active, setup_lane : out
        In this cycle the offsets of this lane are generated.
    coming, moves : layout and 1, out
        The instruction in the slot; it moves to the setup stage in this cycle.
    taken, ready, missing_token, launch : out
        The stage holds an instruction; it is set up; it is set up and a token of its mask is not
        positive; it starts.
    idle : out
        Slot and stage are empty.
    """

    issue: Any
    desc: Any
    positive: Signal
    take: Signal
    can_take: Signal
    stop: Signal
    setup_active: Signal
    setup_lane: Signal
    coming: Any
    moves: Signal
    taken: Signal
    ready: Signal
    missing_token: Signal
    launch: Signal
    idle: Signal

    def __init__(self, layout: data.StructLayout, setup_cycles: int) -> None:
        self._layout = layout
        self._setup_cycles = setup_cycles
        super().__init__(
            {
                "issue": In(IssueSignature(layout)),
                "positive": In(TOKENS),
                "take": Out(TOKENS),
                "can_take": In(1),
                "stop": In(1),
                "desc": Out(layout),
                "setup_active": Out(1),
                "setup_lane": Out(range(max(2, setup_cycles))),
                "coming": Out(layout),
                "moves": Out(1),
                "taken": Out(1),
                "ready": Out(1),
                "missing_token": Out(1),
                "launch": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # what they hold has no meaning until they are taken, so that no reset need reach it
        slot = Signal(self._layout, reset_less=True)
        stage = Signal(self._layout, reset_less=True)
        slot_taken = Signal()
        m.d.comb += [
            self.desc.eq(stage),
            self.issue.ready.eq(~slot_taken),
            self.idle.eq(~slot_taken & ~self.taken),
            self.coming.eq(slot),
            self.moves.eq(slot_taken & ~self.taken),
        ]
        with m.If(self.issue.valid & ~slot_taken):
            m.d.sync += [slot.eq(self.issue.payload), slot_taken.eq(1)]
        with m.If(self.moves):
            m.d.sync += [stage.eq(slot), slot_taken.eq(0), self.taken.eq(1)]
        self._count_setup(m)
        self._launch(m)
        with m.If(self.stop):
            m.d.sync += [slot_taken.eq(0), self.taken.eq(0), self.setup_active.eq(0)]
        return m

    def _count_setup(self, m: Module) -> None:
        """Step `setup_lane` through the lanes after a move."""
        m.d.comb += self.ready.eq(self.taken & ~self.setup_active)
        if self._setup_cycles == 0:
            return
        with m.If(self.moves):
            m.d.sync += [self.setup_active.eq(1), self.setup_lane.eq(0)]
        with m.Elif(self.setup_active):
            m.d.sync += [
                self.setup_lane.eq(self.setup_lane + 1),
                self.setup_active.eq(self.setup_lane != self._setup_cycles - 1),
            ]

    def _launch(self, m: Module) -> None:
        """Start the instruction that is set up, once it may."""
        wait = self.desc.raw.wait
        present = Signal()
        m.d.comb += [
            present.eq((wait & ~self.positive) == 0),
            self.missing_token.eq(self.ready & ~present),
            self.launch.eq(self.ready & present & self.can_take & ~self.stop),
        ]
        with m.If(self.launch):
            m.d.comb += self.take.eq(wait)
            m.d.sync += self.taken.eq(0)
