"""Multipliers are where DSP blocks are meant to be spent: counted by what they are for."""

import re
from pathlib import Path

import pytest

from einchip.arch import PRESETS, Architecture
from einchip.verify.machine import generated

NANO = PRESETS["nano"]
#: Products per lane of the vector unit: those of a cell. Activations take shifts and adds.
CELL = 5


def products(verilog: str) -> list[str]:
    """Return the products in Verilog, but for those by a power of two, which are wires."""
    found = re.findall(r"= (.* \* .*);", verilog)
    constants = [re.fullmatch(r".* \* \d+'h([0-9a-f]+)", product) for product in found]
    return [
        product
        for product, constant in zip(found, constants, strict=True)
        if constant is None or int(constant[1], 16).bit_count() != 1
    ]


@pytest.mark.parametrize(
    "arch",
    [
        NANO,
        NANO.override(fold="op"),
        NANO.override(fold="flex"),
        NANO.override(fold="ip"),
        NANO.override(cols=8, lanes=8, data_bits=16),
    ],
    ids=lambda arch: f"{arch.fold} {arch.rows}x{arch.cols}",
)
def test_one_per_pe_and_per_product_of_a_cell(arch: Architecture, native_cache: Path) -> None:
    found = products(generated(arch, native_cache).read_text())
    expected = arch.rows * arch.cols + CELL * arch.lanes
    assert len(found) == expected, sorted(set(found))
