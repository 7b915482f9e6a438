"""The running sums of one processing element."""

from amaranth import Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import clog2


class Accumulators(wiring.Component):
    """`depth` sums, one of which changes a cycle: with `valid`, sum[address] := addend + old.

    `old` is sum[address], or 0 with `first`. The sum changes at the edge that ends the cycle, so
    that one sum can change in every cycle. `result` is sum[read], combinationally. Sums wrap.

    Two sums are registers, one of which each edge may load. More lie in a memory of one write port
    and two asynchronous read ports, which FPGAs build from LUT RAM.

    Parameters
    ----------
    depth
        A power of two, at least 2.
    addend_bits, bits
        Widths of an addend, and of a sum.
    """

    addend: Signal
    first: Signal
    valid: Signal
    address: Signal
    read: Signal
    result: Signal

    def __init__(self, depth: int, addend_bits: int, bits: int) -> None:
        self.depth = depth
        super().__init__(
            {
                "addend": In(signed(addend_bits)),
                "first": In(1),
                "valid": In(1),
                "address": In(clog2(depth)),
                "read": In(clog2(depth)),
                "result": Out(signed(bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total = Signal.like(self.result)
        old, result = (self._registers if self.depth == 2 else self._memory)(m, total)
        m.d.comb += [
            total.eq(Mux(self.first, 0, old) + self.addend),
            self.result.eq(result),
        ]
        return m

    def _registers(self, m: Module, total: Signal) -> tuple[Value, Value]:
        """Keep two sums; return those at `address` and at `read`."""
        sums = [Signal.like(total, name=f"sum_{s}", reset_less=True) for s in range(2)]
        for s, kept in enumerate(sums):
            with m.If(self.valid & (self.address == s)):
                m.d.sync += kept.eq(total)
        return Mux(self.address, sums[1], sums[0]), Mux(self.read, sums[1], sums[0])

    def _memory(self, m: Module, total: Signal) -> tuple[Value, Value]:
        """Keep the sums in a memory; return those at `address` and at `read`."""
        m.submodules.sums = sums = Memory(shape=total.shape(), depth=self.depth, init=[])
        write = sums.write_port()
        old, result = (sums.read_port(domain="comb") for _ in range(2))
        m.d.comb += [
            write.en.eq(self.valid),
            write.addr.eq(self.address),
            write.data.eq(total),
            old.addr.eq(self.address),
            result.addr.eq(self.read),
        ]
        return old.data, result.data
