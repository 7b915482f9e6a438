"""Place and route: the wrapper changes nothing but time; a report's critical path is read right."""

import random
from pathlib import Path
from typing import Any

import pytest
from amaranth.sim import Simulator

from einchip.fpga.place import PROGRAMS, Wrapped, critical_path, place
from tests.fpga.needs import is_there, needs_yosys
from tests.fpga.test_synth import MultiplyRegister


def test_every_input_is_shifted_in_and_every_output_seen() -> None:
    """The oracle multiplies the bits that were shifted in, and shifts its own results out."""
    bits = 3
    dut = Wrapped(MultiplyRegister(bits))
    sent = random.Random(0).choices((0, 1), k=200)
    received: list[int] = []

    async def drive(ctx: Any) -> None:
        for bit in sent:
            ctx.set(dut.data_in, bit)
            received.append(ctx.get(dut.data_out))
            await ctx.tick()

    sim: Any = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(drive)
    sim.run()

    def signed(value: int) -> int:
        return value - (value >> (bits - 1) << bits)

    shifted = outputs = sampled = 0
    expected = []
    for bit in sent:
        expected.append(sampled >> (2 * bits) & 1)
        a, b = signed(shifted & 7), signed(shifted >> bits & 7)
        sampled = (outputs ^ (sampled << 1 | bit)) & ((2 << 2 * bits) - 1)
        outputs = (a * b) & ((1 << 2 * bits) - 1) | (a < 0) << (2 * bits)
        shifted = (shifted << 1 | bit) & ((1 << 2 * bits) - 1)
    assert received == expected
    assert any(received)


def test_the_longest_path_between_registers_is_the_critical_one() -> None:
    def path(start: str, end: str, *steps: tuple[str, str, float]) -> dict[str, object]:
        hops = [{"from": {"cell": a}, "to": {"cell": b}, "delay": d} for a, b, d in steps]
        return {"from": start, "to": end, "path": hops}

    report = {
        "critical_paths": [
            path("posedge clk", "posedge clk", ("a", "a", 0.5), ("a", "b", 1.0), ("b", "b", 0.2)),
            path("posedge clk", "posedge clk", ("c", "c", 0.5), ("c", "d", 9.0), ("d", "e", 0.2)),
            path("<async>", "posedge clk", ("pin", "f", 99.0)),
        ]
    }
    assert critical_path(report) == ("c", "d", "e")


@pytest.mark.skipif(not is_there(PROGRAMS), reason="needs nextpnr for ECP5: einchip[fpga]")
@needs_yosys
@pytest.mark.nightly
def test_a_multiplier_is_placed_and_timed(tmp_path: Path) -> None:
    found = place(MultiplyRegister(8), tmp_path)
    assert 50 < found.mhz < 500
    assert len(found.path) >= 2
    assert found.utilisation["MULT18X18D"][0] == 1
