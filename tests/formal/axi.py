"""The rules of AXI4 and AXI4-Lite (ARM IHI 0022) as monitors of a port.

A monitor only looks. It sorts the rules into what the machine keeps and what it may count on.
Transfers have no IDs, so all are in order.
"""

from __future__ import annotations

from typing import Any, Final

from amaranth import Cat, Const, Module, Mux, Signal, Value

from einchip.arch import Architecture, clog2
from einchip.hw.axi import BOUNDARY_BYTES, INCR
from tests.formal.rules import Channel, Queue, Rule, Rules, implies

#: A response that only exclusive accesses get, which there are none of.
EXOKAY: Final = 0b01


def address_rules(
    name: str, bus: Any, arch: Architecture, outstanding: Value, most: int
) -> dict[str, Rule]:
    """Return what every address of bursts keeps, of channel `ar` or `aw`."""
    address, length, size, burst, valid = (
        getattr(bus, name + field) for field in ("addr", "len", "size", "burst", "valid")
    )
    beats = length + 1
    return {
        f"{name}_size": Rule(
            implies(valid, size == clog2(arch.port_bytes)), "a beat is as wide as the port"
        ),
        f"{name}_incr": Rule(implies(valid, burst == INCR), "bursts are INCR"),
        f"{name}_length": Rule(
            implies(valid, beats <= arch.burst_beats), "a burst has at most `burst_beats` beats"
        ),
        f"{name}_page": Rule(
            implies(valid, ~crosses(address, beats, arch)), "no burst crosses 4 KiB"
        ),
        f"{name}_outstanding": Rule(
            implies(valid, outstanding < most), f"at most {most} bursts are under way"
        ),
    }


def crosses(address: Value, beats: Value, arch: Architecture) -> Value:
    """Return whether a burst of some beats at a byte address crosses 4 KiB."""
    first = address[clog2(arch.port_bytes) : clog2(BOUNDARY_BYTES)]
    return first + beats > BOUNDARY_BYTES // arch.port_bytes


def quiet_after_reset(m: Module, *valids: Value) -> Rule:
    """Return the rule that nothing is offered in the first cycle after a reset (A3.1.2)."""
    later = Signal(name="later")
    m.d.sync += later.eq(1)
    return Rule(implies(~later, ~Cat(valids).any()), "no VALID is 1 right after a reset")


class ReadPort:
    """Read channels of a master, and what its memory keeps.

    Attributes
    ----------
    bursts : ARLEN of the bursts under way.
    """

    def __init__(self, m: Module, rules: Rules, bus: Any, arch: Architecture, most: int) -> None:
        ar = Channel(
            m, "ar", bus.arvalid, bus.arready, Cat(bus.araddr, bus.arlen, bus.arsize, bus.arburst)
        )
        r = Channel(m, "r", bus.rvalid, bus.rready, Cat(bus.rdata, bus.rresp, bus.rlast))
        beat = Signal(8, name="r_beat")
        self.bursts = bursts = Queue(
            m, "reads", most, put=ar.moves, item=bus.arlen, take=r.moves & bus.rlast
        )
        with m.If(r.moves):
            m.d.sync += beat.eq(Mux(bus.rlast, 0, beat + 1))
        rules.asserts |= ar.rules() | address_rules("ar", bus, arch, bursts.count, most)
        rules.asserts["ar_reset"] = quiet_after_reset(m, bus.arvalid)
        rules.assumes |= r.rules() | {
            "r_asked": Rule(implies(bus.rvalid, bursts.count != 0), "no R before its AR"),
            "r_last": Rule(
                implies(bus.rvalid, bus.rlast == (beat == bursts.first)),
                "RLAST is 1 in beat ARLEN + 1 and in no other",
            ),
        }
        rules.covers |= {
            "ar_unasked": Rule(
                bus.arvalid & ~_ever(m, bus.arready, "ar_ready"),
                "ARVALID is 1 before ARREADY ever was",
            ),
            "ar_all": Rule(bursts.count == most, f"{most} bursts are under way"),
            "ar_page_end": Rule(ar.moves & _ends_page(bus.araddr, bus.arlen, arch),
                                "a burst ends at a boundary of 4 KiB"),
            "r_end": Rule(r.moves & bus.rlast, "a burst ends"),
        }  # fmt: skip


class WritePort:
    """Write channels of a master, and what its memory keeps.

    Attributes
    ----------
    bursts : AWLEN of the bursts whose data are to come.
    beat : beats of the first of them that were sent.
    owed : bursts with all their data and no response.
    """

    def __init__(self, m: Module, rules: Rules, bus: Any, arch: Architecture, most: int) -> None:
        aw = Channel(
            m, "aw", bus.awvalid, bus.awready, Cat(bus.awaddr, bus.awlen, bus.awsize, bus.awburst)
        )
        w = Channel(m, "w", bus.wvalid, bus.wready, Cat(bus.wdata, bus.wstrb, bus.wlast))
        b = Channel(m, "b", bus.bvalid, bus.bready, bus.bresp)
        ends = w.moves & bus.wlast
        self.beat = Signal(8, name="w_beat")
        self.owed = Signal(range(most + 1), name="w_owed")
        self.bursts = bursts = Queue(m, "writes", most, put=aw.moves, item=bus.awlen, take=ends)
        with m.If(w.moves):
            m.d.sync += self.beat.eq(Mux(bus.wlast, 0, self.beat + 1))
        m.d.sync += self.owed.eq(self.owed + ends - b.moves)
        rules.asserts |= aw.rules() | w.rules()
        rules.asserts |= address_rules("aw", bus, arch, bursts.count + self.owed, most)
        rules.asserts |= {
            "w_asked": Rule(
                implies(bus.wvalid, bursts.count != 0), "no beat before its address is accepted"
            ),
            "w_last": Rule(
                implies(bus.wvalid & (bursts.count != 0), bus.wlast == (self.beat == bursts.first)),
                "WLAST is 1 in beat AWLEN + 1 and in no other",
            ),
            "b_taken": Rule(
                implies(self.owed != 0, bus.bready), "BREADY is 1 while a response is due"
            ),
            "aw_reset": quiet_after_reset(m, bus.awvalid, bus.wvalid),
        }
        rules.assumes |= b.rules() | {
            "b_asked": Rule(implies(bus.bvalid, self.owed != 0), "no B before WLAST is accepted")
        }
        rules.covers |= {
            "aw_unasked": Rule(
                bus.awvalid & ~_ever(m, bus.awready, "aw_ready"),
                "AWVALID is 1 before AWREADY ever was",
            ),
            "w_unasked": Rule(
                bus.wvalid & ~_ever(m, bus.wready, "w_ready"), "WVALID is 1 before WREADY ever was"
            ),
            "aw_all": Rule(bursts.count + self.owed == most, f"{most} bursts are under way"),
            "aw_page_end": Rule(aw.moves & _ends_page(bus.awaddr, bus.awlen, arch),
                                "a burst ends at a boundary of 4 KiB"),
            "w_ahead": Rule(
                ends & (self.owed != 0), "a burst's data end before an earlier one's response"
            ),
            "b_end": Rule(b.moves & (self.owed == 1), "all responses are there"),
        }  # fmt: skip


class LiteSlave:
    """A slave of AXI4-Lite, and what its master keeps.

    Parameters
    ----------
    write_cycles, read_cycles
        The most cycles between the one in which the last of a request is accepted, or the response
        before it taken, and the first one with the response.

    Attributes
    ----------
    addresses, data, reads : AW, W and AR that were accepted and not answered.
    written, asked : cycles that a write, a read has waited for its answer.
    """

    def __init__(
        self, m: Module, rules: Rules, bus: Any, write_cycles: int, read_cycles: int
    ) -> None:
        aw = Channel(m, "aw", bus.awvalid, bus.awready, bus.awaddr)
        w = Channel(m, "w", bus.wvalid, bus.wready, Cat(bus.wdata, bus.wstrb))
        b = Channel(m, "b", bus.bvalid, bus.bready, bus.bresp)
        ar = Channel(m, "ar", bus.arvalid, bus.arready, bus.araddr)
        r = Channel(m, "r", bus.rvalid, bus.rready, Cat(bus.rdata, bus.rresp))
        self.addresses = _open(m, "aw_open", aw, b)
        self.data = _open(m, "w_open", w, b)
        self.reads = _open(m, "ar_open", ar, r)
        both = (self.addresses != 0) & (self.data != 0)
        self.written = _age(m, "b_age", both & ~bus.bvalid, write_cycles)
        self.asked = _age(m, "r_age", (self.reads != 0) & ~bus.rvalid, read_cycles)
        rules.asserts |= b.rules() | r.rules()
        rules.asserts |= {
            "b_asked": Rule(implies(bus.bvalid, both), "no B before its AW and its W"),
            "r_asked": Rule(implies(bus.rvalid, self.reads != 0), "no R before its AR"),
            "aw_two": Rule(self.addresses <= 2, "no third AW is accepted before the first B"),
            "w_two": Rule(self.data <= 2, "no third W is accepted before the first B"),
            "ar_one": Rule(self.reads <= 1, "no second AR is accepted before the first R"),
            "b_comes": Rule(
                self.written <= write_cycles,
                f"each AW and W have their B {write_cycles + 1} cycles later, or that many after "
                "the B before is taken",
            ),
            "r_comes": Rule(
                self.asked <= read_cycles, f"each AR has its R {read_cycles + 1} cycles later"
            ),
            "resp": Rule(
                implies(bus.bvalid, bus.bresp != EXOKAY) & implies(bus.rvalid, bus.rresp != EXOKAY),
                "no response is EXOKAY",
            ),
            "reset": quiet_after_reset(m, bus.bvalid, bus.rvalid),
        }
        rules.assumes |= aw.rules() | w.rules() | ar.rules()
        rules.covers |= {
            "aw_first": Rule((self.addresses == 1) & (self.data == 0), "AW comes before W"),
            "w_first": Rule((self.addresses == 0) & (self.data == 1), "W comes before AW"),
            "b_waits": Rule(bus.bvalid & ~bus.bready, "a B waits"),
            "r_waits": Rule(bus.rvalid & ~bus.rready, "an R waits"),
            "both_ways": Rule(b.moves & r.moves, "a write and a read are answered in one cycle"),
        }


def _ever(m: Module, value: Value, name: str) -> Value:
    """Return whether a value has been 1 in this cycle or before."""
    was = Signal(name=f"{name}_was")
    m.d.sync += was.eq(was | value)
    return was | value


def _ends_page(address: Value, length: Value, arch: Architecture) -> Value:
    """Return whether a burst, of more than one beat where there are such, ends where 4 KiB do."""
    longer = Const(1) if arch.burst_beats == 1 else length != 0
    return longer & ~crosses(address, length + 1, arch) & crosses(address, length + 2, arch)


def _open(m: Module, name: str, request: Channel, response: Channel) -> Signal:
    """Return how many requests were accepted whose response was not, 3 or more being 3."""
    count = Signal(2, name=name)
    with m.If(request.moves & ~response.moves & (count != 3)):
        m.d.sync += count.eq(count + 1)
    with m.If(response.moves & ~request.moves):
        m.d.sync += count.eq(count - 1)
    return count


def _age(m: Module, name: str, waits: Value, most: int) -> Signal:
    """Return how many cycles something has waited, those above `most` as `most` + 1."""
    age = Signal(range(most + 2), name=name)
    m.d.sync += age.eq(Mux(waits, Mux(age > most, age, age + 1), 0))
    return age
