"""The ports of a module in the Verilog that Amaranth writes."""

import re
from dataclasses import dataclass
from typing import Literal

_PORT = re.compile(r"^\s*(input|output|inout)\s+(?:\w+\s+)?(?:\[(\d+):(\d+)\]\s*)?(\w+)\s*;", re.M)


@dataclass(frozen=True)
class Port:
    """A port: `direction` as seen from the module."""

    name: str
    direction: Literal["input", "output", "inout"]
    width_bits: int


def read_ports(verilog: str, module: str) -> dict[str, Port]:
    """Return the ports of `module` by name, in the order of their declarations.

    Raises
    ------
    ValueError
        The text holds no such module.
    """
    body = re.search(
        rf"^module\s+{re.escape(module)}\s*\(.*?^endmodule", verilog, re.MULTILINE | re.DOTALL
    )
    if body is None:
        raise ValueError(f"no module {module} in the Verilog")
    ports = {}
    for direction, high, low, name in _PORT.findall(body.group()):
        ports[name] = Port(name, direction, int(high) - int(low) + 1 if high else 1)
    return ports
