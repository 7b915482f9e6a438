"""The sequencer's memory of instruction words, and how the load unit fills it."""

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.axi import ADDRESS_BITS
from einchip.program import WORD_BITS, WORD_BYTES


def beats_per_word(arch: Architecture) -> int:
    """Return how many beats of the memory port carry one instruction word."""
    return WORD_BYTES // arch.port_bytes


class FetchSignature(wiring.Signature):
    """The sequencer's request that the load unit fill program memory.

    Members
    -------
    valid, ready : out, in
        The load unit launches the fetch in the cycle in which both are 1.
    address : out
        External byte address.
    words : out
        Number of words, at least 1.
    done : in
        The last beat is accepted in this cycle.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "address": Out(ADDRESS_BITS),
                "words": Out(range(arch.program_words + 1)),
                "done": In(1),
            }
        )


class ProgramWriteSignature(wiring.Signature):
    """Beat number `index` of a program, written at the end of the cycle in which `valid` is 1."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "index": Out(range(arch.program_words * beats_per_word(arch))),
                "data": Out(8 * arch.port_bytes),
            }
        )


class ProgramMemory(wiring.Component):
    """arch.program_words words of WORD_BITS bits; survives a start.

    A word whose `address` is given in t is there in t + 2, as it stands from t + 1; of what is
    written in t, that is so for a word's last beat alone: it is read at once if it is a program's
    last one, too. Nothing is read between the other beats and the last.

    Members
    -------
    write : ProgramWriteSignature, in
    address : clog2(program_words), in
    word : WORD_BITS, out
    """

    write: Any
    address: Signal
    word: Signal

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        super().__init__(
            {
                "write": In(ProgramWriteSignature(arch)),
                "address": In(range(arch.program_words)),
                "word": Out(WORD_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words: Any = Memory(shape=WORD_BITS, depth=self._arch.program_words, init=[])
        m.submodules.words = words
        beats = beats_per_word(self._arch)
        write = words.write_port(granularity=WORD_BITS // beats)
        read = words.read_port()
        part = self.write.index[: clog2(beats)]
        m.d.comb += [
            read.addr.eq(self.address),
            write.addr.eq(self.write.index[clog2(beats) :]),
            write.data.eq(self.write.data.replicate(beats)),
            write.en.eq(self.write.valid << part),
        ]
        # The data of a block RAM come late in the cycle, and without what was written meanwhile.
        # (A port that Amaranth makes transparent has no register behind the block RAM.)
        missed = Signal()
        written = Signal.like(self.write.data)
        m.d.sync += [
            missed.eq(write.en[-1] & (read.addr == write.addr)),
            written.eq(self.write.data),
            self.word.eq(read.data),
        ]
        with m.If(missed):
            m.d.sync += self.word[-len(written) :].eq(written)
        return m
