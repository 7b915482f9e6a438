"""How the DMA unit cuts a range of external memory into bursts."""

from typing import Final

from amaranth import Cat, Const, Mux, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.axi import ADDRESS_BITS, BOUNDARY_BYTES
from einchip.hw.interfaces import FaultSignature, instruction_layout
from einchip.program import Load

#: Width of a transfer's number of beats.
BEATS_BITS: Final = instruction_layout(Load)["beats"].width


def burst_beats(address: Value, left: Value, arch: Architecture) -> Value:
    """Return the beats of the burst at `address` when `left` beats (at least 1) are to be moved.

    The least of: beats left, arch.burst_beats, beats to the next 4 KiB boundary.
    """
    first = address[clog2(arch.port_bytes) : clog2(BOUNDARY_BYTES)]
    room = Const(BOUNDARY_BYTES // arch.port_bytes) - first
    longest = Mux(room < arch.burst_beats, room, arch.burst_beats)[: clog2(arch.burst_beats) + 1]
    return Mux(left < longest, left, longest)[: len(longest)]


def bytes_of(beats: Value, arch: Architecture) -> Value:
    """Return how many bytes that many beats carry."""
    return Cat(Const(0, clog2(arch.port_bytes)), beats)


class TransferSignature(wiring.Signature):
    """A transfer that an engine of the DMA unit is told to do, and what it tells about it.

    Members
    -------
    start, address, beats : out
        A transfer of `beats` (at least 1) beats at this byte address is launched in this cycle;
        only while the engine is neither `active` nor stopped, and `quiet`.
    stop : out
        No new burst begins, bursts under way are finished with their data dropped.
    active : in
        A transfer is under way: from the cycle after `start` to the cycle of `done`.
    done : in
        The last beat (of a store, the last response) is accepted in this cycle.
    quiet : in
        Nothing is open on the bus that the engine would have to finish when stopped.
    fault : in
        An error response, with the address of its burst.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": Out(1),
                "address": Out(ADDRESS_BITS),
                "beats": Out(BEATS_BITS),
                "stop": Out(1),
                "active": In(1),
                "done": In(1),
                "quiet": In(1),
                "fault": In(FaultSignature()),
            }
        )
