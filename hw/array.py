"""The processing elements: an outer product of a row vector and a column vector in each cycle."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import ACCUMULATE_LATENCY, MULTIPLY_LATENCY, READ_LATENCY, Architecture, clog2
from einchip.hw.pipeline import delay, multiplex


class ProcessingElement(wiring.Component):
    """One multiplier, one adder and two accumulators: acc[target] := first ? x * y : acc + x * y.

    x and y in cycle t: the product stands in t + 1, together with its `accumulate` (one bit per
    accumulator) and `first`, and is in the accumulator from t + 2. `result` is acc[read],
    combinationally. Sums wrap at `acc_bits`.
    """

    x: Signal
    y: Signal
    first: Signal
    accumulate: Signal
    read: Signal
    result: Signal

    def __init__(self, data_bits: int, acc_bits: int) -> None:
        super().__init__(
            {
                "x": In(signed(data_bits)),
                "y": In(signed(data_bits)),
                "first": In(1),
                "accumulate": In(2),
                "read": In(1),
                "result": Out(signed(acc_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        product = Signal(signed(2 * len(self.x)), reset_less=True)
        acc = [Signal.like(self.result, name=f"acc_{s}", reset_less=True) for s in range(2)]
        total = Signal.like(self.result)
        old = Mux(self.accumulate[1], acc[1], acc[0])
        m.d.sync += product.eq(self.x * self.y)
        m.d.comb += [
            total.eq(Mux(self.first, 0, old) + product),
            self.result.eq(Mux(self.read, acc[1], acc[0])),
        ]
        for s in range(2):
            with m.If(self.accumulate[s]):
                m.d.sync += acc[s].eq(total)
        return m


class ProcessingArray(wiring.Component):
    """rows x cols processing elements; element (r, c) multiplies x[r] by y[c].

    Elements whose row and column belong to different blocks of a folded contraction multiply too:
    their sums are never selected, so nothing needs to tell them apart. Lanes that are not enabled
    bring zeros. What this costs in power, to multiply where no result is wanted, is not saved.

    Timing: operands, `valid`, `first` and `target` in cycle t are in the accumulators from
    t + MULTIPLY_LATENCY + 1. `column[c]`, selected in cycle d, stands in d + 1. One pair of vectors
    and one selection a cycle, no back pressure.

    Members
    -------
    x, y : rows and cols elements, in
    valid, first, target : in
        Add these products to accumulator set `target`, or with `first` put them there.
    row_0, row_1 : log2(rows), in
        Which row each column selects: column c takes bit j of its row number from `row_1` where
        bit j of c, both counted from the most significant, is 1, else from `row_0`. The two differ
        in the bits of the block number, so that each column selects within its own block.
    read : in
        The accumulator set to select from.
    column : cols * acc_bits, out
    """

    x: Any
    y: Any
    valid: Signal
    first: Signal
    target: Signal
    row_0: Signal
    row_1: Signal
    read: Signal
    column: Any

    def __init__(self, arch: Architecture) -> None:
        if READ_LATENCY + MULTIPLY_LATENCY + 1 != ACCUMULATE_LATENCY or MULTIPLY_LATENCY != 1:
            raise AssertionError("the array's pipeline has other depths than einchip.arch")
        self.arch = arch
        element = signed(arch.data_bits)
        super().__init__(
            {
                "x": In(data.ArrayLayout(element, arch.rows)),
                "y": In(data.ArrayLayout(element, arch.cols)),
                "valid": In(1),
                "first": In(1),
                "target": In(1),
                "row_0": In(clog2(arch.rows)),
                "row_1": In(clog2(arch.rows)),
                "read": In(1),
                "column": Out(data.ArrayLayout(signed(arch.acc_bits), arch.cols)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        first = delay(m, self.first, MULTIPLY_LATENCY, "first")
        accumulate = delay(
            m, Cat(self.valid & ~self.target, self.valid & self.target), 1, "accumulate"
        )
        for c in range(self.arch.cols):
            results = []
            for r in range(self.arch.rows):
                pe = ProcessingElement(self.arch.data_bits, self.arch.acc_bits)
                m.submodules[f"pe_{r}_{c}"] = pe
                m.d.comb += [
                    pe.x.eq(self.x[r]),
                    pe.y.eq(self.y[c]),
                    pe.first.eq(first),
                    pe.accumulate.eq(accumulate),
                    pe.read.eq(self.read),
                ]
                results.append(pe.result)
            selected = Signal(signed(self.arch.acc_bits), name=f"selected_{c}", reset_less=True)
            m.d.sync += selected.eq(multiplex(results, self._row(c)))
            m.d.comb += self.column[c].eq(selected)
        return m

    def _row(self, column: int) -> Value:
        """Return the row that a column selects."""
        n_bits, column_bits = clog2(self.arch.rows), clog2(self.arch.cols)
        bits = []
        for i in range(n_bits):
            below_top = n_bits - 1 - i
            one = below_top < column_bits and column >> (column_bits - 1 - below_top) & 1
            bits.append(self.row_1[i] if one else self.row_0[i])
        return Cat(bits)
