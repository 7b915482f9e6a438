"""Cycles of a serial machine's steps, stated once (docs/serial.md says what the steps are).

A machine of one multiplier (`Architecture.serial`) executes one instruction after the other, by a
microprogram. The simulator and the mapper add up these figures, each in its own way; the RTL's
microprogram is held to them by a test, and by the cycles of whole programs.
"""

from __future__ import annotations

from typing import Final

#: Cycles before the first instruction, or before the program is fetched.
START: Final = 22
START_FETCH: Final = 19
#: From there to the first burst, by bytes of a beat; and of those, behind the start of the fetch as
#: something of the load unit.
FETCH: Final = {2: 14, 4: 16, 8: 14, 16: 13}
FETCH_LOADING: Final = 8
#: Telling which instruction is next.
NEXT: Final = 13
#: Going on from an instruction of one word, or of several.
END: Final = 3
DONE: Final = 4
#: What follows NEXT, END included, in instructions of the sequencer.
LOOP: Final = 70
LOOP_BY_ARGUMENT: Final = 76
ENDLOOP: Final = 12
ENDLOOP_AGAIN: Final = 16
SETR: Final = (59, 62, 65)
#: A transfer up to its first burst, outside of loops and in one, and one that is skipped; a beat of
#: several words takes more.
TRANSFER: Final = 134
TRANSFER_IN_LOOP: Final = 137
TRANSFER_SKIPPED: Final = 28
SEVERAL_WORDS: Final = 3
#: A burst up to its first beat; one more for each of both limits of its length that it reaches, and
#: for each doubling of a beat. Of these, those behind the offer of its address.
BURST: Final = 20
BEHIND_ADDRESS: Final = 2
#: What a beat takes beside one cycle for each of its words of 16 bits.
BEAT_IN: Final = 2
BEAT_OUT: Final = 3
#: The end of a burst, and two more for each doubling of a beat; a response.
BURST_END: Final = 5
RESPONSE: Final = 1
#: Going on from the last burst.
TRANSFER_END: Final = 3
#: A CONTRACT up to its nest; with an addend; with loops that reduce; for each of these.
CONTRACT: Final = 1135
CONTRACT_ADDEND: Final = 6
CONTRACT_REDUCES: Final = 3
CONTRACT_LEVEL: Final = 4
#: Of these, those before what counts as setup, and behind it.
CONTRACT_BEFORE: Final = 10
#: The start of a nest.
NEST: Final = 25
#: A level that goes on: the innermost one; another one, and more for each level below it.
GO_ON_INNERMOST: Final = 6
GO_ON: Final = 9
GO_ON_BELOW: Final = 4
#: A level that is at its end.
LEVEL_END: Final = 6
#: A tile's start: with 0; with an addend, and its shifts.
SUM: Final = 3
ADDEND: Final = 11
#: A product in the innermost loop; that loop's end; a tile of one product.
PRODUCT: Final = 3
PRODUCTS_END: Final = 3
ONE_PRODUCT: Final = 5
#: The end of a tile beside its shifts: without activation, and with one (`program.Act`).
DRAIN: Final = (8, 33, 35, 8)
#: An instruction of the vector unit up to its nest, by class; of these, those before what counts as
#: setup.
VECTOR: Final = {
    "Lstm": 630, "Peephole": 646, "Gru": 643, "GruReset": 613, "GruUpdate": 636, "Copy": 593,
    "Fill": 589,
}  # fmt: skip
VECTOR_BEFORE: Final = 13
#: An element of such an instruction beside its shifts, by class, with states of one plane; what a
#: second plane takes beside its shift, where it is read, and where it is written, too.
ELEMENT: Final = {
    "Lstm": 190, "Peephole": 261, "Gru": 215, "GruReset": 43, "GruUpdate": 96, "Copy": 4, "Fill": 3,
}  # fmt: skip
PLANE_READ: Final = 7
PLANE_WRITTEN: Final = 7
#: Going on from one vector to the next.
NEXT_VECTOR: Final = 3
#: Levels of a nest.
LEVELS: Final = 6


def shifts(n: int) -> int:
    """Return the cycles of so many shifts by one bit: at least one."""
    return max(1, n)
