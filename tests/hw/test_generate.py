"""hw.generate against Verilator's lint and the ports that docs and harness count on."""

import json
import re
from pathlib import Path

import pytest
from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip import hw
from einchip.arch import PRESETS
from einchip.hw.generate import MIN_LOOP, TOP, module_text, verilog
from einchip.hw.scratchpad import Scratchpad
from einchip.program import Space
from einchip.registers import ADDRESS_BITS
from einchip.verify import verilator
from einchip.verify.machine import generated
from einchip.verify.ports import read_ports
from tests.hw.machine import OF_16_BITS

NANO = PRESETS["nano"]
WAIVERS = Path(hw.__file__).parent / "waivers.vlt"


@pytest.fixture(scope="module")
def nano(native_cache: Path) -> str:
    return generated(NANO, native_cache).read_text()


def test_verilator_has_nothing_to_say_that_is_not_waived(nano: str) -> None:
    assert verilator.lint(nano, top=TOP, waiver=WAIVERS) == []


def test_every_signal_has_a_name(nano: str) -> None:
    """Waves are read by names. Amaranth calls a signal `$signal` where it finds none."""
    assert re.findall(r".*\$signal.*", nano) == []


def test_every_waiver_is_needed(nano: str) -> None:
    rules = {line.split()[-1] for line in WAIVERS.read_text().splitlines() if "-rule" in line}
    found = verilator.lint(nano, top=TOP, waiver=None)
    assert {line.removeprefix("%Warning-").split(":")[0] for line in found} == rules


def test_a_machine_of_16_bits_is_clean_too(native_cache: Path) -> None:
    text = generated(OF_16_BITS, native_cache).read_text()
    assert verilator.lint(text, top=TOP, waiver=WAIVERS) == []


@pytest.mark.parametrize("fold", ["ip", "op", "flex"])
def test_machines_of_every_fold_are_clean_too(fold: str, native_cache: Path) -> None:
    text = generated(NANO.override(fold=fold), native_cache).read_text()
    assert verilator.lint(text, top=TOP, waiver=WAIVERS) == []


def test_ports_are_those_of_axi_by_their_names(nano: str) -> None:
    ports = read_ports(nano, TOP)
    widths = {name: (p.direction, p.width_bits) for name, p in ports.items()}
    assert widths.pop("clk") == widths.pop("rst") == ("input", 1)
    assert widths.pop("irq") == ("output", 1)
    assert {name.split("__")[0] for name in widths} == {"s_axil", "m_axi"}
    assert widths["s_axil__awaddr"] == widths["s_axil__araddr"] == ("input", ADDRESS_BITS)
    assert widths["m_axi__awaddr"] == widths["m_axi__araddr"] == ("output", 32)
    assert widths["m_axi__wdata"] == ("output", 8 * NANO.port_bytes)
    assert widths["m_axi__wstrb"] == ("output", NANO.port_bytes)
    assert widths["m_axi__rdata"] == ("input", 8 * NANO.port_bytes)
    assert widths["m_axi__rready"] == ("output", 1)
    assert widths["s_axil__rready"] == ("input", 1)
    assert len(widths) == 17 + 25


def test_the_header_says_which_machine_it_is(nano: str) -> None:
    lines = [line.removeprefix("// ") for line in nano.split("\n\n")[0].splitlines()]
    start = lines.index("Architecture:") + 1
    assert json.loads(" ".join(lines[start:])) == NANO.model_dump(mode="json")
    assert f"{NANO.config_hash:#010x}" in lines[start - 2]


def test_the_same_machine_gives_the_same_text(nano: str) -> None:
    assert verilog(NANO) == nano
    assert "/site-packages/" not in nano


class Rom(wiring.Component):
    """A memory whose rows hold what is given."""

    address: Signal
    data: Signal

    def __init__(self, rows: list[int]) -> None:
        self._rows = rows
        super().__init__({"address": In(8), "data": Out(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=len(self._rows), init=self._rows)
        port = memory.read_port(domain="comb")
        m.d.comb += [port.addr.eq(self.address), self.data.eq(port.data)]
        return m


def rows_of(text: str) -> dict[int, int]:
    """Return the initial values that a module's text gives the rows of its memory."""
    found: dict[int, int] = {}
    for first, last, value in re.findall(r"row = (\d+); row <= (\d+);.*8'h(\w+);", text):
        found |= dict.fromkeys(range(int(first), int(last) + 1), int(value, 16))
    return found | {int(row): int(v, 16) for row, v in re.findall(r"\[(\d+)\] = 8'h(\w+);", text)}


def test_equal_rows_are_written_as_a_loop() -> None:
    rows = [1] * (MIN_LOOP - 1) + [2] * 40 + [3, 4] * 10 + [0] * 180
    text = module_text(Rom(rows), "rom")
    assert rows_of(text) == dict(enumerate(rows))
    assert text.count("for (row") == 2
    assert not [line for line in verilator.lint(text, top="rom") if "UNUSED" not in line]


def test_a_large_memory_takes_no_more_text() -> None:
    """So that a machine with 64 KiB of scratchpads is not forty megabytes of zeros."""
    machines = (NANO.override(x_depth=depth) for depth in (2048, 8192))
    small, large = (len(module_text(Scratchpad(m, Space.X), "x")) for m in machines)
    assert large < 1.01 * small
