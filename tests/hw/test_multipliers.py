"""Multipliers are where DSP blocks are meant to be spent: counted by what they are for."""

import re
from pathlib import Path

import pytest

from einchip.arch import PRESETS, Architecture
from einchip.verify.machine import generated
from tests.hw.machine import OF_16_BITS, n_products

PICO, NANO = PRESETS["pico"], PRESETS["nano"]


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
        OF_16_BITS,
        PICO.override(cells=("lstm",)),
        PICO.override(cells=("gru_before",)),
        PICO.override(cells=()),
    ],
    ids=lambda arch: f"{arch.fold} {arch.rows}x{arch.cols} {len(arch.cells)} cells",
)
def test_one_per_pe_and_per_product_of_a_cell_or_activation(
    arch: Architecture, native_cache: Path
) -> None:
    found = products(generated(arch, native_cache).read_text())
    assert len(found) == sum(n_products(arch).values()), sorted(set(found))
