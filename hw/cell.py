"""The LSTM's pointwise arithmetic: one datapath per lane, and the schedule that all lanes share."""

from typing import Any

from amaranth import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import (
    ACTIVATION_LATENCY,
    LSTM_LATENCY,
    MULTIPLY_LATENCY,
    READ_LATENCY,
    REQUANTISE_LATENCY,
)
from einchip.hw.activation import Activation
from einchip.hw.requantise import Requantise
from einchip.numeric import ACT_IN_FRAC, ACT_OUT_FRAC, WIDE_BITS
from einchip.program import Act

GATES = 4
#: Least cycles from one vector to the next: its gates, and one cell plane or more.
_PERIOD = GATES + 1
#: A product with a sigmoid, which is never negative.
_PRODUCT_BITS = 2 * WIDE_BITS - 1

# All in cycles from the grant of the gate o, the last of a vector's reads.
#: o is out of its activation; so the three gates read before it are in their registers, f and the
#: cell one cycle longer, for the shift of their product.
_GATE = READ_LATENCY + REQUANTISE_LATENCY + ACTIVATION_LATENCY
#: c' is out of its requantiser.
_NEW_CELL = _GATE + MULTIPLY_LATENCY + REQUANTISE_LATENCY
#: tanh(c') is out of its activation.
_TANH = _NEW_CELL + REQUANTISE_LATENCY + ACTIVATION_LATENCY
if _TANH + MULTIPLY_LATENCY + REQUANTISE_LATENCY != LSTM_LATENCY:
    raise AssertionError("the schedule of the LSTM is not as long as LSTM_LATENCY")


def granted_layout(planes: int) -> data.StructLayout:
    """Return the reads of a vector, one bit each: which of them is granted in this cycle."""
    return data.StructLayout({"i": 1, "f": 1, "g": 1, "plane": planes, "o": 1})


def strobes_layout(planes: int) -> data.StructLayout:
    """Return what the schedule tells the lanes: which registers load at the end of this cycle."""
    return data.StructLayout(
        {
            "plane": planes,  # of the cell, from the read data
            "is_g": 1,  # the value that enters the activation: tanh, not sigmoid
            "i": 1,  # from the activation, likewise f, g, o
            "f": 1,
            "g": 1,
            "o": 1,
            "total": 1,
            "keep_o": 1,
            "keep_cell": 1,
            "hidden": 1,
        }
    )


class LstmSchedule(wiring.Component):
    """Turn the grants of reads into the strobes of the lanes and the readiness of the writes.

    With o granted in t, the cell's plane k is ready in t + LSTM_LATENCY + k and h in
    t + LSTM_LATENCY + planes. Vectors may follow each other every 4 + planes cycles, and the reads
    of one may be any number of cycles apart.

    Members
    -------
    granted : granted_layout(planes), in
    stop : in
        Forgets all that is under way.
    strobes : strobes_layout(planes), out
    ready : planes + 1, out
        Write k (cell planes, then h) stands at the lanes' outputs in this cycle.
    """

    granted: Any
    stop: Signal
    strobes: Any
    ready: Signal

    def __init__(self, planes: int) -> None:
        self._planes = planes
        super().__init__(
            {
                "granted": In(granted_layout(planes)),
                "stop": In(1),
                "strobes": Out(strobes_layout(planes)),
                "ready": Out(planes + 1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        granted, strobes = self.granted, self.strobes
        plane = self._delay(m, granted.plane, READ_LATENCY, "plane")
        m.d.comb += strobes.plane.eq(plane[READ_LATENCY])
        for gate in "ifg":
            line = self._delay(m, granted[gate], _GATE, gate)
            m.d.comb += strobes[gate].eq(line[_GATE])
            if gate == "g":
                m.d.comb += strobes.is_g.eq(line[READ_LATENCY + REQUANTISE_LATENCY])
        line = self._delay(m, granted.o, LSTM_LATENCY + self._planes, "o")
        m.d.comb += [
            strobes.o.eq(line[_GATE]),
            strobes.total.eq(line[_GATE]),
            strobes.keep_o.eq(line[_TANH - _PERIOD]),
            strobes.keep_cell.eq(line[LSTM_LATENCY - _PERIOD]),
            strobes.hidden.eq(line[_TANH]),
            self.ready.eq(Cat(line[LSTM_LATENCY:])),
        ]
        return m

    def _delay(self, m: Module, source: Any, cycles: int, name: str) -> list[Value]:
        """Return `source`, delayed by 0 .. cycles."""
        stages: list[Value] = [Value.cast(source)]
        for k in range(1, cycles + 1):
            stage = Signal(len(stages[0]), name=f"{name}_{k}")
            m.d.sync += stage.eq(Mux(self.stop, 0, stages[-1]))
            stages.append(stage)
        return stages


class LstmLane(wiring.Component):
    """One lane of numeric.lstm_cell, its inputs one after the other on one element port.

    The gates share one requantiser and one activation; c' has its own. Registers load as
    LstmSchedule says; in its terms, after the grant of o in t:

        t + 3         element: o (i, f, g and the cell's planes came before)
        t + 9         sigmoid(o); i, f, g stand in registers
        t + 7, t + 8  f * c, and its shift to 30 fractional bits
        t + 8         i * g
        t + 9         their sum
        t + 10 ..     requantised: c' in t + 12
        t + 12 ..     brought to the activation's format: t + 14; tanh: t + 18
        t + 18        o * tanh(c'), requantised: h in t + 21 (LSTM_LATENCY)

    Parameters
    ----------
    data_bits
        Width of an element: 8 or 16.

    Members
    -------
    element : signed(data_bits), in
        What was read, READ_LATENCY after the grant.
    gate_frac, cell_frac, hidden_frac : 4, in
    strobes : strobes_layout(planes), in
    cell : signed(16), out
        c', valid while LstmSchedule says that one of its planes is ready.
    hidden : signed(data_bits), out
        h, valid while LstmSchedule says that it is ready.
    """

    element: Signal
    gate_frac: Signal
    cell_frac: Signal
    hidden_frac: Signal
    strobes: Any
    cell: Signal
    hidden: Signal

    def __init__(self, data_bits: int) -> None:
        self._data_bits = data_bits
        self._planes = WIDE_BITS // data_bits
        super().__init__(
            {
                "element": In(signed(data_bits)),
                "gate_frac": In(4),
                "cell_frac": In(4),
                "hidden_frac": In(4),
                "strobes": In(strobes_layout(self._planes)),
                "cell": Out(signed(WIDE_BITS)),
                "hidden": Out(signed(data_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        gates = self._gates(m)
        total = self._total(m, gates)
        shift = Signal(range(2 * ACT_OUT_FRAC + 1))
        m.d.comb += shift.eq(2 * ACT_OUT_FRAC - self.cell_frac)
        new_cell = self._requantise(m, "new_cell", total, shift, WIDE_BITS)
        wide = self._requantise(m, "cell_wide", _shifted_in(new_cell), self.cell_frac, WIDE_BITS)
        m.submodules.tanh = tanh = Activation()
        m.d.comb += [tanh.value.eq(wide), tanh.function.eq(Act.TANH)]
        with m.If(self.strobes.keep_cell):
            m.d.sync += self.cell.eq(new_cell)
        self._hidden(m, gates["o"], tanh.result)
        return m

    def _requantise(
        self, m: Module, name: str, value: Value, shift: Value, out_bits: int
    ) -> Signal:
        unit = Requantise(len(value), out_bits, len(shift))
        m.submodules[name] = unit
        m.d.comb += [unit.value.eq(value), unit.shift.eq(shift)]
        return unit.result

    def _gates(self, m: Module) -> dict[str, Signal]:
        """Return the registers of the four gates after their activations."""
        wide = self._requantise(
            m, "gate_wide", _shifted_in(self.element), self.gate_frac, WIDE_BITS
        )
        m.submodules.gate = activation = Activation()
        m.d.comb += [
            activation.value.eq(wide),
            activation.function.eq(Mux(self.strobes.is_g, Act.TANH, Act.SIGMOID)),
        ]
        gates = {name: Signal(signed(WIDE_BITS), name=f"gate_{name}") for name in "ifgo"}
        for name, register in gates.items():
            with m.If(self.strobes[name]):
                m.d.sync += register.eq(activation.result)
        return gates

    def _total(self, m: Module, gates: dict[str, Signal]) -> Signal:
        """Return s(f) c + s(i) tanh(g) with 30 fractional bits, exact."""
        cell = Signal(signed(WIDE_BITS))
        for k in range(self._planes):
            with m.If(self.strobes.plane[k]):
                m.d.sync += cell.word_select(k, self._data_bits).eq(self.element)
        old = Signal(signed(_PRODUCT_BITS))
        aligned = Signal(signed(_PRODUCT_BITS + ACT_OUT_FRAC))
        new = Signal(signed(_PRODUCT_BITS))
        total = Signal(signed(len(aligned) + 1))
        # ACT_OUT_FRAC is 15, so the shift ACT_OUT_FRAC - cell_frac is ~cell_frac
        m.d.sync += [
            old.eq(gates["f"] * cell),
            aligned.eq(old << ~self.cell_frac),
            new.eq(gates["i"] * gates["g"]),
        ]
        with m.If(self.strobes.total):
            m.d.sync += total.eq(aligned + new)
        return total

    def _hidden(self, m: Module, gate: Signal, tanh: Signal) -> None:
        """Multiply the output gate, kept until it is wanted, and tanh(c')."""
        kept = Signal.like(gate)
        product = Signal(signed(_PRODUCT_BITS))
        shift = Signal(range(2 * ACT_OUT_FRAC + 1))
        with m.If(self.strobes.keep_o):
            m.d.sync += kept.eq(gate)
        with m.If(self.strobes.hidden):
            m.d.sync += product.eq(kept * tanh)
        m.d.comb += [
            shift.eq(2 * ACT_OUT_FRAC - self.hidden_frac),
            self.hidden.eq(self._requantise(m, "hidden_out", product, shift, self._data_bits)),
        ]


def _shifted_in(value: Value) -> Value:
    """Return value << ACT_IN_FRAC; divided by 2**frac it is in the activation's format."""
    return Cat(C(0, ACT_IN_FRAC), value).as_signed()
