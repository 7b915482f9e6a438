"""The microprogram's nest of loops, and CONTRACT."""

from einchip import numeric
from einchip.hw.micro_writer import (
    Given,
    Writer,
    Y,
    add,
    equal,
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
    Act,
    Contract,
)
from einchip.serial import LEVELS


class Nesting(Writer):
    """Writes the nest, in which CONTRACT and the vector unit's instructions run, and CONTRACT."""

    def _nest(self) -> None:
        """Write how levels go on: `level k` where what is below is done, `below k` starts that."""
        m = self.m
        for k in range(LEVELS):
            m.label(f"level {k}")
            m.jump(
                Op(a=f"c{k}", b="=1", alu=Alu.SUB, write=True, when=When.ZERO, target=f"last {k}"),
                add(f"x{k}", f"xs{k}"),
                add(f"y{k}", f"ys{k}"),
            )
            if k:
                m.goto(f"below {k}", add(f"z{k}", f"zs{k}"))
            else:
                m.goto_register("leaf", self.leaves, add("z0", "zs0"))
            m.label(f"last {k}")
            m.goto_register(f"next{k}", self.levels)
        m.label("nest")
        m.op(move(f"c{LEVELS - 1}", f"n{LEVELS - 1}"))
        m.op(move("leaf", "initial"))
        for k in reversed(range(1, LEVELS)):
            m.label(f"below {k}")
            for letter in "xyz":
                m.op(move(f"{letter}{k - 1}", f"{letter}{k}"))
            m.op(move(f"c{k - 1}", f"n{k - 1}"))
        m.goto_register("leaf", self.leaves)
        m.label("done")
        m.op(Op(do=Do.PHASE, n=Phase.SEQUENCER))
        m.goto("next", add("pc", "n words"), add("cell", "n cells"))

    # --- CONTRACT --------------------------------------------------------------------------
    def _contract(self) -> None:
        m = self.m
        m.label(Contract.__name__)
        self._room(Contract)
        m.op(Op(do=Do.PHASE, n=Phase.ARRAY_SETUP))
        top = f"x{LEVELS - 1}", f"y{LEVELS - 1}", f"z{LEVELS - 1}"
        given: dict[str, Given] = {
            **{n: self._keep(n.replace("_", " ")) for n in ("shift", "act", "d_shift", "n_reduce")},
            "act_shift": self._act_shift,
            "has_addend": self._keep("has addend"),
            "d_space": self._keep_space("d space"),
            "z_space": self._keep_space("z space"),
            "n_hold": lambda _: m.op(Op(source=Source.SUM, do=Do.ONLY_ZERO)),
            "n_reduce": self._n_reduce,
            "loop_count": self._keep_level("n", Do.NOT_ZERO),
            **{f"loop_{c}": self._keep_level(f"{c}s") for c in "xyz"},
            **dict.fromkeys(("nm0", "nm1", "nn0", "nn1", "nk0", "nk1", "nb", "nh"), self._one),
        }
        for stream, pointer in zip("xyzd", (*top, "d"), strict=True):
            self._address(stream, pointer, given)
        self._fields(Contract, given)
        m.jump(Op(when=When.BAD, target="field"), move("initial", "@initial sum"))
        for pointer, space in zip(top, ("=0", Y, "z space"), strict=True):
            self._first(pointer, space)
        m.jump(equal("has addend", "=0", "summed"))
        m.op(move("initial", "@initial addend"))
        self._first("d", "d space")
        m.op(subtract("d", top[2]))
        m.label("summed")
        self._ends()
        self._finishes()
        self._reducing()
        self._tile()

    def _act_shift(self, _: int) -> None:
        """Keep the right shift of an activation's result, at most that of its fraction."""
        self.m.op(move("act shift", source=Source.SUM))
        over = 1 << numeric.ACT_OUT_FRAC.bit_length()
        self.m.op(Op(a=f"={over}", source=Source.SUM, alu=Alu.AND, do=Do.ONLY_ZERO))

    def _n_reduce(self, _: int) -> None:
        self.m.op(move("n reduce", source=Source.SUM))
        self.m.op(Op(a=f"={LEVELS + 1}", source=Source.SUM, alu=Alu.SUB, do=Do.NOT_ZERO))

    def _one(self, _: int) -> None:
        self.m.op(Op(a="=1", source=Source.SUM, alu=Alu.SUB, do=Do.ONLY_ZERO))

    def _finishes(self) -> None:
        """Find how a sum becomes a result."""
        self._index("finish", "act")
        self.m.op(move("finish", INDEX))

    def _reducing(self) -> None:
        """Let the innermost levels reduce: they do not move the result, and end in its write."""
        m = self.m
        self._index("after", "n reduce")
        m.jump(equal("n reduce", "=0", "reducing"), move("entry", "@product"), move("after", INDEX))
        self._index("next", "n reduce", 1)
        m.op(move("entry", "@sum"))
        m.op(move(INDEX, "@drain"))
        m.label("reduce")
        self._index("zs", "n reduce", 1)
        m.jump(
            Op(
                a="n reduce", b="=1", alu=Alu.SUB, write=True, when=When.NONZERO, target="reduce"
            ),
            move(INDEX),
        )  # fmt: skip
        m.label("reducing")
        m.goto("nest", Op(do=Do.PHASE, n=Phase.ARRAY))

    def _tile(self) -> None:
        """Sum up the products of a result, finish it, and write it."""
        m = self.m
        starts = ["sum", "product"]
        m.label("initial sum")
        m.goto_register("entry", starts, move("leaf", "entry"), Op(do=Do.CLEAR))
        m.label("initial addend")
        m.op(move("t", "z0"))
        m.op(add("t", "d"))
        m.op(Op(a="t", access=Access.READ))
        m.op(to(Do.FIRST, "=1"))
        m.op(Op(do=Do.MULTIPLY))
        m.op(to(Do.COUNT, "d shift"))
        m.op(Op(do=Do.SHIFT_LEFT))
        m.goto_register("entry", starts, move("leaf", "entry"))
        m.label("sum")
        m.jump(
            Op(a="c0", b="=1", alu=Alu.SUB, write=True, when=When.NONZERO, target="sum"),
            Op(a="x0", b="xs0", alu=Alu.ADD, write=True, access=Access.READ_FIRST),
            Op(a="y0", b="ys0", alu=Alu.ADD, write=True, access=Access.MULTIPLY),
        )
        m.goto_register("next0", self.levels)
        m.label("product")
        m.op(Op(a="x0", access=Access.READ_FIRST))
        m.op(Op(a="y0", access=Access.MULTIPLY))
        m.goto("drain")
        m.label("drain")
        m.op(to(Do.COUNT, "shift"))
        m.op(Op(do=Do.WRAP))
        m.op(Op(do=Do.SHIFT_RIGHT))
        finishes = [f"finish {act.name}" for act in Act]
        m.goto_register("finish", finishes, move("leaf", "initial"))
        for act, source in ((Act.NONE, Source.RESULT), (Act.RELU, Source.POSITIVE)):
            m.label(f"finish {act.name}")
            after = [*(f"level {k}" for k in range(LEVELS)), "done"]
            m.goto_register("after", after, Op(a="z0", source=source, access=Access.WRITE_RESULT))
        for act, function, factor in ((Act.SIGMOID, "sigmoid", 1), (Act.TANH, "tanh", 2)):
            m.label(f"finish {act.name}")
            m.op(to(Do.SECOND, source=Source.WIDE))
            self._call(function, to(Do.FIRST, f"={factor}"))
            self._product("=1", "v", "act shift")
            m.goto(f"finish {Act.NONE.name}")
