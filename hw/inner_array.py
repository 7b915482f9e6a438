"""The processing elements of fold `ip`: an inner product in each column and cycle."""

from typing import Any

from amaranth import Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import HOLD_LATENCY, MULTIPLY_LATENCY, Architecture, clog2
from einchip.hw.accumulators import Accumulators
from einchip.hw.array import HeldOperand, selection_layout, work_layout
from einchip.hw.pipeline import delay


class InnerArray(wiring.Component):
    """rows x cols multipliers; column c adds sum_r held[r, c] * y[r] to one of its accumulators.

    A column holds the vector of X that arrived with its bit of `work.shadow`. An instruction that
    does not hold uses column 0, which alone can take x directly. Lanes that are not enabled bring
    zeros. Sums wrap at `acc_bits`.

    Timing: operands and `work` in cycle t are in the accumulators from t + `depth`. `column[c]`,
    selected in cycle d, stands in d + 1. One pair of vectors and one selection a cycle, no back
    pressure.

    Members
    -------
    x, y : rows elements, in
    work : work_layout, in
    select : selection_layout, in
    column : cols * acc_bits, out
    """

    x: Any
    y: Any
    work: Any
    select: Any
    column: Any

    def __init__(self, arch: Architecture) -> None:
        if MULTIPLY_LATENCY != 1 or HOLD_LATENCY != 1:
            raise AssertionError("the array's pipeline has other depths than einchip.arch")
        self.arch = arch
        self.depth = HOLD_LATENCY + MULTIPLY_LATENCY + clog2(arch.rows) + 1
        vector = data.ArrayLayout(signed(arch.data_bits), arch.rows)
        super().__init__(
            {
                "x": In(vector),
                "y": In(vector),
                "work": In(work_layout(arch)),
                "select": In(selection_layout(arch)),
                "column": Out(data.ArrayLayout(signed(arch.acc_bits), arch.cols)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch = self.arch
        total = delay(m, self.work, self.depth - 1, "total")
        y = delay(m, self.y, 1, "y")
        for c in range(arch.cols):
            products = [held * y[r] for r, held in enumerate(self._hold(m, c))]
            addend = _sum(m, products, f"product_{c}")
            sums = Accumulators(arch.accumulators, len(addend), arch.acc_bits)
            m.submodules[f"sums_{c}"] = sums
            selected = Signal.like(sums.result, name=f"selected_{c}", reset_less=True)
            m.d.sync += selected.eq(sums.result)
            m.d.comb += [
                sums.addend.eq(addend),
                sums.first.eq(total.first),
                sums.valid.eq(total.valid),
                sums.address.eq(total.address),
                sums.read.eq(self.select.address),
                self.column[c].eq(selected),
            ]
        return m

    def _hold(self, m: Module, column: int) -> list[Value]:
        """Return what the elements of a column hold."""
        held: list[Value] = []
        for r in range(self.arch.rows):
            operand = HeldOperand(self.arch.data_bits, may_be_direct=column == 0)
            m.submodules[f"held_{r}_{column}"] = operand
            m.d.comb += [
                operand.x.eq(self.x[r]),
                operand.shadow.eq(self.work.shadow[column]),
                operand.take.eq(self.work.take),
                operand.direct.eq(self.work.direct),
            ]
            held.append(operand.held)
        return held


def _sum(m: Module, values: list[Value], name: str) -> Value:
    """Return the sum of the values, in registers of their own and after each level of a tree."""
    level: list[Value] = []
    for k, value in enumerate(values):
        register = Signal(value.shape(), name=f"{name}_{len(values)}_{k}", reset_less=True)
        m.d.sync += register.eq(value)
        level.append(register)
    if len(level) == 1:
        return level[0]
    pairs = zip(level[::2], level[1::2], strict=True)
    return _sum(m, [a + b for a, b in pairs], name)
