"""The first addresses of unit instructions: a field and a sequencer register each, summed up."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from amaranth import Cat, Const, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.interfaces import FaultSignature, instruction_layout
from einchip.hw.pipeline import multiplex, one_hot
from einchip.hw.vector_kinds import KINDS, decode, is_any, reads
from einchip.program import (
    ADDRESS_BITS,
    HOST_BASES,
    INSTRUCTIONS,
    REGISTER_BITS,
    REGISTERS,
    WORD_BITS,
    Contract,
    Error,
    Instruction,
    Load,
    Lstm,
    Space,
    Store,
    Unit,
)

#: Words of the longest instruction.
MAX_WORDS: Final = max(kind.WORDS for kind in INSTRUCTIONS)
#: Addresses that are summed up in a cycle, and sequencer registers that are read for them.
LANES: Final = 2
#: The addresses of a transfer (in external memory the second one), of a CONTRACT, of a vector
#: instruction. Number k is summed up in lane k modulo LANES.
NAMES: Final = {
    "transfer": ("addr", "ext"),
    "array": ("x", "y", "z", "d"),
    "vector": ("src", "dst", "cell", "aux"),
}
#: The instruction whose fields they are; those that have the same fields.
_KINDS: Final[dict[str, Any]] = {"transfer": Load, "array": Contract, "vector": Lstm}
_ALL: Final = {"transfer": (Load, Store), "array": (Contract,), "vector": KINDS}
#: What is read at an address of a vector instruction, if it is read at all.
_SOURCES: Final = {"src": ("src",), "cell": ("state",), "aux": ("aux", "packed")}
#: Of each: register, what that is added to, then scratchpad, or host register; what decides on it.
_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "addr": ("addr_reg", "addr", "space"),
    "ext": ("ext_reg", "ext_offset", "ext_base"),
    **{name: (f"{name}_reg", f"{name}_base") for name in "xy"},
    **{n: (f"{n}_reg", f"{n}_base", f"{n}_space") for n in ("z", *NAMES["vector"])},
    "d": ("d_reg", "d_base", "d_space", "has_addend"),
}
#: The scratchpads of those that have no field for it.
_SPACES: Final = {"x": Space.X, "y": Space.Y}


#: How an instruction arrives, and what is read for it: members of `FirstAddresses` and its user.
ARRIVAL: Final = {
    "words": In(MAX_WORDS * WORD_BITS),
    "word": In(WORD_BITS),
    "arrives": In(1),
    "place": In(range(MAX_WORDS)),
    "unit": In(Unit),
    "bases": In(data.ArrayLayout(REGISTER_BITS, HOST_BASES)),
    "registers": In(data.ArrayLayout(REGISTER_BITS, LANES)),
    "number": Out(data.ArrayLayout(clog2(REGISTERS), LANES)),
}


class _First(NamedTuple):
    """A first address in the cycle in which a word of the instruction completes its fields.

    `is_early`: there are words behind that. `arrives`: that is this cycle. `register`, `base`: what
    is summed up. `space`: its scratchpad. `checked`: it must lie in there.
    """

    is_early: bool
    arrives: Value
    register: Value
    base: Value
    space: ValueLike
    checked: ValueLike


class FirstAddresses(wiring.Component):
    """Add registers to an instruction's address fields while its words arrive, and check the sums.

    Of the addresses whose fields a word completes in cycle t, the registers are read in t and the
    sums stand from t + 1. A word completes LANES addresses at most, in different lanes: so two
    adders and two read ports of the registers do for ten addresses.

    Parameters
    ----------
    arch
        Gives what is in range.

    Members
    -------
    words : MAX_WORDS * WORD_BITS, in
        The words of the instruction that have arrived.
    word, arrives, place : WORD_BITS, 1 and log2(MAX_WORDS), in
        A word of the instruction arrives, and its number.
    unit : Unit, in
        Who executes it; not needed with its first word.
    number, registers : LANES, out and in
        Numbers of sequencer registers, and what these hold in the same cycle.
    bases : in
        External addresses that the host set.
    transfer, array, vector : their NAMES, out
        From the cycle after the last word: the addresses, if the instruction is one of those.
    fault : FaultSignature, out
        Likewise: the first address that is out of range.
    """

    words: Signal
    word: Signal
    arrives: Signal
    place: Signal
    unit: Signal
    number: Any
    registers: Any
    bases: Any
    transfer: Any
    array: Any
    vector: Any
    fault: Any

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        super().__init__(
            {
                **ARRIVAL,
                **{
                    name: Out(data.StructLayout(dict.fromkeys(its, REGISTER_BITS)))
                    for name, its in NAMES.items()
                },
                "fault": Out(FaultSignature()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        firsts = {name: [self._first(name, k) for k in range(len(NAMES[name]))] for name in NAMES}
        totals, faults = [], []
        for lane in range(LANES):
            total, beyond, report = self._sum(
                m, lane, [first for its in firsts.values() for first in its[lane::LANES]]
            )
            totals.append(total)
            faults.append((beyond, report))
        self._hand_over(m, firsts, totals)
        self._report(m, faults)
        return m

    def _first(self, name: str, k: int) -> _First:
        """Return the first address number k of a unit's instructions."""
        kind, own = _KINDS[name], NAMES[name][k]
        places = [instruction_layout(kind)[field] for field in _FIELDS[own]]
        word = max((place.offset + place.width - 1) // WORD_BITS for place in places)
        register, base, *others = (self._field(kind, field, word) for field in _FIELDS[own])
        space: ValueLike = _SPACES.get(own, others[0] if others else 0)
        checked: Value = Const(1)
        if own == "ext":
            base, space, checked = multiplex(list(self.bases), others[0]) + base, 0, Const(0)
        elif own == "d":
            checked = others[1]
        elif own in _SOURCES:
            kinds = [kind for kind in KINDS if reads(kind, *_SOURCES[own])]
            checked = is_any(decode(self._field(kind, "opcode", word), self._arch), kinds)
        is_early = word != kind.WORDS - 1
        return _First(is_early, self._arrives(name, word), register, base, space, checked)

    def _field(self, kind: type[Instruction], name: str, word: int) -> Value:
        """Return a field in the cycle in which word number `word` arrives."""
        field, last = instruction_layout(kind)[name], word * WORD_BITS
        before = max(0, min(field.width, last - field.offset))
        behind = max(0, field.offset - last)
        return Cat(self.words[field.offset :][:before], self.word[behind:][: field.width - before])

    def _arrives(self, name: str, word: int) -> Value:
        """Return whether word number `word` of a unit's instructions is at hand."""
        if word:
            units = dict.fromkeys(kind.UNIT for kind in _ALL[name])
            return (self.place == word) & Cat(self.unit == unit for unit in units).any()
        opcode = data.View(instruction_layout(Load), self.word)["opcode"]
        opcodes = [kind.OPCODE for kind in _ALL[name]]
        return (self.place == 0) & Value.cast(opcode).matches(*opcodes)

    def _sum(self, m: Module, lane: int, firsts: Sequence[_First]) -> tuple[Signal, Value, Value]:
        """Sum up the addresses of a lane; return the sum, if it is out of range, and its report."""
        base = Signal(REGISTER_BITS, name=f"base_{lane}")
        added = Signal(REGISTER_BITS, name=f"added_{lane}")
        space = Signal(name=f"space_{lane}")
        checked = Signal(name=f"checked_{lane}")
        total = Signal(REGISTER_BITS, name=f"first_{lane}")
        m.d.comb += [
            self.number[lane].eq(one_hot((f.arrives, f.register) for f in firsts)),
            total.eq(base + added),
        ]
        with m.If(self.arrives):
            m.d.sync += [
                base.eq(one_hot((f.arrives, f.base) for f in firsts)),
                added.eq(self.registers[lane]),
                space.eq(one_hot((f.arrives, f.space) for f in firsts)),
                checked.eq(one_hot((f.arrives, f.checked) for f in firsts)),
            ]
        x, y = (_is_below(base, added, self._arch.address_bits(s)) for s in Space)
        highest = REGISTER_BITS - 1  # has the scratchpad in a report
        return total, checked & ~Mux(space, y, x), Cat(total[:highest], space)

    def _hand_over(
        self, m: Module, firsts: Mapping[str, Sequence[_First]], totals: Sequence[Signal]
    ) -> None:
        """Keep the sums that stand before the last word has arrived, and hand over all of them."""
        for k in range(max(len(its) for its in firsts.values())):
            present = {name: its[k] for name, its in firsts.items() if k < len(its)}
            kept = Signal(ADDRESS_BITS, name=f"kept_{k}", reset_less=True)
            total = totals[k % LANES]
            if early := [first.arrives for first in present.values() if first.is_early]:
                keeps = Signal(name=f"keeps_{k}")
                m.d.sync += keeps.eq(self.arrives & Cat(early).any())
                with m.If(keeps):
                    m.d.sync += kept.eq(total)
            for name, first in present.items():
                own = getattr(self, name)[NAMES[name][k]]
                m.d.comb += own.eq(kept if first.is_early else total)

    def _report(self, m: Module, faults: Sequence[tuple[Value, Value]]) -> None:
        """Report the first address that is out of range: those of earlier words come first."""
        fresh = Signal()
        found = Signal()
        kept = Signal(REGISTER_BITS)
        beyond = Cat(bad for bad, _ in faults).any()
        report = Signal(REGISTER_BITS)
        for bad, address in reversed(faults):
            with m.If(bad):
                m.d.comb += report.eq(address)
        m.d.sync += fresh.eq(self.arrives)
        with m.If(fresh & beyond & ~found):
            m.d.sync += [found.eq(1), kept.eq(report)]
        with m.If(self.arrives & (self.place == 0)):
            m.d.sync += found.eq(0)
        m.d.comb += [
            self.fault.code.eq(Mux(found | beyond, Error.ADDRESS, Error.NONE)),
            self.fault.address.eq(Mux(found, kept, report)),
        ]


def _is_below(a: Value, b: Value, bits: int) -> Value:
    """Return whether a + b, both of as many bits, is less than 2**bits.

    The high bits of the sum are 0 where the carry c into them and their high bits A, B sum up to 0.
    A + B = 2 (A | B) - (A ^ B), so no sum that long need be awaited.
    """
    carry = (a[:bits] + b[:bits])[bits]
    differ, either = a[bits:] ^ b[bits:], a[bits:] | b[bits:]
    return Mux(carry, differ.all(), differ == (either << 1)[: len(differ)])
