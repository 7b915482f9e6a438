"""The sequencer's RESOLVE step: first addresses and the checks of a unit instruction."""

from typing import Any, Final

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.first_addresses import ARRIVAL, NAMES, FirstAddresses
from einchip.hw.interfaces import (
    ARRAY_ISSUE,
    TRANSFER_ISSUE,
    VECTOR_ISSUE,
    FaultSignature,
    instruction_layout,
)
from einchip.hw.lanes import COUNT_BITS
from einchip.hw.pipeline import product
from einchip.hw.vector_kinds import KINDS
from einchip.numeric import ACT_OUT_FRAC
from einchip.program import (
    ARRAY_LOOPS,
    HOLD_LOOPS,
    REGISTER_BITS,
    WORD_BITS,
    Contract,
    Error,
    Instruction,
    Load,
    Lstm,
    Unit,
    is_built,
)

#: Cycles for which an instruction's counts of lanes and loops must have stood, by its unit.
FIELD_CYCLES: Final = {Unit.ARRAY: 4, Unit.VECTOR: 3}


class Resolver(wiring.Component):
    """Add registers to an instruction's address fields, and check it as `einchip.reference` does.

    In cycle t `words` are the whole instruction, and the outputs are valid. Addresses are summed up
    while the words arrive (`FirstAddresses`), strides are checked in t - 1. The counts of lanes and
    loops are checked in FIELD_CYCLES cycles, and must have stood in `words` for as long; they are
    not in the last word.
    Of several faults the first counts: FIELD, ADDRESS (in the order of the addresses), ALIGNMENT.

    Parameters
    ----------
    arch
        Gives what is in range.

    Members
    -------
    words : MAX_WORDS * WORD_BITS, in
        The instruction; words that it does not have are ignored.
    word, arrives, place : WORD_BITS, 1 and log2(MAX_WORDS), in
        A word of the instruction and its number, until t - 1, where it is the last one.
    unit : Unit, in
        Who executes it; not needed with its first word.
    pc : REGISTER_BITS, in
        Its word index.
    number, registers : LANES, out and in
        Numbers of sequencer registers, and what these hold in the same cycle.
    bases : in
        External addresses that the host set.
    transfer, array, vector : TRANSFER_ISSUE, ARRAY_ISSUE, VECTOR_ISSUE, out
        What its unit is given.
    fault : FaultSignature, out
    """

    words: Signal
    word: Signal
    arrives: Signal
    place: Signal
    unit: Signal
    pc: Signal
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
                "pc": In(REGISTER_BITS),
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
        addresses = self._addresses(m)
        faults = [
            (self._field(m), Error.FIELD, self.pc),
            (addresses.fault.code.any(), Error.ADDRESS, addresses.fault.address),
            (self._alignment(m), Error.ALIGNMENT, self.pc),
        ]
        for bad, code, address in reversed(faults):
            with m.If(bad):
                m.d.comb += [self.fault.code.eq(code), self.fault.address.eq(address)]
        return m

    def _field(self, m: Module) -> Value:
        """Return whether a field is out of its range."""
        bad, stride = Signal(name="bad_field"), self._stride(m)
        with m.Switch(self.unit):
            with m.Case(Unit.LOAD, Unit.STORE):
                m.d.comb += bad.eq(self.transfer.raw.beats == 0)
            with m.Case(Unit.ARRAY):
                late = self.array.raw.act_shift > ACT_OUT_FRAC
                m.d.comb += bad.eq(self._contract_field(m) | late | stride)
            with m.Case(Unit.VECTOR):
                m.d.comb += bad.eq(self._vector_field(m) | stride)
        return bad

    def _stride(self, m: Module) -> Value:
        """Return whether a stride is beyond arch.stride_bits."""
        used = self._arch.stride_bits
        contract, vector = (
            Cat(
                self._coming_bits(kind, slot.offset + n * slot.bits + used, slot.bits - used)
                for slot in kind.layout()
                if slot.stride
                for n in range(max(1, slot.n))
            )
            for kind in (Contract, Lstm)
        )
        bad = Signal(name="bad_stride")
        if len(contract):
            with m.If(self.arrives):
                m.d.sync += bad.eq(Mux(self.unit == Unit.ARRAY, contract.any(), vector.any()))
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
        bad = Signal(name="bad_contract")
        m.d.sync += bad.eq(
            _any_zero(*lanes, *raw.loop_count)
            | Cat(none).any()
            | (tile_loops > ARRAY_LOOPS)
            | ~self._contract_fits(m)
            | (self._holds_too_much(m) if self._arch.holds else 0)
        )
        return bad

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
        blocks_log2 = Signal(range(COUNT_BITS * 3))
        groups_log2 = Signal(range(COUNT_BITS + 1))
        if arch.blocks:
            m.d.sync += blocks_log2.eq(_clog2(lanes("nk")) + _clog2(raw.nb))
        if arch.holds:
            m.d.sync += groups_log2.eq(_clog2(raw.nh))
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
        bad = Signal(name="bad_vector")
        lacking = Cat(raw.opcode == k.OPCODE for k in KINDS if not is_built(k, self._arch)).any()
        m.d.sync += bad.eq(_any_zero(raw.nl0, raw.nl1, *raw.loop_count) | ~fits | lacking)
        return bad

    def _product(self, m: Module, name: str, a: Value, b: Value, most: int) -> Signal:
        """Return a register of a * b, or of all ones where a or b is above `most`.

        Of counts of at least 1, a product is at most `most` only where both are; all ones is above.
        """
        bits = most.bit_length()
        register = Signal(2 * bits, name=f"{name}_product")
        beyond = (a > most) | (b > most)
        m.d.sync += register.eq(Mux(beyond, ~0, product(a[:bits], b[:bits])))
        return register

    def _coming_bits(self, kind: type[Instruction], offset: int, width: int) -> Value:
        """Return bits of an instruction in the cycle before it is complete."""
        last = (kind.WORDS - 1) * WORD_BITS
        before, behind = max(0, min(width, last - offset)), max(0, offset - last)
        return Cat(self.words[offset:][:before], self.word[behind:][: width - before])

    def _addresses(self, m: Module) -> FirstAddresses:
        """Sum up the first addresses, and hand them over."""
        m.submodules.addresses = addresses = FirstAddresses(self._arch)
        for name, member in ARRIVAL.items():
            ours, theirs = getattr(self, name), getattr(addresses, name)
            m.d.comb += ours.eq(theirs) if member.flow == Out else theirs.eq(ours)
        for unit, names in NAMES.items():
            m.d.comb += [getattr(self, unit)[n].eq(getattr(addresses, unit)[n]) for n in names]
        return addresses

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
