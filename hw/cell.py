"""The pointwise arithmetic of all cells: one datapath per lane, controlled by CellSchedule."""

from collections.abc import Collection
from typing import Any

from amaranth import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.hw.activation import Activation
from einchip.hw.cell_schedule import CANDIDATE, FACTOR, INPUT, N_PRE, OUTPUT, control_layout
from einchip.hw.pipeline import one_hot
from einchip.hw.requantise import Requantise
from einchip.hw.vector_kinds import CELLS
from einchip.numeric import ACT_IN_FRAC, ACT_OUT_FRAC, WIDE_BITS, limits
from einchip.program import Act, Gru, Lstm, Peephole

#: A product with a sigmoid, which is never negative.
_PRODUCT_BITS = 2 * WIDE_BITS - 1
#: Cycles by which the state is held back, so that it meets the gate that multiplies it: at least as
#: many as a GRU_RESET's gate is later than its state, at most as many as an LSTM's has to spare.
_STATE_DELAY = 4


def n_products(cells: Collection[Any]) -> int:
    """Return how many products a lane for some cells has, each in a multiplier of its own.

    Those of the state: aged and fresh; of peephole weights; inner; of the output gate.
    """
    of_weights, output = _any_in(cells, Peephole), _any_in(cells, Lstm, Peephole)
    return 2 * bool(cells) + of_weights + _any_in(cells, Peephole, Gru) + output


def n_activations(cells: Collection[Any]) -> int:
    """Return how many activations a lane for some cells has, each with a table."""
    return bool(cells) + _any_in(cells, Lstm, Peephole, Gru)


def _any_in(cells: Collection[Any], *kinds: Any) -> bool:
    return any(kind in cells for kind in kinds)


class CellLane(wiring.Component):
    """One lane of numeric's cells, their inputs one after the other, the state on its own port.

    Everything read is brought to an activation's format by one requantiser, joined with what is
    added to it, and kept as one of N_PRE pre-activations. From there on each multiplier,
    requantiser and activation has one role, and cells differ in what they leave out (what none of
    the machine's cells needs is not built):

        first activation   of the gates, one after the other
        aged               factor * state, shifted to 30 fractional bits
        fresh              gate * candidate
        new state          requantised sum of both
        inner              a pre-activation that depends on a result: n of GRU (on r), o of PEEPHOLE
                           (on c'): requantised product, plus the other part
        second activation  tanh(c'), or of the inner one
        hidden             requantised: o tanh(c') of LSTM and PEEPHOLE, aged of GRU_RESET, else h'

    Parameters
    ----------
    data_bits
        Width of an element: 8 or 16.
    cells
        Those of `vector_kinds.CELLS` that the machine executes; at least one.

    Members
    -------
    element : signed(data_bits), in
        What was read, READ_LATENCY after the grant.
    plane : signed(data_bits), in
        Likewise, where it is a plane of the state.
    control : control_layout(planes), in
    state : signed(16), out
        The new state, valid while CellSchedule says that one of its planes is ready.
    hidden : signed(data_bits), out
        The destination's element, valid while CellSchedule says that it is ready.
    """

    element: Signal
    plane: Signal
    control: Any
    state: Signal
    hidden: Signal

    def __init__(self, data_bits: int, cells: Collection[Any] = CELLS) -> None:
        self._data_bits, self._cells = data_bits, cells
        self._planes = WIDE_BITS // data_bits
        super().__init__(
            {
                "element": In(signed(data_bits)),
                "plane": In(signed(data_bits)),
                "control": In(control_layout(self._planes)),
                "state": Out(signed(WIDE_BITS)),
                "hidden": Out(signed(data_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.first = first = Activation()
        old = self._old_state(m)
        seen = self._seen(m, old) if _any_in(self._cells, Peephole) else C(0)
        pre = self._pre_activations(m, seen)
        m.d.comb += [
            first.value.eq(one_hot(zip(self.control.enter, pre, strict=True))),
            first.function.eq(Mux(self.control.enter[CANDIDATE], Act.TANH, Act.SIGMOID)),
        ]
        aged = self._aged(m, old, first.result)
        curved = Signal(signed(WIDE_BITS))  # by the second activation
        new = self._new_state(m, aged, self._fresh(m, first.result, curved))
        if n_activations(self._cells) > 1:
            m.submodules.second = second = Activation()
            m.d.comb += curved.eq(second.result)
            self._second(m, second, pre, first.result, new)
        has_output = _any_in(self._cells, Lstm, Peephole)
        product = self._product(m, first.result, curved) if has_output else C(0)
        self._hidden(m, aged, new, product)
        return m

    def _requantise(
        self, m: Module, name: str, value: Value, shift: Value, out_bits: int, dropped: int = 0
    ) -> Signal:
        unit = Requantise(len(value), out_bits, len(shift), dropped)
        m.submodules[name] = unit
        m.d.comb += [unit.value.eq(value), unit.shift.eq(shift)]
        return unit.result

    def _old_state(self, m: Module) -> Signal:
        """Return the state as it was read."""
        state = Signal(signed(WIDE_BITS), name="old_state")
        for k in range(self._planes):
            with m.If(self.control.plane[k]):
                m.d.sync += state.word_select(k, self._data_bits).eq(self.plane)
        return state

    def _seen(self, m: Module, state: Signal) -> Signal:
        """Return what a gate sees of the state: peephole weight * state, widened."""
        product = Signal(signed(self._data_bits + WIDE_BITS), name="seen_product", reset_less=True)
        with m.If(self.control.seen):
            m.d.sync += product.eq(self.element * state)
        shift = self.control.shift.seen
        return self._requantise(m, "seen", _shifted_in(product), shift, WIDE_BITS)

    def _pre_activations(self, m: Module, seen: Value) -> list[Signal]:
        """Return the registers of what enters the activations."""
        shift, control = self.control.shift, self.control
        wide = self._requantise(m, "wide", _shifted_in(self.element), shift.element, WIDE_BITS)
        pre = [Signal(signed(WIDE_BITS), name=f"pre_{g}") for g in range(N_PRE)]
        own = Mux(control.pre[FACTOR], pre[FACTOR], pre[INPUT])
        addend = Mux(control.adds_own, own, Mux(control.adds_seen, seen, 0))
        total = Signal(signed(WIDE_BITS), name="pre_total")
        m.d.comb += total.eq(_saturated_sum(wide, addend))
        for gate, register in enumerate(pre):
            with m.If(control.pre[gate]):
                m.d.sync += register.eq(total)
        return pre

    def _aged(self, m: Module, state: Signal, factor: Value) -> Signal:
        """Return the register of factor * state, the state's part of the new one."""
        aged = Signal(signed(_PRODUCT_BITS), reset_less=True)
        for k in range(_STATE_DELAY):
            later = Signal(state.shape(), name=f"old_state_{k + 1}", reset_less=True)
            m.d.sync += later.eq(state)
            state = later
        with m.If(self.control.aged):
            m.d.sync += aged.eq(factor * state)
        return aged

    def _fresh(self, m: Module, first: Value, second: Value) -> Signal:
        """Return gate * candidate, one cycle later: i g of an LSTM, (1 - z) n of a GRU."""
        kind = self.control.kind
        gate = Signal(signed(WIDE_BITS))
        with m.If(self.control.gate):
            m.d.sync += gate.eq(Mux(kind.Lstm | kind.Peephole, first, (1 << ACT_OUT_FRAC) - first))
        fresh = Signal(signed(_PRODUCT_BITS), reset_less=True)
        m.d.sync += fresh.eq(gate * Mux(kind.Gru, second, first))
        return fresh

    def _new_state(self, m: Module, aged: Signal, fresh: Signal) -> Signal:
        """Return the new state: the sum of both parts, exact at 30 fractional bits, rounded."""
        aligned = Signal(signed(_PRODUCT_BITS + ACT_OUT_FRAC))
        total = Signal(signed(len(aligned) + 1))
        shift = self.control.shift.state
        m.d.sync += aligned.eq(aged << shift)
        with m.If(self.control.total):
            m.d.sync += total.eq(aligned + fresh)
        new = self._requantise(m, "new_state", total, shift, WIDE_BITS, dropped=ACT_OUT_FRAC)
        with m.If(self.control.state):
            m.d.sync += self.state.eq(new)
        return new

    def _inner(self, m: Module, pre: list[Signal], first: Value, new: Signal) -> Signal:
        """Return the pre-activation that needs a result: one product and one part of its sum."""
        control, is_peephole = self.control, self.control.kind.Peephole
        weight = Signal(signed(self._data_bits), name="inner_weight")
        factor = Signal(signed(WIDE_BITS), name="inner_factor")
        part = Signal(signed(WIDE_BITS), name="inner_part")
        with m.If(control.weight):
            m.d.sync += weight.eq(self.element)
        with m.If(control.keep):
            m.d.sync += [factor.eq(Mux(is_peephole, weight, pre[CANDIDATE])), part.eq(pre[OUTPUT])]
        product = Signal(signed(2 * WIDE_BITS), name="inner_product", reset_less=True)
        inner = Signal(signed(WIDE_BITS), name="inner")
        m.d.sync += product.eq(factor * Mux(is_peephole, new, first))
        scaled = self._requantise(
            m, "inner_scaled", _shifted_in(product), control.shift.inner, WIDE_BITS
        )
        m.d.sync += inner.eq(_saturated_sum(scaled, part))
        return inner

    def _second(
        self, m: Module, second: Activation, pre: list[Signal], first: Value, new: Signal
    ) -> None:
        """Feed the second activation: the inner pre-activation in its cycle, else c'."""
        control = self.control
        inner: Value = C(0)
        wide: Value = C(0)
        if _any_in(self._cells, Peephole, Gru):
            inner = self._inner(m, pre, first, new)
        if _any_in(self._cells, Lstm, Peephole):
            shift = control.shift.wide
            wide = self._requantise(m, "state_wide", _shifted_in(new), shift, WIDE_BITS)
        sigmoid = control.inner & control.kind.Peephole
        m.d.comb += [
            second.value.eq(Mux(control.inner, inner, wide)),
            second.function.eq(Mux(sigmoid, Act.SIGMOID, Act.TANH)),
        ]

    def _product(self, m: Module, first: Value, second: Value) -> Signal:
        """Return s(o) tanh(c'): the one that is there first is held until the other comes."""
        control = self.control
        output = Signal(signed(WIDE_BITS))
        held = Signal(signed(WIDE_BITS))
        late = Signal(signed(WIDE_BITS), reset_less=True)
        product = Signal(signed(_PRODUCT_BITS), reset_less=True)
        with m.If(control.output):
            m.d.sync += output.eq(first)
        with m.If(control.held):
            m.d.sync += held.eq(Mux(control.kind.Peephole, second, output))
        m.d.sync += late.eq(held)
        with m.If(control.hidden):
            m.d.sync += product.eq(late * second)
        return product

    def _hidden(self, m: Module, aged: Signal, new: Signal, product: Value) -> None:
        """Round what the cell puts out."""
        kind = self.control.kind
        state = Cat(C(0, ACT_OUT_FRAC), new).as_signed()
        source = Signal(signed(_PRODUCT_BITS))
        m.d.comb += [
            source.eq(Mux(kind.GruReset, aged, Mux(kind.Lstm | kind.Peephole, product, state))),
            self.hidden.eq(
                self._requantise(
                    m, "hidden_out", source, self.control.shift.hidden, self._data_bits
                )
            ),
        ]


def _shifted_in(value: Value) -> Value:
    """Return value << ACT_IN_FRAC; divided by 2**frac it is in the activation's format."""
    return Cat(C(0, ACT_IN_FRAC), value).as_signed()


def _saturated_sum(a: Value, b: Value) -> Value:
    """Return the sum of two numbers of WIDE_BITS bits, saturated to as many."""
    low, high = limits(WIDE_BITS)
    total = a + b
    return Mux(total > high, high, Mux(total < low, low, total))
