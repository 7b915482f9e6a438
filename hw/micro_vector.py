"""The microprogram's activations, and the vector unit's instructions."""

from collections.abc import Collection

from einchip import numeric
from einchip.accesses import VECTORS
from einchip.hw.micro_writer import (
    HALF,
    ROW_BITS,
    Given,
    Writer,
    add,
    move,
    subtract,
    to,
)
from einchip.hw.microcode import (
    INDEX,
    Access,
    Alu,
    Do,
    Op,
    Phase,
    Source,
    When,
)
from einchip.program import (
    Copy,
    Gru,
    GruReset,
    GruUpdate,
    Lstm,
    Peephole,
    Vector,
)
from einchip.serial import LEVELS


class Vectors(Writer):
    """Writes activations, and what is done with each element of a vector."""

    def _activations(self) -> None:
        """Write the routines `sigmoid`, `tanh`: "v" of the product of both factors.

        `wide`: "v" and the second factor become the second factor in an activation's input format,
        with the shifts "left" and "right".
        """
        m = self.m
        for name, offset in (("sigmoid", f"={HALF}"), ("tanh", "=0")):
            m.label(name)
            m.op(Op(do=Do.MULTIPLY))
            m.op(Op(a="=0", source=Source.SYMMETRIC, alu=Alu.MAGNITUDE, do=Do.LOOKUP))
            m.op(move("v", offset))
            m.op(move("t", INDEX, do=Do.SECOND_HIGH))
            m.op(Op(do=Do.MULTIPLY))
            m.op(Op(a="t", b=f"={(1 << ROW_BITS) - 1}", alu=Alu.AND, write=True))
            self._shift(Do.SHIFT_RIGHT, f"={numeric.INTERPOLATION_BITS}")
            m.op(Op(a="t", source=Source.WIDE, alu=Alu.ADD, write=True))
            if name == "tanh":
                m.op(add("t", "t"))
            m.jump(Op(when=When.RETURN), Op(a="v", b="t", alu=Alu.SIGNED, write=True))
        m.label("wide")
        m.op(to(Do.FIRST, "=1"))
        m.op(Op(do=Do.MULTIPLY))
        self._shift(Do.SHIFT_LEFT, "left")
        self._shift(Do.SHIFT_RIGHT, "right")
        m.jump(Op(when=When.RETURN), move("v", source=Source.WIDE, do=Do.SECOND))

    # --- the vector unit's instructions ----------------------------------------------------
    def _vectors(self) -> None:
        m = self.m
        kinds = [k for k in self.built if issubclass(k, VECTORS)]
        for kind in kinds:
            m.label(kind.__name__)
            m.goto("vectors", move("kind", f"@set up {kind.__name__}"))
        m.label("vectors")
        self._room(Copy)
        m.op(Op(do=Do.PHASE, n=Phase.VECTOR_SETUP))
        top = LEVELS - 1
        given: dict[str, Given] = {
            "nl0": self._keep("n0", Do.NOT_ZERO),
            "nl1": self._keep("n1", Do.NOT_ZERO),
            "loop_count": self._keep_level("n", Do.NOT_ZERO, 2),
            "loop_src": self._keep_level("xs", first=2),
            "loop_dst": self._keep_level("zs", first=2),
            "gate_stride": self._keep("gate1"),
            "value": self._keep("value"),
            **{f"{s}_l{k}": self._keep(f"{c}s{k}") for s, c in (("src", "x"), ("dst", "z"))
               for k in (0, 1)},
            **{f"{s}_space": self._keep_space(f"{s} space") for s in ("src", "dst", "cell", "aux")},
            **{f"{s}_frac": self._keep(f"{s} frac") for s in ("gate", "cell", "hidden", "aux")},
        }  # fmt: skip
        for stream, pointer in (
            ("src", f"x{top}"), ("dst", f"z{top}"), ("cell", "state"), ("aux", "aux"),
        ):  # fmt: skip
            self._address(stream, pointer, given)
        self._fields(Copy, given)
        m.jump(Op(when=When.BAD, target="field"), to(Do.FIRST, "n0"), to(Do.SECOND, "n1"))
        m.op(Op(do=Do.MULTIPLY))
        self._ends()
        m.op(move("next1", "@vector"))
        lanes = self.arch.lanes
        m.jump(
            Op(a=f"={lanes}", source=Source.SUM, alu=Alu.SUB, when=When.LESS, target="field"),
            move("to state", f"={self.arch.cell_planes * lanes}"),
            move("to packed", f"={3 * lanes}"),
        )
        m.op(subtract("to state", source=Source.SUM))
        m.op(subtract("to packed", source=Source.SUM))
        m.goto_register("kind", [f"set up {k.__name__}" for k in kinds])
        m.label("vector")
        m.goto("level 2", add("state", "to state"), add("aux", "to packed"))
        for kind in kinds:
            self._set_up(kind)
            m.label(f"one {kind.__name__}")
            getattr(self, f"_{kind.__name__.lower()}")()

    def _set_up(self, kind: type[Vector]) -> None:
        """Check the first addresses of a kind, and find its shifts."""
        m, top = self.m, LEVELS - 1
        m.label(f"set up {kind.__name__}")
        reads = {r.source for r in kind.READS}
        for stream, pointer, used in (
            ("src", f"x{top}", "src" in reads),
            ("dst", f"z{top}", True),
            ("cell", "state", "state" in reads),
            ("aux", "aux", bool(reads & {"aux", "packed"})),
        ):
            if used:
                self._first(pointer, f"{stream} space")
        if "aux" in reads:
            m.op(subtract("aux", f"x{top}"))
            m.op(move("to packed"))  # aux is a distance
        if kind in (Lstm, Peephole, Gru):
            m.op(move("gate2", "gate1"))
            m.op(add("gate2", "gate1"))
            m.op(move("gate3", "gate2"))
            m.op(add("gate3", "gate1"))
        if "state" in reads:
            self._set_up_cell(kind, reads)
        m.goto("nest", move("initial", f"@one {kind.__name__}"), Op(do=Do.PHASE, n=Phase.VECTOR))

    def _set_up_cell(self, kind: type[Vector], reads: Collection[str]) -> None:
        """Find the shifts of a cell's numbers."""
        m = self.m
        one = f"={numeric.ACT_OUT_FRAC}"
        self._split("gate", "gate frac", f"={numeric.ACT_IN_FRAC}")
        m.op(move("to sum", one))
        m.op(subtract("to sum", "cell frac"))
        if kind in (Lstm, Peephole):
            self._split("cell", "cell frac", f"={numeric.ACT_IN_FRAC}")
            m.op(move("to hidden", f"={2 * numeric.ACT_OUT_FRAC}"))
            m.op(subtract("to hidden", "hidden frac"))
        if kind is Peephole:
            m.op(add("aux frac", "cell frac"))
            self._split("seen", "aux frac", f"={numeric.ACT_IN_FRAC}")
        if "aux" in reads:
            self._split("aux", "aux frac", f"={numeric.ACT_IN_FRAC}")
        if kind is GruReset:
            m.op(add("cell frac", one))
            m.op(subtract("cell frac", "hidden frac"))
        if kind in (Gru, GruUpdate):
            self._split("hidden", "cell frac", "hidden frac")

    def _split(self, name: str, frac: str, wanted: str) -> None:
        """Let `left name` and `right name` be the shifts from `frac` fractional bits to others."""
        m, below, both = self.m, self.name(), self.name()
        left, right = f"left {name}", f"right {name}"
        m.op(move("t", frac))
        m.op(subtract("t", wanted))
        m.jump(Op(b="t", when=When.NEGATIVE, target=below), move(left), move(right, "t"))
        m.goto(both)
        m.label(below)
        m.op(subtract(left, "t"))
        m.op(move(right))
        m.nothing()
        m.label(both)

    def _copy(self) -> None:
        m = self.m
        m.op(Op(a="x0", access=Access.READ))
        m.goto("level 0", Op(), Op(a="z0", source=Source.ELEMENT, access=Access.WRITE_RESULT))

    def _fill(self) -> None:
        self.m.goto("level 0", Op(a="z0", b="value", access=Access.WRITE_FILLED))

    def _read_source(self, gate: int, aux: bool = False) -> None:
        """Let the second factor be a gate of the source, or of the second one."""
        m = self.m
        m.op(move("t", "x0"))
        if gate:
            m.op(add("t", f"gate{gate}"))
        if aux:
            m.op(add("t", "aux"))
        m.op(Op(a="t", access=Access.READ))

    def _wide(self, shifts: str, kept: str) -> None:
        """Bring the second factor to an activation's input format; keep it."""
        m = self.m
        m.op(move("left", f"left {shifts}"))
        self._call("wide", move("right", f"right {shifts}"))
        if kept != "v":
            m.op(move(kept, "v"))

    def _activate(self, function: str, kept: str) -> None:
        """Apply an activation to the second factor; keep it."""
        self._call(function, to(Do.FIRST, f"={2 if function == 'tanh' else 1}"))
        if kept != "v":
            self.m.op(move(kept, "v"))

    def _read_state(self) -> None:
        """Keep a state, whose planes are read one after the other."""
        m, lanes = self.m, self.arch.lanes
        m.op(Op(a="state", access=Access.READ))
        if self.arch.cell_planes == 1:
            m.op(move("old", source=Source.ELEMENT))
            return
        m.op(move("t", "state"))
        m.op(move("old", source=Source.ELEMENT))
        m.op(add("t", f"={lanes}"))
        m.op(Op(a="old", b="=255", alu=Alu.AND, write=True))
        m.op(Op(a="t", access=Access.READ))
        m.op(to(Do.FIRST, "=256"))
        m.op(Op(do=Do.MULTIPLY))
        m.op(Op(a="old", source=Source.SUM, alu=Alu.ADD, write=True))

    def _write_state(self) -> None:
        """Write a state plane by plane; the next one is that of the next lane."""
        m, lanes = self.m, self.arch.lanes
        if self.arch.cell_planes > 1:
            m.op(move("t", "state"))
            m.op(add("t", f"={lanes}"))
            self._product("=1", "new", "=8")
        m.op(Op(a="state", b="new", access=Access.WRITE))
        if self.arch.cell_planes > 1:
            m.op(Op(a="t", source=Source.SUM, access=Access.WRITE))
        m.op(add("state", "=1"))

    def _write_result(self) -> None:
        self.m.goto("level 0", Op(a="z0", source=Source.RESULT, access=Access.WRITE_RESULT))

    def _sum_of(self, *names: str) -> None:
        """Let the second factor be a saturated sum."""
        m = self.m
        m.op(to(Do.FIRST, "=1"))
        for k, name in enumerate(names):
            m.op(to(Do.SECOND, name))
            m.op(Op(do=Do.MULTIPLY_ADD if k else Do.MULTIPLY))
        m.op(to(Do.SECOND, source=Source.WIDE))

    def _new_state(self, first: tuple[str, str], second: tuple[str, str]) -> None:
        """Keep and write the new state, the sum of two products, the second with the old one."""
        m = self.m
        self._product(*first, "to sum")
        self._product(*second, f"={numeric.ACT_OUT_FRAC}", add=True)
        m.op(move("new", source=Source.WIDE))
        self._write_state()

    def _hidden(self) -> None:
        """Write o * tanh(c')."""
        m = self.m
        m.op(to(Do.SECOND, "new"))
        self._wide("cell", "v")
        self._activate("tanh", "v")
        self._product("output", "v", "to hidden")
        self._write_result()

    def _lstm(self) -> None:
        for gate, function, kept in (
            (0, "sigmoid", "input"), (1, "sigmoid", "forget"), (3, "sigmoid", "output"),
            (2, "tanh", "v"),
        ):  # fmt: skip
            self._read_source(gate)
            self._wide("gate", "v")
            self._activate(function, kept)
        self.m.op(move("candidate", "v"))
        self._read_state()
        self._new_state(("input", "candidate"), ("forget", "old"))
        self._hidden()

    def _seen(self, number: int, state: str) -> None:
        """Keep what a peephole adds to a gate."""
        m = self.m
        m.op(move("t", "aux"))
        if number:
            m.op(add("t", f"={number * self.arch.lanes}"))
        m.op(Op(a="t", access=Access.READ))
        m.op(to(Do.FIRST, state))
        m.op(Op(do=Do.MULTIPLY))
        self._shift(Do.SHIFT_RIGHT, "right seen")
        m.op(to(Do.SECOND, source=Source.WIDE))
        m.op(to(Do.FIRST, "=1"))
        m.op(Op(do=Do.MULTIPLY))
        self._shift(Do.SHIFT_LEFT, "left seen")
        m.op(move("seen", source=Source.WIDE))

    def _peephole(self) -> None:
        m = self.m
        self._read_state()
        for gate, kept in ((0, "input"), (1, "forget")):
            self._gate_that_sees(gate, gate, "old", kept)
        self._read_source(2)
        self._wide("gate", "v")
        self._activate("tanh", "candidate")
        self._new_state(("input", "candidate"), ("forget", "old"))
        self._gate_that_sees(3, 2, "new", "output")
        m.op(add("aux", "=1"))
        self._hidden()

    def _gate_that_sees(self, gate: int, number: int, state: str, kept: str) -> None:
        self._seen(number, state)
        self._read_source(gate)
        self._wide("gate", "part")
        self._sum_of("part", "seen")
        self._activate("sigmoid", kept)

    def _both(self, gate: int) -> None:
        """Keep both parts of a gate of a GRU: "part" of the source, "v" of the second one."""
        self._read_source(gate)
        self._wide("gate", "part")
        self._read_source(gate, aux=True)
        self._wide("aux", "v")

    def _gru(self) -> None:
        m = self.m
        for gate, kept in ((0, "reset"), (1, "update")):
            self._both(gate)
            self._sum_of("part", "v")
            self._activate("sigmoid", kept)
        self._both(2)
        self._product("reset", "part", f"={numeric.ACT_OUT_FRAC}")
        m.op(move("part", source=Source.WIDE))
        self._sum_of("part", "v")
        self._activate("tanh", "candidate")
        self._mixed()

    def _mixed(self) -> None:
        """Write (1 - z) n + z h as state and as result."""
        m = self.m
        self._read_state()
        m.op(move("kept", f"={1 << numeric.ACT_OUT_FRAC}"))
        m.op(subtract("kept", "update"))
        self._new_state(("kept", "candidate"), ("update", "old"))
        m.op(to(Do.FIRST, "=1"))
        m.op(to(Do.SECOND, "new"))
        m.op(Op(do=Do.MULTIPLY))
        self._shift(Do.SHIFT_LEFT, "left hidden")
        self._shift(Do.SHIFT_RIGHT, "right hidden")
        self._write_result()

    def _grureset(self) -> None:
        m = self.m
        self._read_source(0)
        self._wide("gate", "v")
        self._activate("sigmoid", "reset")
        self._read_state()
        m.op(add("state", "=1"))
        self._product("reset", "old", "cell frac")
        self._write_result()

    def _gruupdate(self) -> None:
        self._read_source(0)
        self._wide("gate", "v")
        self._activate("sigmoid", "update")
        self._read_source(0, aux=True)
        self._wide("aux", "v")
        self._activate("tanh", "candidate")
        self._mixed()
