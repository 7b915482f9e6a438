"""The microprogram's start, what tells instructions, those of the sequencer, transfers, errors."""

from einchip.arch import clog2
from einchip.hw.axi import BOUNDARY_BYTES
from einchip.hw.micro_writer import (
    CELL_BITS,
    CELLS,
    OPCODE_BITS,
    PROGRAM_ADDRESS,
    PROGRAM_WORDS,
    Given,
    Writer,
    Y,
    add,
    equal,
    less,
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
    HOST_ARGS,
    HOST_BASES,
    LOOP_DEPTH,
    REGISTERS,
    WORD_BYTES,
    EndLoop,
    Error,
    Give,
    Halt,
    Load,
    Loop,
    SetMode,
    SetRegister,
    Store,
    Sync,
)


class Sequencing(Writer):
    """Writes what brings instructions, and those that move data and control."""

    def _start(self) -> None:
        m = self.m
        m.label("start")
        m.op(to(Do.INDEX, f"={PROGRAM_WORDS}"))
        m.op(move("words", source=Source.HOST))
        m.op(move("loops", f"={self.no_loop}"))
        m.jump(less("words", f"={self.arch.program_words + 1}", "room"), move("pc"), move("cell"))
        m.goto("field 0")
        m.label("room")
        for k in range(1, REGISTERS):
            m.op(move(f"r{k}"))
        m.jump(Op(when=When.FETCH, target="fetch"))
        m.goto("next")
        m.label("fetch")
        m.jump(equal("words", "=0", "next"), to(Do.INDEX, f"={PROGRAM_ADDRESS}"))
        m.op(move("ext", source=Source.HOST))
        m.jump(
            Op(
                a="ext", b=f"={WORD_BYTES - 1}", alu=Alu.AND, when=When.NONZERO,
                target="alignment 0",
            ),
            move("left", "words"),
            Op(do=Do.PHASE, n=Phase.LOAD),
        )  # fmt: skip
        for _ in range(clog2(WORD_BYTES // self.arch.port_bytes)):
            m.op(add("left", "left"))
        m.op(move("ptr"))
        self._bursts("fetch", Access.WRITE_PROGRAM, 1)
        m.goto("next", Op(do=Do.PHASE, n=Phase.SEQUENCER))

    def _next(self) -> None:
        """Fetch and tell the next instruction."""
        m = self.m
        m.label("next")
        m.jump(
            equal("pc", "words", "no halt"),
            Op(a="cell", access=Access.READ_PROGRAM),
            Op(a="pc", do=Do.DECODE),
        )
        illegal = 0xFF ^ ((1 << OPCODE_BITS) - 1)
        m.jump(
            Op(
                a=f"={illegal}", source=Source.ELEMENT, alu=Alu.AND, when=When.NONZERO,
                target="opcode",
            ),
            move("t", source=Source.ELEMENT),
        )  # fmt: skip
        m.op(Op(a="t", b=f"={(1 << OPCODE_BITS) - 1}", alu=Alu.AND, write=True))
        self._index("opcode", "t")
        m.goto_register(INDEX, sorted({self._entry(k) for k in range(1 << OPCODE_BITS)}))

    def _fail(self) -> None:
        """Stop with an error."""
        m = self.m
        for label, code, address in (
            ("opcode", Error.OPCODE, "pc"),
            ("field", Error.FIELD, "pc"),
            ("field 0", Error.FIELD, "=0"),
            ("no halt", Error.NO_HALT, "words"),
            ("loop", Error.LOOP, "pc"),
            ("alignment", Error.ALIGNMENT, "pc"),
            ("alignment 0", Error.ALIGNMENT, "=0"),
            ("read", Error.AXI_READ, "ext"),
            ("write", Error.AXI_WRITE, "ext"),
        ):
            m.label(label)
            m.goto("stop", Op(a=address, do=Do.FAIL, n=code))
        for label, pointer in self.failing:
            m.label(label)
            m.goto("address", move("t", pointer))
        m.label("address")
        m.op(add("t", Y))
        m.op(Op(a="t", do=Do.FAIL, n=Error.ADDRESS))
        m.label("stop")
        m.goto("stop")

    # --- the sequencer's own instructions --------------------------------------------------
    def _sequencer(self) -> None:
        m = self.m
        m.label(Halt.__name__)
        m.op(Op(do=Do.HALT))
        m.goto("stop")
        m.label(Give.__name__)
        m.label(Sync.__name__)
        m.label("end")
        m.goto("next", add("pc", "=1"), add("cell", f"={CELLS}"))
        self._loop()
        self._end_loop()
        self._set_register()

    def _loop(self) -> None:
        m = self.m
        m.label(Loop.__name__)
        self._fields(Loop, {"count": self._keep("n"), "arg": self._keep("t")})
        m.jump(equal("t", "=0", "counted"))
        m.jump(less("t", f"={HOST_ARGS + 1}", "argument"))
        m.goto("field")
        m.label("argument")
        m.op(Op(a="t", b=f"={HOST_BASES - 1}", alu=Alu.ADD, do=Do.INDEX))
        m.op(move("n", source=Source.HOST))
        m.label("counted")
        m.jump(equal("n", "=0", "field"), move("u", "pc"))
        m.jump(equal("loops", f"={self.no_loop + 2 * LOOP_DEPTH}", "loop"), add("u", "=1"))
        m.op(Op(a="loops", b="=2", alu=Alu.ADD, write=True, do=Do.INDEX))
        m.op(move(INDEX, "u"))
        m.op(Op(a="loops", b="=1", alu=Alu.ADD, do=Do.INDEX))
        m.op(move(INDEX, "n"))
        m.goto("end")

    def _end_loop(self) -> None:
        m = self.m
        m.label(EndLoop.__name__)
        m.jump(
            equal("loops", f"={self.no_loop}", "loop"),
            Op(a="loops", b="=1", alu=Alu.ADD, do=Do.INDEX),
        )
        m.jump(
            Op(a=INDEX, b="=1", alu=Alu.SUB, write=True, when=When.NONZERO, target="again"),
            Op(b="loops", do=Do.INDEX),
        )
        m.goto("end", subtract("loops", "=2"))
        m.label("again")
        m.op(move("cell", INDEX))
        m.op(move("pc", INDEX))
        for _ in range(clog2(CELLS)):
            m.op(add("cell", "cell"))
        m.goto("next")

    def _set_register(self) -> None:
        m = self.m
        m.label(SetRegister.__name__)

        def register(_: int) -> None:
            m.jump(Op(source=Source.SUM, do=Do.INDEX, when=When.ZERO, target="field"))

        self._fields(
            SetRegister,
            {
                "value": self._keep("n"),
                "mode": self._keep("t"),
                "reg": register,
            },
        )
        m.jump(equal("t", f"={SetMode.SET}", "set"))
        m.jump(equal("t", f"={SetMode.ADD}", "add"))
        m.jump(equal("t", f"={SetMode.TOGGLE}", "toggle"), subtract("n", INDEX))
        m.goto("field")
        m.label("add")
        m.goto("end", add(INDEX, "n"))
        m.label("set")
        m.label("toggle")
        m.goto("end", move(INDEX, "n"))

    # --- transfers -------------------------------------------------------------------------
    def _transfers(self) -> None:
        m, arch = self.m, self.arch
        for kind in (Load, Store):
            m.label(kind.__name__)
            m.goto("transfer", move("kind", f"@set up {kind.__name__}"))
        m.label("transfer")
        given: dict[str, Given] = {
            "skip_last": self._skip_last,
            "beats": self._keep("left", Do.NOT_ZERO),
            "space": self._keep_space("z space"),
            "ext_offset": self._keep("ext"),
        }

        def register(_: int) -> None:
            m.op(to(Do.INDEX, source=Source.SUM))
            m.op(add("ext", INDEX))

        def host(_: int) -> None:
            m.op(to(Do.INDEX, source=Source.SUM))
            m.op(Op(a="ext", source=Source.HOST, alu=Alu.ADD, write=True))

        given |= {"ext_reg": register, "ext_base": host}
        self._address("", "ptr", given)
        self._fields(Load, given)
        m.jump(Op(when=When.BAD, target="field"))
        self._first("ptr", "z space")
        for pointer, n in (("ext", arch.port_bytes), ("ptr", arch.port_elements)):
            m.jump(Op(a=pointer, b=f"={n - 1}", alu=Alu.AND, when=When.NONZERO, target="alignment"))
        m.goto_register("kind", [f"set up {kind.__name__}" for kind in (Load, Store)])
        for kind, access, phase in (
            (Load, Access.WRITE_WORD, Phase.LOAD), (Store, Access.READ_WORD, Phase.STORE),
        ):  # fmt: skip
            m.label(f"set up {kind.__name__}")
            m.op(Op(do=Do.PHASE, n=phase))
            self._bursts(kind.__name__, access, CELL_BITS // arch.data_bits)
            m.goto("end", Op(do=Do.PHASE, n=Phase.SEQUENCER))

    def _skip_last(self, _: int) -> None:
        """Go on with the next instruction in the last iterations of a loop."""
        m, executed = self.m, self.name()
        m.op(move("t", source=Source.SUM))
        m.jump(
            equal("loops", f"={self.no_loop}", executed),
            Op(a="loops", b="=1", alu=Alu.ADD, do=Do.INDEX),
        )
        m.jump(Op(a="t", b=INDEX, alu=Alu.SUB, when=When.LESS, target=executed))
        m.goto("end")
        m.label(executed)

    def _bursts(self, name: str, access: Access, step: int) -> None:
        """Move "left" beats between "ext" and, from "ptr" on, words that lie `step` apart."""
        m, arch = self.m, self.arch
        n_words = 8 * arch.port_bytes // CELL_BITS
        pointers = ["ptr", "ptr2"] if n_words > 1 else ["ptr"]
        if n_words > 1:
            m.op(move("ptr2", "ptr"))
            m.op(add("ptr2", f"={step}"))
        words = [
            Op(a=pointers[k % 2 if n_words > 1 else 0], b=f"={step * len(pointers)}", alu=Alu.ADD,
               write=True, access=access)
            for k in range(n_words)
        ]  # fmt: skip
        reads = access != Access.READ_WORD  # from the bus
        m.label(f"{name} burst")
        m.op(move("t", "ext"))
        m.op(move("u", f"={BOUNDARY_BYTES}"))
        m.op(Op(a="t", b=f"={BOUNDARY_BYTES - 1}", alu=Alu.AND, write=True))
        m.op(to(Do.FIRST, "=1"))
        m.op(Op(a="u", b="t", alu=Alu.SUB, do=Do.SECOND))
        m.op(Op(do=Do.MULTIPLY))
        m.op(to(Do.COUNT, f"={clog2(arch.port_bytes)}"))
        m.op(Op(do=Do.SHIFT_RIGHT))
        m.op(move("u", source=Source.SUM))
        m.op(move("c", "left"))
        for most in (f"={arch.burst_beats}", "u"):
            kept = self.name()
            m.jump(less("c", most, kept))
            m.op(move("c", most))
            m.label(kept)
        m.op(to(Do.ADDRESS, "ext"))
        start = Do.READ_BURST if reads else Do.WRITE_BURST
        m.op(Op(a="c", b="=1", alu=Alu.SUB, do=start))
        m.op(move("n", "c"))
        m.label(f"{name} beat")
        count = Op(a="c", b="=1", alu=Alu.SUB, write=True, when=When.NONZERO, target=f"{name} beat")
        if not reads:
            for word in words:
                m.op(word)
            m.jump(count, Op(do=Do.BEAT_OUT))
            m.op(Op(do=Do.RESPONSE))
        elif n_words == 1:
            m.jump(count, Op(do=Do.BEAT_IN), *words)
        else:
            m.op(Op(do=Do.BEAT_IN))
            for word in words[:-2]:
                m.op(word)
            m.jump(count, *words[-2:])
        m.jump(
            Op(when=When.BUS_ERROR, target="read" if reads else "write"),
            subtract("left", "n"),
        )
        for _ in range(clog2(arch.port_bytes)):
            m.op(add("n", "n"))
        m.jump(Op(b="left", when=When.NONZERO, target=f"{name} burst"), add("ext", "n"))
