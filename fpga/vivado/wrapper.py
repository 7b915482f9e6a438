"""A wrapper around the machine whose ports Vivado reads as AXI interfaces, clock and reset.

Its ports are those of `hw.top`, renamed (`m_axi__awaddr` becomes `m_axi_awaddr`), and the signals
of AXI that the machine does not have. The master gives these, `CONSTANTS`, in every transfer:

| signal | value | why |
|---|---|---|
| id | 0, one bit | all transfers of a direction stay in order |
| lock | 0 | no access is exclusive |
| cache | 0b0010 | normal memory, not cached, not buffered: what is answered has been written |
| prot | 0b000 | data, secure, unprivileged |
| qos, region | 0 | none |

Of what comes in it takes no notice of the IDs of answers, which are 0, and of s_axi's prot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from einchip.arch import READ_BURSTS, WRITE_BURSTS, Architecture
from einchip.hw.axi import ADDRESS_BITS as MEMORY_ADDRESS_BITS
from einchip.hw.axi import AxiLiteSignature, AxiSignature
from einchip.hw.generate import TOP
from einchip.registers import ADDRESS_BITS

#: Name of the wrapper's module.
MODULE: Final = "einchip_ip"


class Constant(NamedTuple):
    """What a signal of both address channels is in every transfer."""

    bits: int
    value: int


CONSTANTS: Final[Mapping[str, Constant]] = {
    "id": Constant(1, 0),
    "lock": Constant(1, 0),
    "cache": Constant(4, 0b0010),
    "prot": Constant(3, 0b000),
    "qos": Constant(4, 0),
    "region": Constant(4, 0),
}


class Port(NamedTuple):
    """A port of the wrapper.

    `info` is Vivado's: interface type, name of the interface, signal in it. `inside` is what the
    port of the machine is called that it belongs to; without one, an output has a constant
    `value`, and an input is not read.
    """

    name: str
    is_output: bool
    bits: int
    info: str
    inside: str = ""
    value: int = 0

    def declaration(self, parameters: str = "") -> str:
        """Return the port as Verilog, with Vivado's parameters of its interface, if any."""
        lines = [f'(* X_INTERFACE_INFO = "{self.info}" *)']
        if parameters:
            name = self.info.split()[1]
            lines.append(f'(* X_INTERFACE_PARAMETER = "XIL_INTERFACENAME {name}, {parameters}" *)')
        direction = "output" if self.is_output else "input"
        size = f"[{self.bits - 1}:0] " if self.bits > 1 else ""
        lines.append(f"{direction} wire {size}{self.name}")
        return "\n".join(f"    {line}" for line in lines)


def ports(arch: Architecture) -> list[Port]:
    """Return the ports of a machine's wrapper."""
    prot = CONSTANTS["prot"].bits
    id_bits = CONSTANTS["id"].bits
    lite, memory = AxiLiteSignature(ADDRESS_BITS), AxiSignature(arch.port_bytes)
    return [
        Port("aclk", False, 1, "xilinx.com:signal:clock:1.0 aclk CLK", "clk"),
        Port("aresetn", False, 1, "xilinx.com:signal:reset:1.0 aresetn RST", "rst"),
        Port("interrupt", True, 1, "xilinx.com:signal:interrupt:1.0 interrupt INTERRUPT", "irq"),
        *_inside("s_axi", "s_axil", lite, is_master=False),
        *(_axi("s_axi", f"{channel}prot", False, prot) for channel in ("aw", "ar")),
        *_inside("m_axi", "m_axi", memory, is_master=True),
        *(
            _axi("m_axi", channel + signal, True, constant.bits, value=constant.value)
            for channel in ("aw", "ar")
            for signal, constant in CONSTANTS.items()
        ),
        *(_axi("m_axi", f"{channel}id", False, id_bits) for channel in ("b", "r")),
    ]


def parameters(arch: Architecture) -> dict[str, str]:
    """Return Vivado's parameters of each interface."""
    return {
        "aclk": "ASSOCIATED_BUSIF s_axi:m_axi, ASSOCIATED_RESET aresetn",
        "aresetn": "POLARITY ACTIVE_LOW",
        "interrupt": "SENSITIVITY LEVEL_HIGH",
        "s_axi": f"PROTOCOL AXI4LITE, DATA_WIDTH 32, ADDR_WIDTH {ADDRESS_BITS}",
        "m_axi": f"PROTOCOL AXI4, DATA_WIDTH {8 * arch.port_bytes}, "
        f"ADDR_WIDTH {MEMORY_ADDRESS_BITS}, ID_WIDTH {CONSTANTS['id'].bits}, "
        f"SUPPORTS_NARROW_BURST 0, MAX_BURST_LENGTH {arch.burst_beats}, "
        f"NUM_READ_OUTSTANDING {READ_BURSTS}, NUM_WRITE_OUTSTANDING {WRITE_BURSTS}",
    }


def verilog(arch: Architecture) -> str:
    """Return the wrapper of a machine, whose Verilog it does not contain."""
    left = parameters(arch)
    found = ports(arch)
    # An interface's parameters stand at the first of its ports.
    declarations = [port.declaration(left.pop(port.info.split()[1], "")) for port in found]
    constants = [
        f"    assign {port.name} = {port.bits}'d{port.value};"
        for port in found
        if port.is_output and not port.inside
    ]
    pins = [
        f"        .{port.inside}({'~' if port.inside == 'rst' else ''}{port.name})"
        for port in found
        if port.inside
    ]
    return "\n".join(
        [
            f"// {MODULE}: {TOP} with the port names of a Vivado IP.",
            "// SPDX-License-Identifier: Apache-2.0",
            "// Written by einchip.fpga.vivado; do not edit.",
            "",
            f"module {MODULE} (",
            ",\n".join(declarations),
            ");",
            *constants,
            f"    {TOP} core (",
            ",\n".join(pins),
            "    );",
            "endmodule",
            "",
        ]
    )


def _inside(
    bus: str, inner: str, signature: wiring.Signature, *, is_master: bool
) -> Iterator[Port]:
    """Yield the ports of an interface of the machine, called `inner` there."""
    for name, member in signature.members.items():
        is_output = (member.flow == Out) == is_master
        yield _axi(bus, name, is_output, member.shape, inside=f"{inner}__{name}")


def _axi(
    bus: str, signal: str, is_output: bool, bits: int, *, inside: str = "", value: int = 0
) -> Port:
    info = f"xilinx.com:interface:aximm:1.0 {bus} {signal.upper()}"
    return Port(f"{bus}_{signal}", is_output, bits, info, inside, value)
