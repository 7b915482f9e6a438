"""The machine with AXI IDs, which the bus models of cocotbext-axi need."""

from typing import Final

from einchip.arch import Architecture
from einchip.hw.generate import TOP, verilog
from einchip.verify.ports import Port, read_ports

WRAPPER: Final = "einchip_with_ids"
#: One bit each; requests always carry 0, and what the answers carry is ignored.
IDS: Final = {
    "m_axi__awid": "output",
    "m_axi__arid": "output",
    "m_axi__bid": "input",
    "m_axi__rid": "input",
}


def verilog_with_ids(arch: Architecture) -> str:
    """Return the Verilog of a machine inside a module WRAPPER, whose AXI master has IDs."""
    machine = verilog(arch)
    ports = list(read_ports(machine, TOP).values())
    names = ", ".join([*IDS, *(port.name for port in ports)])
    lines = [
        f"module {WRAPPER}({names});",
        *(f"  {direction} {name};" for name, direction in IDS.items()),
        *(_declaration(port) for port in ports),
        *(f"  assign {name} = 1'b0;" for name in IDS if IDS[name] == "output"),
        f"  {TOP} machine ({', '.join(f'.{p.name}({p.name})' for p in ports)});",
        "endmodule",
    ]
    return machine + "\n" + "\n".join(lines) + "\n"


def _declaration(port: Port) -> str:
    width = f" [{port.width_bits - 1}:0]" if port.width_bits > 1 else ""
    return f"  {port.direction}{width} {port.name};"
