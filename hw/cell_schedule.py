"""When the registers of a cell's lanes load: derived from the order of an instruction's reads."""

from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

from amaranth import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import (
    ACTIVATION_LATENCY,
    MULTIPLY_LATENCY,
    READ_LATENCY,
    REQUANTISE_LATENCY,
)
from einchip.hw.vector_kinds import CELLS, most_operations, operations
from einchip.numeric import ACT_IN_FRAC, ACT_OUT_FRAC
from einchip.program import Gru, GruReset, GruUpdate, Lstm, Peephole, Read

#: Pre-activations of a lane.
N_PRE: Final = 4
#: Where they stand: i of an LSTM and r of a GRU; what multiplies the state (f, z, or the r of
#: GRU_RESET); the candidate (g, n; in GRU the part of n that r multiplies); o (in GRU the other
#: part of n).
INPUT, FACTOR, CANDIDATE, OUTPUT = range(N_PRE)
#: Cycles from the grant of a pre-activation's last read to its register holding it.
PRE_LATENCY: Final = READ_LATENCY + REQUANTISE_LATENCY + 1


class Load(NamedTuple):
    """Which pre-activation a read goes into, and what is added to it.

    "seen": the last product of weight and state; "own": what stands there.
    """

    to: int
    adds: Literal["", "seen", "own"] = ""


#: Where the reads go that bring pre-activations.
LOADS: Final[dict[Any, dict[Read, Load]]] = {
    Lstm: {
        Read("src", 0): Load(INPUT),
        Read("src", 1): Load(FACTOR),
        Read("src", 2): Load(CANDIDATE),
        Read("src", 3): Load(OUTPUT),
    },
    Peephole: {
        Read("src", 0): Load(INPUT, "seen"),
        Read("src", 1): Load(FACTOR, "seen"),
        Read("src", 2): Load(CANDIDATE),
        Read("src", 3): Load(OUTPUT),
    },
    Gru: {
        Read("src", 0): Load(INPUT),
        Read("aux", 0): Load(INPUT, "own"),
        Read("src", 1): Load(FACTOR),
        Read("aux", 1): Load(FACTOR, "own"),
        Read("src", 2): Load(CANDIDATE),
        Read("aux", 2): Load(OUTPUT),
    },
    GruReset: {Read("src"): Load(FACTOR)},
    GruUpdate: {Read("src"): Load(FACTOR), Read("aux"): Load(CANDIDATE)},
}
#: Which pre-activations enter the first activation; the others are summed first.
ENTERING: Final[dict[Any, tuple[int, ...]]] = {
    Lstm: (INPUT, FACTOR, CANDIDATE, OUTPUT),
    Peephole: (INPUT, FACTOR, CANDIDATE),
    Gru: (INPUT, FACTOR),
    GruReset: (FACTOR,),
    GruUpdate: (FACTOR, CANDIDATE),
}
#: Peephole weights that are multiplied with the state as they come, and the one that is kept.
SEEN, WEIGHT = (Read("packed", 0), Read("packed", 1)), Read("packed", 2)
#: Registers of a lane that load at a fixed time after a vector's last read.
STROBES: Final = (
    "gate", "aged", "total", "state", "keep", "inner", "output", "held", "hidden",
)  # fmt: skip


def entries(kind: Any) -> dict[int, int]:
    """Return when pre-activations enter the first activation: as soon as each surely stands.

    In cycles after the grant of a vector's last read, as all times here.
    """
    order = [o.read for o in operations(kind, planes=1)]
    last = {LOADS[kind][read].to: k for k, read in enumerate(order) if read in LOADS[kind]}
    return {gate: PRE_LATENCY - (len(order) - 1 - last[gate]) for gate in ENTERING[kind]}


def strobes(kind: Any) -> dict[str, int]:
    """Return when the registers of STROBES load (those that the kind uses)."""
    out = {gate: t + ACTIVATION_LATENCY for gate, t in entries(kind).items()}
    when = {"aged": out[FACTOR]}
    if kind is GruReset:
        return when
    if kind is Gru:  # r multiplies in the cycle in which it comes out
        when["keep"] = out[INPUT] - 1
        when["inner"] = _summed(out[INPUT])
        out[CANDIDATE] = when["inner"] + ACTIVATION_LATENCY
    when["gate"] = out[INPUT if kind in (Lstm, Peephole) else FACTOR]
    when["total"] = out[CANDIDATE] + MULTIPLY_LATENCY
    new = when["total"] + 1 + REQUANTISE_LATENCY
    # before its first write, but no later than the vector behind allows
    when["state"] = min(kind.STATE_LATENCY, new + _period(kind)) - 1
    if kind in (Lstm, Peephole):
        when |= _output_strobes(kind, out, new)
    return when


def _output_strobes(kind: Any, out: dict[int, int], new: int) -> dict[str, int]:
    """Return when the registers load that a cell with an output gate uses; c' stands at `new`."""
    tanh = new + REQUANTISE_LATENCY + ACTIVATION_LATENCY
    if kind is Lstm:  # o is there before tanh(c'): `output`, `held` and `late` keep it until then
        return {"output": out[OUTPUT], "held": tanh - 1 - _period(kind), "hidden": tanh}
    inner = _summed(new)
    # o's part stands after PRE_LATENCY; p_o, which came before, is not overwritten yet
    return {
        "keep": PRE_LATENCY + 1,
        "inner": inner,
        "held": tanh,
        "hidden": inner + ACTIVATION_LATENCY,
    }


def _summed(factor: int) -> int:
    """Return when a product with what stands at `factor` has become a pre-activation."""
    return factor + MULTIPLY_LATENCY + REQUANTISE_LATENCY + 1


def _period(kind: Any) -> int:
    """Return the least cycles from one vector to the next."""
    return len(operations(kind, planes=1)) - kind.STATE_BESIDE


def _check_latency(kind: Any) -> None:
    """Raise AssertionError where a kind's results do not stand when their writes are ready."""
    when = strobes(kind)
    for planes in (1, 2) if kind.WRITES_STATE else ():
        *each, target = kind.latencies(planes)
        stands = range(when["state"] + 1, when["state"] + _period(kind) + 1)
        if not all(t in stands and t < target for t in each):
            raise AssertionError(f"{kind.__name__}: planes after {each}, the state at {stands}")
    if kind in (Lstm, Peephole):
        known = when["hidden"] + MULTIPLY_LATENCY + REQUANTISE_LATENCY
    elif kind is GruReset:
        known = when["aged"] + MULTIPLY_LATENCY + REQUANTISE_LATENCY
    else:
        known = when["total"] + 1 + 2 * REQUANTISE_LATENCY
    if not known <= kind.LATENCY <= known + 1:
        raise AssertionError(f"{kind.__name__}: results after {known}, not {kind.LATENCY}, cycles")


for _kind in CELLS:
    _check_latency(_kind)

#: What an instruction says of its numbers.
FORMATS: Final = data.StructLayout(
    {"gate_frac": 4, "aux_frac": 4, "cell_frac": 4, "hidden_frac": 4}
)
#: Shifts of a lane, all to the right; `state` is of the old one to the left, of the new one back.
SHIFTS: Final = data.StructLayout(
    {"element": 4, "seen": 5, "inner": 5, "state": 4, "wide": 4, "hidden": 5}
)


def control_layout(planes: int) -> data.StructLayout:
    """Return what the schedule tells the lanes.

    The kind of the instruction, one bit each; then what happens at the end of this cycle.
    """
    return data.StructLayout(
        {
            "kind": data.StructLayout({kind.__name__: 1 for kind in CELLS}),
            "shift": SHIFTS,
            "plane": planes,  # of the state, from the element
            "from_aux": 1,  # the element comes from the second source
            "seen": 1,  # the product of element and state
            "weight": 1,  # the element, as a weight that is kept
            "pre": N_PRE,  # from the element, widened, with something added:
            "adds_seen": 1,
            "adds_own": 1,
            "enter": N_PRE,  # the pre-activation that enters the first activation
            **dict.fromkeys(STROBES, 1),
        }
    )


class _Grant(NamedTuple):
    """A micro-operation, and its place among those of its vector."""

    kind: Any
    number: int
    read: Read
    plane: int
    is_last: bool


def _grants(planes: int) -> list[_Grant]:
    """Return the micro-operations of all cells."""
    each = {kind: operations(kind, planes) for kind in CELLS}
    return [
        _Grant(kind, k, *operation, is_last=k == len(its) - 1)
        for kind, its in each.items()
        for k, operation in enumerate(its)
    ]


class CellSchedule(wiring.Component):
    """Turn the grants of reads into the control of the lanes and the readiness of the writes.

    With a vector's last read granted in t, its writes are ready after the `latencies` of the
    instruction's class. Vectors may follow each other as fast as their reads do, and the reads of
    one may be any number of cycles apart: what is read goes into registers when it comes, and
    everything else happens at fixed times after the last read.

    Parameters
    ----------
    planes
        Elements that a lane's state takes.

    Members
    -------
    kind : len(CELLS), in
        The kind of the instruction that is executed, one bit each in the order of CELLS, or none.
    formats : FORMATS, in
    granted : most_operations(planes), in
        Which of `operations` is granted in this cycle, one bit each.
    beside : in
        With it a plane of the state, of an instruction with STATE_BESIDE: plane k with the k-th of
        the operations behind the planes'. Constant like `kind`.
    clear : in
        Forgets all that is under way; 1 before `kind` changes, for the vectors' ages are kept
        longer than most kinds ask for them.
    control : control_layout(planes), out
    ready : planes + 1, out
        A write stands at the lanes' outputs in this cycle: a plane of the state, or, the last bit,
        the element of the destination.
    """

    kind: Signal
    formats: Any
    granted: Signal
    beside: Signal
    clear: Signal
    control: Any
    ready: Signal

    def __init__(self, planes: int) -> None:
        self._planes = planes
        self._grants = _grants(planes)
        super().__init__(
            {
                "kind": In(len(CELLS)),
                "formats": In(FORMATS),
                "granted": In(most_operations(planes)),
                "beside": In(1),
                "clear": In(1),
                "control": Out(control_layout(planes)),
                "ready": Out(planes + 1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.control.kind.eq(self.kind)
        self._follow_reads(m)
        last = self._any(g for g in self._grants if g.is_last)
        line = self._delay(m, last, max(k.LATENCY for k in CELLS), "last")
        self._follow_vectors(m, line)
        self._shift(m)
        return m

    def _any(self, grants: Iterable[_Grant]) -> Value:
        """Return whether the operation that is granted is one of these."""
        return Cat(self.kind[CELLS.index(g.kind)] & self.granted[g.number] for g in grants).any()

    def _plane(self, plane: int) -> Value:
        """Return whether a plane of the state is read, by an operation of its own or beside one."""
        alone = self._any(g for g in self._grants if g.read.source == "state" and g.plane == plane)
        beside = self._any(
            g for g in self._grants if g.kind.STATE_BESIDE and g.number == self._planes + plane
        )
        return alone | (self.beside & beside)

    def _delay(self, m: Module, source: Value, cycles: int, name: str) -> list[Value]:
        """Return `source`, delayed by 0 .. cycles."""
        stages: list[Value] = [source]
        for k in range(1, cycles + 1):
            stage = Signal(len(source), name=f"{name}_{k}")
            m.d.sync += stage.eq(Mux(self.clear, 0, stages[-1]))
            stages.append(stage)
        return stages

    def _follow_reads(self, m: Module) -> None:
        """Load registers from the element, and two cycles later from the widened one."""
        grants, control = self._grants, self.control
        element = {
            "plane": Cat(self._plane(plane) for plane in range(self._planes)),
            "from_aux": self._any(g for g in grants if g.read.source in ("aux", "packed")),
            "seen": self._any(g for g in grants if g.read in SEEN),
            "weight": self._any(g for g in grants if g.read == WEIGHT),
        }
        loads = [(g, LOADS[g.kind][g.read]) for g in grants if g.read in LOADS[g.kind]]
        widened = {
            "pre": Cat(
                self._any(g for g, load in loads if load.to == gate) for gate in range(N_PRE)
            ),
            "adds_seen": self._any(g for g, load in loads if load.adds == "seen"),
            "adds_own": self._any(g for g, load in loads if load.adds == "own"),
        }
        for name, source in element.items():
            m.d.comb += control[name].eq(self._delay(m, source, READ_LATENCY, name)[-1])
        for name, source in widened.items():
            m.d.comb += control[name].eq(self._delay(m, source, PRE_LATENCY - 1, name)[-1])

    def _follow_vectors(self, m: Module, line: list[Value]) -> None:
        """Load registers, and announce writes, by the time since a vector's last read."""

        def at(times: dict[Any, int]) -> Value:
            before = (
                self.kind[CELLS.index(kind)] & line[t - 1] for kind, t in times.items()
            )  # no read decides in its own cycle
            return self._delay(m, Cat(before).any(), 1, "at")[-1]

        when = {kind: strobes(kind) for kind in CELLS}
        enters = {kind: entries(kind) for kind in CELLS}
        for name in STROBES:
            times = {kind: its[name] for kind, its in when.items() if name in its}
            m.d.comb += self.control[name].eq(at(times))
        for gate in range(N_PRE):
            times = {kind: its[gate] for kind, its in enters.items() if gate in its}
            m.d.comb += self.control.enter[gate].eq(at(times))
        for k in range(len(self.ready)):
            # write number k, but the destination's has the last place whatever is before it
            late = len(self.ready) - k
            writes = {kind: kind.latencies(self._planes) for kind in CELLS}
            m.d.comb += self.ready[k].eq(
                at({kind: its[-late] for kind, its in writes.items() if late <= len(its)})
            )

    def _shift(self, m: Module) -> None:
        """Derive the lanes' shifts from the formats, which stand before the first read."""
        f, shift, kind = self.formats, self.control.shift, self.control.kind
        one = ACT_OUT_FRAC
        from_state = kind.Gru | kind.GruReset | kind.GruUpdate
        m.d.comb += shift.element.eq(Mux(self.control.from_aux, f.aux_frac, f.gate_frac))
        own: Any = Signal(SHIFTS)
        for name in (name for name, _ in SHIFTS if name != "element"):
            m.d.comb += shift[name].eq(own[name])
        seen = f.aux_frac + f.cell_frac
        m.d.sync += [
            own.seen.eq(seen),
            own.inner.eq(Mux(kind.Peephole, seen, C(ACT_IN_FRAC + one))),
            own.state.eq(one - f.cell_frac),
            own.wide.eq(f.cell_frac),
            own.hidden.eq(one + Mux(from_state, f.cell_frac, C(one)) - f.hidden_frac),
        ]
