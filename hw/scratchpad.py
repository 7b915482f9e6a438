"""A banked scratchpad with a window: in each cycle a vector of lanes read and one written."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.hdl import Assert
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import READ_LATENCY, WRITE_LATENCY, Architecture, clog2
from einchip.hw.interfaces import (
    READ_CLIENTS,
    WINDOW_CLIENTS,
    WRITE_CLIENTS,
    FaultSignature,
    ReadSignature,
    WriteSignature,
    offset_bits,
)
from einchip.hw.pipeline import delay, one_hot, popcount
from einchip.program import Error


class _Access(NamedTuple):
    """The access granted one cycle ago, lane by lane; `hits[b]`: which lanes go to bank b."""

    address: list[Signal]
    enable: Value
    row: list[Value]
    hits: list[Signal]


class Scratchpad(wiring.Component):
    """`lanes` banks of one read and one write port, full crossbars between lanes and banks.

    Element address a lies in bank a mod lanes, row a div lanes. In each cycle the read port serves
    one client and the write port one, by fixed priority. Lane p of an access goes to address
    base + offsets[p]; programs are laid out such that the enabled lanes of an access lie in
    different banks, so there is no arbiter between lanes.

    Latency: a read's data stand READ_LATENCY cycles after its grant (grant and lane addresses;
    bank; crossbar), a write changes the banks at the edge that ends cycle
    grant + WRITE_LATENCY - 1. A read of the element that is written at the same edge gets the old
    one. One access a cycle and port, no back pressure but `ready`. Lanes not enabled read 0.

    A write with an enabled lane outside the scratchpad is not performed on any lane, and a read's
    data are then undefined; the fault stands in the cycle after the grant.

    It may have a window: its last `arch.window(space)` rows are kept twice, and the copies, written
    with the banks, have a read port of their own for every client but the array. A read through
    it takes as many cycles.

    Parameters
    ----------
    space
        0 for X, 1 for Y.
    check_conflicts
        Assert that no two lanes of an access meet in a bank; for simulation only, since not every
        synthesis tool takes assertions.

    Members
    -------
    read_<client>, write_<client> : ReadSignature, WriteSignature, in
        For READ_CLIENTS and WRITE_CLIENTS; `ready` = no client before it requests.
    window_<client> : ReadSignature, in
        For WINDOW_CLIENTS, where there is a window. All lanes are in it or beyond the end.
    stop : in
        Nothing is granted.
    read_fault, write_fault : FaultSignature, out
        Error.ADDRESS and space << 31 | the address of the lowest offending lane. That of a read
        of the window comes before another one.
    read_count, write_count : range(2 * lanes + 1), range(lanes + 1), out
        Lanes enabled in the grants of the cycle before.

    `banks` are the memories, for benches to look into.
    """

    stop: Signal
    read_fault: Any
    write_fault: Any
    read_count: Signal
    write_count: Signal

    def __init__(self, arch: Architecture, space: int, check_conflicts: bool = False) -> None:
        if (READ_LATENCY, WRITE_LATENCY) != (3, 2):
            raise AssertionError("the scratchpad's pipeline has other depths than einchip.arch")
        self.arch, self.space, self.check_conflicts = arch, space, check_conflicts
        depth = arch.capacity(space) // arch.lanes
        self.windowed = space in arch.windows
        self.banks = self._memories(depth)
        self.copies = self._memories(arch.window(space)) if self.windowed else []
        super().__init__(
            {f"read_{c}": In(ReadSignature(arch)) for c in READ_CLIENTS}
            | {f"write_{c}": In(WriteSignature(arch)) for c in WRITE_CLIENTS}
            | {f"window_{c}": In(ReadSignature(arch)) for c in WINDOW_CLIENTS if self.windowed}
            | {
                "stop": In(1),
                "read_fault": Out(FaultSignature()),
                "write_fault": Out(FaultSignature()),
                "read_count": Out(range(2 * arch.lanes + 1)),
                "write_count": Out(range(arch.lanes + 1)),
            }
        )

    def _memories(self, depth: int) -> list[Any]:
        shape = self.arch.data_bits
        return [Memory(shape=shape, depth=depth, init=[]) for _ in range(self.arch.lanes)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, memories in (("bank", self.banks), ("copy", self.copies)):
            for b, memory in enumerate(memories):
                m.submodules[f"{name}_{b}"] = memory
        count = self._elaborate_read(m, self.banks, [f"read_{c}" for c in READ_CLIENTS])
        if self.windowed:
            names = [f"window_{c}" for c in WINDOW_CLIENTS]
            count = count + self._elaborate_read(m, self.copies, names)
        m.d.comb += self.read_count.eq(count)
        self._elaborate_write(m)
        return m

    def _elaborate_read(self, m: Module, banks: Sequence[Any], names: Sequence[str]) -> Value:
        """Serve these clients from these banks; return the lanes of this cycle's grant."""
        clients = [getattr(self, name) for name in names]
        grants = self._arbitrate(m, clients)
        access, count = self._address(m, clients, grants)
        self._check(m, access, self.read_fault)
        # the cycle after the grant: lanes to banks
        outputs = []
        for bank, hits in zip(banks, access.hits, strict=True):
            port = bank.read_port()
            row = one_hot(zip(hits, access.row, strict=True))
            m.d.comb += [port.en.eq(1), port.addr.eq(row[: len(port.addr)])]
            outputs.append(port.data)
        # the cycle after that: banks to lanes, by few gates, since the banks' data come late
        for p in range(self.arch.lanes):
            banks_of_lane = Cat(hits[p] for hits in access.hits)
            select = delay(m, banks_of_lane, 1, f"banks_of_{p}")
            data = Signal(self.arch.data_bits, name=f"data_{p}", reset_less=True)
            m.d.sync += data.eq(one_hot(zip(select, outputs, strict=True)))
            m.d.comb += [client.data[p].eq(data) for client in clients]
        return count

    def _elaborate_write(self, m: Module) -> None:
        clients = [getattr(self, f"write_{c}") for c in WRITE_CLIENTS]
        grants = self._arbitrate(m, clients)
        access, count = self._address(m, clients, grants)
        m.d.comb += self.write_count.eq(count)
        fault = self._check(m, access, self.write_fault)
        data = Signal.like(clients[0].data, reset_less=True)
        m.d.sync += data.as_value().eq(
            one_hot((g, c.data.as_value()) for g, c in zip(grants, clients, strict=True))
        )
        for b, (bank, hits) in enumerate(zip(self.banks, access.hits, strict=True)):
            port = bank.write_port()
            m.d.comb += [
                port.en.eq(hits.any() & ~fault),
                port.addr.eq(one_hot(zip(hits, access.row, strict=True))),
                port.data.eq(one_hot((h, data[p].as_unsigned()) for p, h in enumerate(hits))),
            ]
            if self.windowed:
                copy = self.copies[b].write_port()
                bits = len(copy.addr)
                m.d.comb += [
                    copy.en.eq(port.en & port.addr[bits:].all()),
                    copy.addr.eq(port.addr[:bits]),
                    copy.data.eq(port.data),
                ]

    def _arbitrate(self, m: Module, clients: list[Any]) -> list[Value]:
        """Drive `ready` of all clients; return which of them is granted."""
        grants: list[Value] = []
        free: Value = ~self.stop
        for client in clients:
            m.d.comb += client.ready.eq(free)
            grants.append(free & client.valid)
            free = free & ~client.valid
        return grants

    def _address(self, m: Module, clients: list[Any], grants: list[Value]) -> tuple[_Access, Value]:
        """Add the lane addresses of the granted client into registers; count its lanes."""
        lanes, width = self.arch.lanes, offset_bits(self.arch)
        pairs = list(zip(grants, clients, strict=True))
        base = Signal(width)
        enable = Signal(lanes)
        offsets = Signal.like(clients[0].offsets)
        m.d.comb += [
            base.eq(one_hot((g, c.base) for g, c in pairs)),
            enable.eq(one_hot((g, c.enable) for g, c in pairs)),
            offsets.as_value().eq(one_hot((g, c.offsets.as_value()) for g, c in pairs)),
        ]
        addresses: list[Signal] = []
        for p in range(lanes):
            address = Signal(width, name=f"address_{p}", reset_less=True)
            m.d.sync += address.eq(base + offsets[p])
            addresses.append(address)
        low, high = clog2(lanes), self.arch.address_bits(self.space)
        banks, rows = [a[:low] for a in addresses], [a[low:high] for a in addresses]
        enabled = delay(m, enable, 1, "enabled")
        hits = [Signal(lanes, name=f"hits_{b}") for b in range(lanes)]
        for b, hit in enumerate(hits):
            m.d.comb += hit.eq(Cat(e & (bank == b) for e, bank in zip(enabled, banks, strict=True)))
        return _Access(addresses, enabled, rows, hits), popcount(enabled)

    def _check(self, m: Module, access: _Access, fault: Any) -> Value:
        """Raise the fault of an access that leaves the scratchpad; return whether it does."""
        high = self.arch.address_bits(self.space)
        outside = Signal(self.arch.lanes)
        m.d.comb += outside.eq(
            Cat(e & a[high:].any() for e, a in zip(access.enable, access.address, strict=True))
        )
        with m.If(outside.any()):
            m.d.comb += [
                fault.code.eq(Error.ADDRESS),
                fault.address.eq(Const(self.space << 31, 32) | _lowest(outside, access.address)),
            ]
        if self.check_conflicts:
            for hits in access.hits:
                m.d.sync += Assert(popcount(hits) <= 1, "two lanes of an access in one bank")
        return outside.any()


def _lowest(conditions: Value, values: Sequence[Value]) -> Value:
    """Return the value with the lowest number whose condition is 1, any if there is none."""
    if len(values) == 1:
        return values[0]
    half = len(values) // 2
    return Mux(
        conditions[:half].any(),
        _lowest(conditions[:half], values[:half]),
        _lowest(conditions[half:], values[half:]),
    )
