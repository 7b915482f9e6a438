"""The microprogram of serial machines: its cycles are those of `einchip.serial`, its rules hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pytest

from einchip import serial
from einchip.arch import CELLS, PRESETS, Architecture
from einchip.hw.microcode import (
    INDEX,
    SLOTS,
    Access,
    Assembler,
    Do,
    MicrocodeError,
    Op,
    Phase,
    Source,
    When,
)
from einchip.hw.microprogram import microprogram
from einchip.program import Act, SetMode

FEMTO = PRESETS["femto"].override(cells=CELLS)
PORTS = {n: FEMTO.override(port_bytes=n, lanes=16) for n in (2, 4, 8, 16)}


made_for = lru_cache(microprogram)


@dataclass
class Path:
    """What is executed from one place to another: cycles without shifts, what shifts count by."""

    cycles: int
    shifts: list[str]
    phases: dict[Phase, int]  # the cycles up to each, that one included


def walk(
    arch: Architecture,
    start: str,
    end: str,
    taken: Sequence[str] = (),
    via: Mapping[str, str] | None = None,
) -> Path:
    """Follow the microprogram; jumps to the places in `taken` are taken, each once.

    `via`: where jumps to registers lead.
    """
    made = made_for(arch)
    left, ahead, link = list(taken), list[tuple[int, int]](), 0
    path, place, count = Path(0, [], {}), made.places[start], ""
    while True:
        op = made.ops[place]
        if op.do in (Do.SHIFT_LEFT, Do.SHIFT_RIGHT):
            path.shifts.append(count)
        else:
            path.cycles += op.n if op.do == Do.TAKE else 1
        if op.do == Do.COUNT:
            count = op.b
        if op.do == Do.PHASE:
            path.phases[Phase(op.n)] = path.cycles
        ahead = [(n - 1, to) for n, to in ahead]
        if op.when in (When.ALWAYS, When.CALL) or op.target in left:
            if op.target in left:
                left.remove(op.target)
            link = place + 1 + SLOTS if op.when == When.CALL else link
            ahead.append((SLOTS, made.places[op.target]))
        elif op.when == When.RETURN:
            ahead.append((SLOTS, link))
        elif op.when == When.REGISTER:
            ahead.append((SLOTS, made.places[(via or {})[op.a]]))
        place += 1
        if ahead and ahead[0][0] == 0:
            place = ahead.pop(0)[1]
        if place == made.places[end] and not ahead:
            assert not left
            return path


def cycles(
    start: str,
    end: str,
    taken: Sequence[str] = (),
    arch: Architecture = FEMTO,
    via: Mapping[str, str] | None = None,
) -> int:
    """Return the cycles of a path without shifts."""
    found = walk(arch, start, end, taken=taken, via=via)
    assert found.shifts == []
    return found.cycles


def behind(arch: Architecture, label: str, number: int) -> str:
    """Return a label without a name of its own, the so-manieth behind another one."""
    places = made_for(arch).places
    found = sorted((at, n) for n, at in places.items() if at > places[label])
    return [n for _, n in found if n.startswith("place")][number]


def test_the_run_begins_as_stated() -> None:
    pipeline = 2  # fetch, read
    assert pipeline + cycles("start", "next", taken=["room"]) == serial.START
    assert pipeline + cycles("start", "fetch", taken=["room", "fetch"]) == serial.START_FETCH
    for port, arch in PORTS.items():
        found = walk(arch, "fetch", "fetch burst")
        assert (found.cycles, found.phases[Phase.LOAD]) == (
            serial.FETCH[port], serial.FETCH_LOADING,
        )  # fmt: skip


def test_instructions_of_the_sequencer_take_what_is_stated() -> None:
    assert walk(FEMTO, "next", "Halt", via={INDEX: "Halt"}).cycles == serial.NEXT
    assert cycles("Give", "next") == cycles("Sync", "next") == serial.END
    assert cycles("Loop", "next", taken=["counted"]) == serial.LOOP
    assert cycles("Loop", "next", taken=["argument"]) == serial.LOOP_BY_ARGUMENT
    assert cycles("EndLoop", "next") == serial.ENDLOOP
    assert cycles("EndLoop", "next", taken=["again"]) == serial.ENDLOOP_AGAIN
    for mode in SetMode:
        found = cycles("SetRegister", "next", taken=[mode.name.lower()])
        assert found == serial.SETR[mode]


@pytest.mark.parametrize("port", PORTS)
def test_transfers_take_what_is_stated(port: int) -> None:
    arch, words, doublings = PORTS[port], port // 2, port.bit_length() - 1
    several = serial.SEVERAL_WORDS * (words > 1)
    executed = behind(arch, "transfer", 0)
    for kind, each, answer in (
        ("Load", serial.BEAT_IN, 0), ("Store", serial.BEAT_OUT, serial.RESPONSE),
    ):  # fmt: skip
        place = f"set up {kind}"
        outside = cycles(kind, place, taken=[executed], arch=arch, via={"kind": place})
        ready = cycles(place, f"{kind} burst", arch=arch)
        assert outside + ready == serial.TRANSFER + several
        assert cycles(kind, "end", arch=arch) + serial.END == serial.TRANSFER_SKIPPED
        limits = [behind(arch, f"{kind} burst", k) for k in (0, 1)]
        begin = walk(arch, f"{kind} burst", f"{kind} beat", taken=limits)
        assert (begin.cycles, begin.shifts) == (serial.BURST, [f"={doublings}"])
        one = walk(arch, f"{kind} burst", f"{kind} beat", taken=limits[1:])
        assert one.cycles == serial.BURST + 1
        beat = cycles(f"{kind} beat", f"{kind} beat", taken=[f"{kind} beat"], arch=arch)
        assert beat == words + each
        again = cycles(f"{kind} beat", f"{kind} burst", taken=[f"{kind} burst"], arch=arch)
        assert again == beat + serial.BURST_END + 2 * doublings + answer
        assert cycles(f"{kind} beat", "end", arch=arch) == again + serial.TRANSFER_END


def test_contracts_take_what_is_stated() -> None:
    none = ["summed", "reducing"]
    found = walk(FEMTO, "Contract", "nest", taken=none)
    assert found.cycles == serial.CONTRACT
    assert found.phases == {
        Phase.ARRAY_SETUP: serial.CONTRACT_BEFORE, Phase.ARRAY: serial.CONTRACT - 1
    }  # fmt: skip
    for n in range(1, serial.LEVELS + 1):
        taken = ["summed", *["reduce"] * (n - 1)]
        expected = serial.CONTRACT + serial.CONTRACT_REDUCES + n * serial.CONTRACT_LEVEL
        assert cycles("Contract", "nest", taken=taken) == expected
        assert cycles("Contract", "nest", taken=taken[1:]) == expected + serial.CONTRACT_ADDEND


def test_nests_take_what_is_stated() -> None:
    assert cycles("nest", "sum", via={"leaf": "sum"}) == serial.NEST
    for k in range(serial.LEVELS):
        on = serial.GO_ON + k * serial.GO_ON_BELOW if k else serial.GO_ON_INNERMOST
        assert cycles(f"level {k}", "sum", via={"leaf": "sum"}) == on
        via = {f"next{k}": "done"}
        assert cycles(f"level {k}", "done", taken=[f"last {k}"], via=via) == serial.LEVEL_END
    assert cycles("done", "next") == serial.DONE
    assert cycles("vector", "level 2") == serial.NEXT_VECTOR


def test_tiles_take_what_is_stated() -> None:
    assert cycles("initial sum", "sum", via={"entry": "sum"}) == serial.SUM
    found = walk(FEMTO, "initial addend", "sum", via={"entry": "sum"})
    assert (found.cycles, found.shifts) == (serial.ADDEND, ["d shift"])
    assert cycles("sum", "sum", taken=["sum"]) == serial.PRODUCT
    assert cycles("sum", "drain", via={"next0": "drain"}) == serial.PRODUCT + serial.PRODUCTS_END
    assert cycles("product", "drain") == serial.ONE_PRODUCT
    for act in Act:
        via = {"finish": f"finish {act.name}", "after": "level 3"}
        found = walk(FEMTO, "drain", "level 3", via=via)
        more = ["=8", "act shift"] if act in (Act.SIGMOID, Act.TANH) else []
        assert (found.cycles, found.shifts) == (serial.DRAIN[act], ["shift", *more])


@pytest.mark.parametrize("kind", serial.VECTOR)
@pytest.mark.parametrize("data_bits", [8, 16])
def test_vector_instructions_take_what_is_stated(kind: str, data_bits: int) -> None:
    arch = FEMTO.override(data_bits=data_bits)
    ready = walk(arch, kind, "nest", via={"kind": f"set up {kind}"})
    assert ready.cycles == serial.VECTOR[kind]
    assert ready.phases[Phase.VECTOR_SETUP] == serial.VECTOR_BEFORE
    expected = serial.ELEMENT[kind]
    if data_bits == 8 and kind not in ("Copy", "Fill"):
        expected += serial.PLANE_READ + serial.PLANE_WRITTEN * (kind != "GruReset")
    assert walk(arch, f"one {kind}", "level 0").cycles == expected


# --- the assembler -------------------------------------------------------------------------
def move(a: str, b: str) -> Op:
    return Op(a=a, b=b, write=True)


def test_a_register_is_read_when_it_is_written() -> None:
    m = Assembler()
    m.label("start")
    m.op(move("p", "q"))
    m.op(move("r", "p"))
    m.goto("start")
    assert m.finish().ops[1] == Op()


def test_operations_behind_a_jump_may_not_come_early() -> None:
    m = Assembler()
    m.label("start")
    with pytest.raises(MicrocodeError, match="too early"):
        m.goto("start", move("p", "q"), move("r", "p"))


def test_a_path_through_a_jump_is_checked() -> None:
    m = Assembler()
    m.label("start")
    m.op(move("r", "p"))
    m.goto("start", Op(), move("p", "q"))
    with pytest.raises(MicrocodeError, match="too early"):
        m.finish()


def test_a_product_is_waited_for() -> None:
    m = Assembler()
    m.label("start")
    m.op(Op(a="x", access=Access.MULTIPLY))
    m.op(Op(a="t", source=Source.SUM, write=True))
    m.goto("start")
    assert [op.access for op in m.finish().ops[:5]] == [Access.MULTIPLY, *[Access.NONE] * 4]


@pytest.mark.parametrize("op", [Op(a="=1", write=True), Op(do=Do.TAKE, n=3, write=True, a="r")])
def test_what_cannot_be_encoded_is_refused(op: Op) -> None:
    m = Assembler()
    m.op(op)
    with pytest.raises(MicrocodeError):
        m.finish()


def test_too_many_registers_are_refused() -> None:
    m = Assembler()
    m.registers(*(f"r{k}" for k in range(256)))
    with pytest.raises(MicrocodeError, match="no room"):
        m.finish()
