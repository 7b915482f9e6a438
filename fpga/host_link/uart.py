"""A serial line: 8 data bits, low one first, no parity, one stop bit."""

from typing import Any, Final

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

#: Cycles of a bit at least: the middle of a bit is found to within one.
MIN_DIVISOR: Final = 4
#: How far a clock may be from a multiple of the baud rate. Ten bits later that is a fifth of a bit.
MAX_ERROR: Final = 0.02


def divisor(clock_hz: float, baud: float) -> int:
    """Return the cycles of a bit.

    Raises ValueError where no number of cycles is near enough.
    """
    cycles = max(1, round(clock_hz / baud))
    error = abs(clock_hz / cycles / baud - 1)
    if cycles < MIN_DIVISOR or error > MAX_ERROR:
        raise ValueError(
            f"found {baud:g} baud at {clock_hz:g} Hz, expected at least {MIN_DIVISOR} cycles of a "
            f"bit and at most {MAX_ERROR:.0%} of error; choose another baud rate"
        )
    return cycles


def line(flow: Any) -> Any:
    """Return the member of a signature that is a line: 1 while nothing is sent."""
    return flow(1, init=1)


class Receiver(wiring.Component):
    """Bytes from a line. One whose stop bit is missing is dropped.

    Parameters
    ----------
    cycles
        Cycles of a bit, at least MIN_DIVISOR.

    Members
    -------
    rx : in
        The line, not synchronised.
    bytes : stream of 8 bits, out
        No back pressure: a byte stands for one cycle.
    """

    rx: Signal
    bytes: Any

    def __init__(self, cycles: int) -> None:
        if cycles < MIN_DIVISOR:
            raise ValueError(f"found {cycles} cycles of a bit, expected at least {MIN_DIVISOR}")
        self._cycles = cycles
        super().__init__({"rx": line(In), "bytes": Out(stream.Signature(8, always_ready=True))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        level = Signal(init=1)
        waited = Signal(range(self._cycles))
        bits = Signal(8)
        left = Signal(range(9))
        m.submodules += FFSynchronizer(self.rx, level, init=1)
        m.d.sync += self.bytes.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):  # the first cycle with 0 is one behind the edge
                m.d.sync += [waited.eq(self._cycles // 2 - 1), left.eq(8)]
                with m.If(~level):
                    m.next = "START"
            with m.State("START"):
                m.d.sync += waited.eq(waited - 1)
                with m.If(waited == 0):
                    m.d.sync += waited.eq(self._cycles - 1)
                    with m.If(level):  # a glitch
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "BITS"
            with m.State("BITS"):
                m.d.sync += waited.eq(waited - 1)
                with m.If(waited == 0):
                    m.d.sync += [
                        waited.eq(self._cycles - 1),
                        bits.eq(Cat(bits[1:], level)),
                        left.eq(left - 1),
                    ]
                    with m.If(left == 0):  # the stop bit
                        m.d.sync += [self.bytes.valid.eq(level), self.bytes.payload.eq(bits)]
                        m.next = "IDLE"
                        with m.If(~level):
                            m.next = "REST"
            with m.State("REST"), m.If(level):  # it was held at 0
                m.next = "IDLE"
        return m


class Transmitter(wiring.Component):
    """Bytes onto a line, one every 10 bits.

    Parameters
    ----------
    cycles
        Cycles of a bit.

    Members
    -------
    bytes : stream of 8 bits, in
    tx : out
        The line; 1 between bytes.
    """

    bytes: Any
    tx: Signal

    def __init__(self, cycles: int) -> None:
        self._cycles = cycles
        super().__init__({"bytes": In(stream.Signature(8)), "tx": line(Out)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = Signal(9, init=0x1FF)
        left = Signal(range(11))
        waited = Signal(range(self._cycles))
        m.d.comb += self.bytes.ready.eq(left == 0)
        m.d.sync += self.tx.eq(bits[0])
        with m.If(self.bytes.ready):
            m.d.sync += waited.eq(self._cycles - 1)
            with m.If(self.bytes.valid):
                m.d.sync += [bits.eq(Cat(0, self.bytes.payload)), left.eq(10)]
        with m.Elif(waited == 0):
            m.d.sync += [
                bits.eq(Cat(bits[1:], 1)),
                left.eq(left - 1),
                waited.eq(self._cycles - 1),
            ]
        with m.Else():
            m.d.sync += waited.eq(waited - 1)
        return m
