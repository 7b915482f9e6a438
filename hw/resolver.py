"""The sequencer's RESOLVE step: first addresses and the checks of a unit instruction."""

from typing import Any, Final, NamedTuple

from amaranth import Cat, Const, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.interfaces import (
    ARRAY_ISSUE,
    TRANSFER_ISSUE,
    VECTOR_ISSUE,
    FaultSignature,
    instruction_layout,
)
from einchip.hw.lanes import COUNT_BITS
from einchip.hw.pipeline import product
from einchip.hw.vector_kinds import KINDS, is_any, reads
from einchip.numeric import ACT_OUT_FRAC
from einchip.program import (
    ADDRESS_BITS,
    ARRAY_LOOPS,
    HOLD_LOOPS,
    HOST_BASES,
    INSTRUCTIONS,
    REGISTER_BITS,
    REGISTERS,
    WORD_BITS,
    Contract,
    Error,
    Load,
    Lstm,
    Space,
    Unit,
)

#: Words of the longest instruction.
MAX_WORDS: Final = max(kind.WORDS for kind in INSTRUCTIONS)
#: The most first addresses that an instruction has in the scratchpads.
FIRSTS: Final = 4
#: Cycles for which an instruction's counts of lanes and loops must have stood.
FIELD_CYCLES: Final = 2


class First(NamedTuple):
    """A first address of an instruction, as its fields give it.

    `space` is its scratchpad; without `used` the instruction has no such address.
    """

    base: Value
    register: Value
    space: ValueLike
    used: ValueLike


class Resolver(wiring.Component):
    """Add registers to an instruction's address fields, and check it as `einchip.reference` does.

    All outputs are functions of the inputs in the same cycle, but for the counts of lanes, and of
    loops that hold, whose products are taken in two steps: the words that hold them must have stood
    for FIELD_CYCLES cycles.
    Of several faults the first counts: FIELD, ADDRESS (in the order of the addresses), ALIGNMENT.

    Parameters
    ----------
    arch
        Gives what is in range.

    Members
    -------
    words : MAX_WORDS * WORD_BITS, in
        The instruction; words that it does not have are ignored.
    unit : Unit, in
        Who executes it.
    pc : REGISTER_BITS, in
        Its word index.
    registers, bases : in
        Sequencer registers; external addresses that the host set.
    transfer, array, vector : TRANSFER_ISSUE, ARRAY_ISSUE, VECTOR_ISSUE, out
        What its unit is given.
    fault : FaultSignature, out
    """

    words: Signal
    unit: Signal
    pc: Signal
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
                "words": In(MAX_WORDS * WORD_BITS),
                "unit": In(Unit),
                "pc": In(REGISTER_BITS),
                "registers": In(data.ArrayLayout(REGISTER_BITS, REGISTERS)),
                "bases": In(data.ArrayLayout(REGISTER_BITS, HOST_BASES)),
                "transfer": Out(TRANSFER_ISSUE),
                "array": Out(ARRAY_ISSUE),
                "vector": Out(VECTOR_ISSUE),
                "fault": Out(FaultSignature()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for issue, kind in ((self.transfer, Load), (self.array, Contract), (self.vector, Lstm)):
            m.d.comb += issue.raw.eq(self.words[: instruction_layout(kind).size])
        faults = [
            (self._field(m), Error.FIELD, self.pc),
            *((bad, Error.ADDRESS, address) for bad, address in self._addresses(m)),
            (self._alignment(m), Error.ALIGNMENT, self.pc),
        ]
        for bad, code, address in reversed(faults):
            with m.If(bad):
                m.d.comb += [self.fault.code.eq(code), self.fault.address.eq(address)]
        return m

    def _field(self, m: Module) -> Value:
        """Return whether a field is out of its range."""
        bad = Signal(name="bad_field")
        with m.Switch(self.unit):
            with m.Case(Unit.LOAD, Unit.STORE):
                m.d.comb += bad.eq(self.transfer.raw.beats == 0)
            with m.Case(Unit.ARRAY):
                m.d.comb += bad.eq(self._contract_field(m))
            with m.Case(Unit.VECTOR):
                m.d.comb += bad.eq(self._vector_field(m))
        return bad

    def _contract_field(self, m: Module) -> Value:
        raw, fold = self.array.raw, self._arch.fold
        lanes = [raw[n] for n in ("nm0", "nm1", "nn0", "nn1", "nk0", "nk1", "nb", "nh")]
        none = () if self._arch.holds else (raw.n_hold != 0, raw.nh != 1)
        if fold == "op":
            none = (*none, raw.nk0 != 1, raw.nk1 != 1, raw.nb != 1)
        elif fold == "ip":
            none = tuple(raw[n] != 1 for n in ("nm0", "nm1", "nn0", "nn1", "nb"))
        tile_loops = raw.n_reduce + (raw.n_hold if self._arch.holds else 0)
        return (
            _any_zero(*lanes, *raw.loop_count)
            | Cat(none).any()
            | (tile_loops > ARRAY_LOOPS)
            | (raw.act_shift > ACT_OUT_FRAC)
            | ~self._contract_fits(m)
            | (self._holds_too_much(m) if self._arch.holds else 0)
        )

    def _contract_fits(self, m: Module) -> Value:
        """Return whether the lanes of a CONTRACT that folds the array as it may fit it."""
        raw, arch = self.array.raw, self._arch
        fits = Signal()

        def lanes(name: str) -> Signal:
            most = arch.rows if name in ("nm", "nk") else arch.cols
            return self._product(m, name, raw[f"{name}0"], raw[f"{name}1"], most)

        if arch.fold == "ip":
            m.d.sync += fits.eq((lanes("nk") <= arch.rows) & (raw.nh <= arch.cols))
            return fits
        blocks_log2, groups_log2 = Signal(range(COUNT_BITS * 3)), Signal(range(COUNT_BITS + 1))
        if arch.blocks:
            m.d.comb += blocks_log2.eq(_clog2(lanes("nk")) + _clog2(raw.nb))
        if arch.holds:
            m.d.comb += groups_log2.eq(_clog2(raw.nh))
        rows, cols = arch.rows >> blocks_log2, arch.cols >> (blocks_log2 + groups_log2)
        m.d.sync += fits.eq((lanes("nm") <= rows) & (lanes("nn") <= cols))
        return fits

    def _holds_too_much(self, m: Module) -> Value:
        """Return whether the loops that hold are too many, or pass more than a tile may sum up."""
        raw, most = self.array.raw, self._arch.tile_accumulators
        a, b = (Mux(raw.n_hold > i, raw.loop_count[i], 1) for i in range(HOLD_LOOPS))
        large = Signal()
        m.d.sync += large.eq(self._product(m, "passing", a, b, most) > most)
        return large | (raw.n_hold > HOLD_LOOPS)

    def _vector_field(self, m: Module) -> Value:
        raw = self.vector.raw
        fits, most = Signal(name="vector_fits"), self._arch.lanes
        m.d.sync += fits.eq(self._product(m, "nl", raw.nl0, raw.nl1, most) <= most)
        return _any_zero(raw.nl0, raw.nl1, *raw.loop_count) | ~fits

    def _product(self, m: Module, name: str, a: Value, b: Value, most: int) -> Signal:
        """Return a register of a * b, or of all ones where a or b is above `most`.

        Of counts of at least 1, a product is at most `most` only where both are; all ones is above.
        """
        bits = most.bit_length()
        register = Signal(2 * bits, name=f"{name}_product")
        beyond = (a > most) | (b > most)
        m.d.sync += register.eq(Mux(beyond, ~0, product(a[:bits], b[:bits])))
        return register

    def _firsts(self) -> dict[Unit, list[First]]:
        raw, array, vector = self.transfer.raw, self.array.raw, self.vector.raw
        transfer = [First(raw.addr, raw.addr_reg, raw.space, 1)]

        def reading(*sources: str) -> Value:
            return is_any(vector.opcode, [kind for kind in KINDS if reads(kind, *sources)])

        return {
            Unit.LOAD: transfer,
            Unit.STORE: transfer,
            Unit.ARRAY: [
                First(array.x_base, array.x_reg, Space.X, 1),
                First(array.y_base, array.y_reg, Space.Y, 1),
                First(array.z_base, array.z_reg, array.z_space, 1),
                First(array.d_base, array.d_reg, array.d_space, array.has_addend),
            ],
            Unit.VECTOR: [
                First(vector.src_base, vector.src_reg, vector.src_space, reading("src")),
                First(vector.dst_base, vector.dst_reg, vector.dst_space, 1),
                First(vector.cell_base, vector.cell_reg, vector.cell_space, reading("state")),
                First(vector.aux_base, vector.aux_reg, vector.aux_space, reading("aux", "packed")),
            ],
        }

    def _addresses(self, m: Module) -> list[tuple[Value, Value]]:
        """Sum up the first addresses; return of each if it is out of range, and what to report."""
        firsts = self._firsts()
        faults = []
        sums = []
        for k in range(FIRSTS):
            base = Signal(ADDRESS_BITS, name=f"base_{k}")
            register = Signal(range(REGISTERS), name=f"register_{k}")
            space, used = Signal(name=f"space_{k}"), Signal(name=f"used_{k}")
            with m.Switch(self.unit):
                for unit, its in firsts.items():
                    if k < len(its):
                        with m.Case(unit):
                            m.d.comb += [
                                base.eq(its[k].base),
                                register.eq(its[k].register),
                                space.eq(its[k].space),
                                used.eq(its[k].used),
                            ]
            total = Signal(REGISTER_BITS, name=f"first_{k}")
            m.d.comb += total.eq(base + self.registers[register])
            beyond = [total[self._arch.address_bits(s) :].any() for s in Space]
            faults.append(
                (used & Mux(space, beyond[Space.Y], beyond[Space.X]), _report(total, space))
            )
            sums.append(total)
        self._hand_over(m, sums)
        return faults

    def _hand_over(self, m: Module, sums: list[Signal]) -> None:
        raw = self.transfer.raw
        m.d.comb += self.transfer.addr.eq(sums[0])
        m.d.comb += self.transfer.ext.eq(
            self.bases[raw.ext_base] + self.registers[raw.ext_reg] + raw.ext_offset
        )
        for issue, names in ((self.array, "x y z d"), (self.vector, "src dst cell aux")):
            for name, total in zip(names.split(), sums, strict=False):
                m.d.comb += issue[name].eq(total)

    def _alignment(self, m: Module) -> Value:
        """Return whether a transfer does not begin at a beat, on either side."""
        odd = (
            self.transfer.ext[: clog2(self._arch.port_bytes)].any()
            | self.transfer.addr[: clog2(self._arch.port_elements)].any()
        )
        return ((self.unit == Unit.LOAD) | (self.unit == Unit.STORE)) & odd


def _clog2(count: Value) -> Value:
    """Return ceil(log2(count)) of a count of at least 1."""
    highest = count - 1
    result: Value = Const(0)
    for bit in range(len(count)):
        result = Mux(highest[bit], bit + 1, result)
    return result


def _any_zero(*counts: Value) -> Value:
    zero: Value = counts[0] == 0
    for count in counts[1:]:
        zero = zero | (count == 0)
    return zero


def _report(address: Signal, space: Signal) -> Value:
    """Return an ADDRESS error's address: the scratchpad in the highest bit."""
    return Mux(space, address | (1 << (REGISTER_BITS - 1)), address & ~(1 << (REGISTER_BITS - 1)))
