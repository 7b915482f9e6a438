"""The processing elements: an outer product of a row vector and a column vector in each cycle."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import HOLD_LATENCY, MULTIPLY_LATENCY, Architecture, clog2
from einchip.hw.accumulators import Accumulators
from einchip.hw.pipeline import delay, multiplex


def spread_bits(arch: Architecture) -> int:
    """Width of log2(H), H = columns that share a lane of Y."""
    return clog2(clog2(arch.cols) + 1)


def work_layout(arch: Architecture) -> data.StructLayout:
    """What the array does with operands, in the cycle in which they arrive.

    * valid, first, address: add the products to this accumulator, or with `first` put them there.

    Where the fold holds row operands, moreover

    * shadow: the columns whose shadows take x;
    * take, direct: what is held becomes what is in the shadow, or with `direct` x;
    * spread (fold `flex`): log2(H).
    """
    members: dict[str, Any] = {"valid": 1, "first": 1, "address": clog2(arch.accumulators)}
    if arch.holds:
        members |= {"shadow": arch.cols, "take": 1, "direct": 1}
    if arch.fold == "flex":
        members |= {"spread": spread_bits(arch)}
    return data.StructLayout(members)


def selection_layout(arch: Architecture) -> data.StructLayout:
    """What is drained: an accumulator of each column, in the row that the column selects.

    A column selects row `row_0`; where the fold has blocks, it takes bit j of the row's number from
    `row_1` where bit j of its own number, both counted from the most significant, is 1. The two
    differ in the bits of the block number, so that each column selects within its own block. Where
    products are summed over the rows, there is no row to select.
    """
    members: dict[str, Any] = {"address": clog2(arch.accumulators)}
    if arch.fold != "ip":
        members |= {"row_0": clog2(arch.rows)}
    if arch.blocks:
        members |= {"row_1": clog2(arch.rows)}
    return data.StructLayout(members)


class HeldOperand(wiring.Component):
    """A row operand of one element, held while column operands pass, and the next one behind it.

    With `shadow` the shadow takes x, with `take` `held` takes what was in the shadow, or with
    `direct` x; each at the edge that ends the cycle. Without `may_be_direct`, `direct` is ignored.
    """

    x: Signal
    shadow: Signal
    take: Signal
    direct: Signal
    held: Signal

    def __init__(self, data_bits: int, may_be_direct: bool = True) -> None:
        self.may_be_direct = may_be_direct
        super().__init__(
            {
                "x": In(signed(data_bits)),
                "shadow": In(1),
                "take": In(1),
                "direct": In(1),
                "held": Out(signed(data_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shadow, held = (
            Signal.like(self.held, name=name, reset_less=True) for name in ("next_x", "held_x")
        )
        m.d.comb += self.held.eq(held)
        with m.If(self.shadow):
            m.d.sync += shadow.eq(self.x)
        with m.If(self.take):
            m.d.sync += held.eq(Mux(self.direct, self.x, shadow) if self.may_be_direct else shadow)
        return m


class ProcessingElement(wiring.Component):
    """One multiplier, one adder and the accumulators: adds x * y to one of them.

    x and y in cycle t: the product stands in t + 1, together with its `valid`, `first` and
    `address`, and is in the accumulator from t + 2. `result` is accumulator `read`,
    combinationally. Sums wrap at `acc_bits`.
    """

    x: Signal
    y: Signal
    first: Signal
    valid: Signal
    address: Signal
    read: Signal
    result: Signal

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        super().__init__(
            {
                "x": In(signed(arch.data_bits)),
                "y": In(signed(arch.data_bits)),
                "first": In(1),
                "valid": In(1),
                "address": In(clog2(arch.accumulators)),
                "read": In(clog2(arch.accumulators)),
                "result": Out(signed(arch.acc_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        product = Signal(signed(2 * self.arch.data_bits), reset_less=True)
        m.submodules.sums = sums = Accumulators(
            self.arch.accumulators, len(product), self.arch.acc_bits
        )
        m.d.sync += product.eq(self.x * self.y)
        m.d.comb += [
            sums.addend.eq(product),
            sums.first.eq(self.first),
            sums.valid.eq(self.valid),
            sums.address.eq(self.address),
            sums.read.eq(self.read),
            self.result.eq(sums.result),
        ]
        return m


class ProcessingArray(wiring.Component):
    """rows x cols processing elements; element (r, c) multiplies x[r] by y[c], y[c >> spread].

    With fold `flex` it multiplies what it holds of x[r]: the vectors of X that arrived before, one
    for the columns c of each residue modulo H.

    Elements whose row and column belong to different blocks of a folded contraction multiply too:
    their sums are never selected, so nothing needs to tell them apart. Lanes that are not enabled
    bring zeros. What this costs in power, to multiply where no result is wanted, is not saved.

    Timing: operands and `work` in cycle t are in the accumulators from t + `depth`. `column[c]`,
    selected in cycle d, stands in d + 1. One pair of vectors and one selection a cycle, no back
    pressure.

    Members
    -------
    x, y : rows and cols elements, in
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
        self.depth = HOLD_LATENCY * arch.holds + MULTIPLY_LATENCY + 1
        element = signed(arch.data_bits)
        super().__init__(
            {
                "x": In(data.ArrayLayout(element, arch.rows)),
                "y": In(data.ArrayLayout(element, arch.cols)),
                "work": In(work_layout(arch)),
                "select": In(selection_layout(arch)),
                "column": Out(data.ArrayLayout(signed(arch.acc_bits), arch.cols)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        product = delay(m, self.work, self.depth - 1, "product")
        for c in range(self.arch.cols):
            y = self._column_operand(m, c)
            results = []
            for r in range(self.arch.rows):
                m.submodules[f"pe_{r}_{c}"] = pe = ProcessingElement(self.arch)
                m.d.comb += [
                    pe.x.eq(self._row_operand(m, r, c)),
                    pe.y.eq(y),
                    pe.first.eq(product.first),
                    pe.valid.eq(product.valid),
                    pe.address.eq(product.address),
                    pe.read.eq(self.select.address),
                ]
                results.append(pe.result)
            selected = Signal(signed(self.arch.acc_bits), name=f"selected_{c}", reset_less=True)
            m.d.sync += selected.eq(multiplex(results, self._row(c)))
            m.d.comb += self.column[c].eq(selected)
        return m

    def _column_operand(self, m: Module, column: int) -> Value:
        """Return what a column multiplies by."""
        if not self.arch.holds:
            return self.y[column]
        spread = self.work.spread
        lanes = [self.y[column >> k] for k in range(1 << len(spread))]
        y = Signal(signed(self.arch.data_bits), name=f"y_{column}", reset_less=True)
        m.d.sync += y.eq(multiplex(lanes, spread))
        return y

    def _row_operand(self, m: Module, row: int, column: int) -> Value:
        """Return what an element multiplies."""
        if not self.arch.holds:
            return self.x[row]
        operand = HeldOperand(self.arch.data_bits)
        m.submodules[f"held_{row}_{column}"] = operand
        m.d.comb += [
            operand.x.eq(self.x[row]),
            operand.shadow.eq(self.work.shadow[column]),
            operand.take.eq(self.work.take),
            operand.direct.eq(self.work.direct),
        ]
        return operand.held

    def _row(self, column: int) -> Value:
        """Return the row that a column selects."""
        if not self.arch.blocks:
            return self.select.row_0
        n_bits, column_bits = clog2(self.arch.rows), clog2(self.arch.cols)
        bits = []
        for i in range(n_bits):
            below_top = n_bits - 1 - i
            one = below_top < column_bits and column >> (column_bits - 1 - below_top) & 1
            bits.append(self.select.row_1[i] if one else self.select.row_0[i])
        return Cat(bits)
