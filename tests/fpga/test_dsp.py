"""fpga.dsp on netlists written by hand: which registers move into the blocks."""

import copy
from typing import Any

import pytest

from einchip.fpga.dsp import with_registers

CLOCK, ENABLE, RESET = 2, 3, 4
#: Nets of a product's bits, and of the registers behind it.
PRODUCT, STORED = range(100, 116), range(200, 216)


def register(d: int, q: int, **how: Any) -> dict[str, Any]:
    connections = {"CLK": [CLOCK], "DI": [d], "LSR": ["0"], "Q": [q]}
    parameters = {"CEMUX": "1 ", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"}
    return {
        "type": "TRELLIS_FF",
        "parameters": parameters | how.get("parameters", {}),
        "connections": connections | how.get("connections", {}),
        "port_directions": {
            "CE": "input", "CLK": "input", "DI": "input", "LSR": "input", "Q": "output",
        },
    }  # fmt: skip


def netlist(**how: Any) -> dict[str, Any]:
    """Return a product of 16 bits and its registers, `how` they differ from plain ones."""
    cells = {f"r{k}": register(PRODUCT[k], STORED[k], **how) for k in range(16)}
    outputs = {f"P{k}": [PRODUCT[k] if k < 16 else 900 + k] for k in range(36)}
    cells["product"] = {
        "type": "MULT18X18D",
        "parameters": {},
        "connections": {"A0": [10], "B0": [11], **outputs},
        "port_directions": {"A0": "input", "B0": "input", **dict.fromkeys(outputs, "output")},
    }
    ports = {"stored": {"direction": "output", "bits": [*STORED]}}
    return {"modules": {"top": {"attributes": {"top": "1"}, "ports": ports, "cells": cells}}}


def cells_of(made: dict[str, Any]) -> dict[str, Any]:
    return made["modules"]["top"]["cells"]


@pytest.mark.parametrize(
    ("how", "enable"),
    [
        ({}, "1"),
        ({"parameters": {"CEMUX": "CE"}, "connections": {"CE": [ENABLE]}}, ENABLE),
    ],
    ids=["always", "enabled"],
)
def test_plain_registers_move_into_the_block(how: dict[str, Any], enable: int | str) -> None:
    made = netlist(**how)
    assert with_registers(made) == 1
    (block,) = cells_of(made).values()
    connections = block["connections"]
    assert [connections[f"P{k}"][0] for k in range(16)] == [*STORED]
    assert (connections["CLK0"], connections["CE0"], connections["RST0"]) == (
        [CLOCK],
        [enable],
        ["0"],
    )
    assert block["parameters"] == {
        "REG_OUTPUT_CLK": "CLK0", "REG_OUTPUT_CE": "CE0", "REG_OUTPUT_RST": "RST0",
    }  # fmt: skip
    assert set(connections) == set(block["port_directions"])
    assert with_registers(made) == 0


@pytest.mark.parametrize(
    "how",
    [
        {"connections": {"LSR": [RESET]}},
        {"parameters": {"REGSET": "SET"}},
        {"parameters": {"CLKMUX": "INV"}},
        {"parameters": {"CEMUX": "INV"}, "connections": {"CE": [ENABLE]}},
        {"parameters": {"LSRMUX": "INV"}},
    ],
    ids=["reset", "starts at 1", "falling edge", "enabled by 0", "reset by 0"],
)
def test_others_stay(how: dict[str, Any]) -> None:
    made = netlist(**how)
    before = copy.deepcopy(made)
    assert with_registers(made) == 0
    assert made == before


def test_a_product_that_something_else_reads_stays() -> None:
    read, put_out, uneven, other_clock = (netlist() for _ in range(4))
    cells_of(read)["lut"] = {
        "type": "LUT4", "parameters": {}, "connections": {"A": [PRODUCT[3]]},
        "port_directions": {"A": "input"},
    }  # fmt: skip
    put_out["modules"]["top"]["ports"]["product"] = {"direction": "output", "bits": [PRODUCT[0]]}
    cells_of(uneven)["r5"] |= register(PRODUCT[5], STORED[5], connections={"LSR": [RESET]})
    cells_of(other_clock)["r5"] |= register(PRODUCT[5], STORED[5], connections={"CLK": [99]})
    for made in (read, put_out, uneven, other_clock):
        before = copy.deepcopy(made)
        assert with_registers(made) == 0
        assert made == before
