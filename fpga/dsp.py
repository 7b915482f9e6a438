"""Registers of products, moved into the DSP blocks of ECP5 that make them.

A MULT18X18D can register what it puts out, which Yosys does not use. A register outside costs each
product the way from its block: 4 of the 15 ns of an array of 8 x 8. The netlist is Yosys'
`write_json` of a flat design.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final

#: Bits of a product.
N_BITS: Final = 36
#: What a register must have: an edge that rises, no reset, and 0 at the start.
_ENABLES: Final = ("1", "CE")

Cell = MutableMapping[str, Any]


def with_registers(netlist: Mapping[str, Any]) -> int:
    """Move registers into the blocks of the top module, and return how many blocks have some now.

    That is so where nothing else reads the product, and all its registers have one clock, one
    enable and no reset. `netlist` is changed in place.
    """
    (top,) = (m for m in netlist["modules"].values() if m["attributes"].get("top"))
    cells: MutableMapping[str, Cell] = top["cells"]
    readers = _readers(cells)
    for port in top["ports"].values():
        for bit in port["bits"]:
            readers[bit].append(("", ""))
    return sum(
        _absorb(cell, cells, readers)
        for cell in list(cells.values())
        if cell["type"] == "MULT18X18D" and "CLK0" not in cell["connections"]
    )


def write_with_registers(folder: Path, netlist: str, result: str) -> None:
    """Write Yosys' netlist of a folder under another name, with its registers moved."""
    content = json.loads((folder / netlist).read_text())
    with_registers(content)
    (folder / result).write_text(json.dumps(content))


def _readers(cells: Mapping[str, Cell]) -> dict[int | str, list[tuple[str, str]]]:
    """Return the cells that read each net, and by which port."""
    found = defaultdict[int | str, list[tuple[str, str]]](list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                for bit in bits:
                    found[bit].append((name, port))
    return found


def _absorb(
    block: Cell,
    cells: MutableMapping[str, Cell],
    readers: Mapping[int | str, Sequence[tuple[str, str]]],
) -> bool:
    """Move the registers behind a block into it, where that is possible."""
    connections = block["connections"]
    registers: dict[str, str] = {}
    for port in (f"P{k}" for k in range(N_BITS)):
        reading = readers.get(connections[port][0], ()) if connections.get(port) else ()
        if len(reading) > 1 or any(by not in ("DI", "M") for _, by in reading):
            return False
        if reading:
            registers[port] = reading[0][0]
    kinds = {_kind(cells[name]) for name in registers.values()}
    if len(kinds) != 1 or None in kinds:
        return False
    clock, enable = next(iter(kinds)) or ("", "")
    for port, name in registers.items():
        connections[port] = cells.pop(name)["connections"]["Q"]
    connections |= {"CLK0": [clock], "CE0": [enable], "RST0": ["0"]}
    block["port_directions"] |= dict.fromkeys(("CLK0", "CE0", "RST0"), "input")
    block["parameters"] |= {
        f"REG_OUTPUT_{kind}": f"{kind}0" for kind in ("CLK", "CE", "RST")
    }  # fmt: skip
    return True


def _kind(cell: Cell) -> tuple[int | str, int | str] | None:
    """Return a register's clock and enable; None if a block has no register like it."""
    if cell["type"] != "TRELLIS_FF":
        return None
    parameters = {key: str(value).strip() for key, value in cell["parameters"].items()}
    connections = cell["connections"]
    plain = (
        parameters.get("CLKMUX", "CLK") == "CLK"
        and parameters.get("REGSET", "RESET") == "RESET"
        and parameters.get("CEMUX", "CE") in _ENABLES
        and connections.get("LSR", ["0"]) == ["0"]
        and parameters.get("LSRMUX", "LSR") == "LSR"
    )
    if not plain:
        return None
    enable = connections["CE"][0] if parameters.get("CEMUX", "CE") == "CE" else "1"
    return connections["CLK"][0], enable
