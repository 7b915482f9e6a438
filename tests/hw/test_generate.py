"""hw.generate against Verilator's lint and the ports that docs and harness count on."""

import json
from pathlib import Path

import pytest

from einchip import hw
from einchip.arch import PRESETS
from einchip.hw.generate import TOP, verilog
from einchip.program import WORD_BYTES
from einchip.registers import ADDRESS_BITS
from einchip.verify import verilator
from einchip.verify.ports import read_ports

NANO = PRESETS["nano"]
WAIVERS = Path(hw.__file__).parent / "waivers.vlt"


@pytest.fixture(scope="module")
def nano() -> str:
    return verilog(NANO)


def test_verilator_has_nothing_to_say_that_is_not_waived(nano: str) -> None:
    assert verilator.lint(nano, top=TOP, waiver=WAIVERS) == []


def test_every_waiver_is_needed(nano: str) -> None:
    rules = {line.split()[-1] for line in WAIVERS.read_text().splitlines() if "-rule" in line}
    found = verilator.lint(nano, top=TOP, waiver=None)
    assert {line.removeprefix("%Warning-").split(":")[0] for line in found} == rules


def test_a_machine_of_16_bits_is_clean_too() -> None:
    wide = NANO.override(data_bits=16, lanes=8, rows=8, port_bytes=WORD_BYTES, x_depth=16)
    assert verilator.lint(verilog(wide), top=TOP, waiver=WAIVERS) == []


@pytest.mark.parametrize("fold", ["ip", "op", "flex"])
def test_machines_of_every_fold_are_clean_too(fold: str) -> None:
    assert verilator.lint(verilog(NANO.override(fold=fold)), top=TOP, waiver=WAIVERS) == []


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
    assert json.loads(" ".join(lines[start:])) == NANO.model_dump()
    assert f"{NANO.config_hash:#010x}" in lines[start - 2]


def test_the_same_machine_gives_the_same_text(nano: str) -> None:
    assert verilog(NANO) == nano
    assert "/site-packages/" not in nano
