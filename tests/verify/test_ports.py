"""Ports as read from Verilog; the oracle is the interface that Amaranth converted."""

import pytest

from einchip.verify.ports import Port, read_ports
from tests.verify.memcpy import memcpy_verilog


def test_ports_have_their_direction_and_width() -> None:
    ports = read_ports(memcpy_verilog(16), "einchip_top")
    assert len(ports) == 3 + 17 + 29
    assert ports["clk"] == Port("clk", "input", 1)
    assert ports["m_axi__wdata"] == Port("m_axi__wdata", "output", 128)
    assert ports["s_axil__rready"] == Port("s_axil__rready", "input", 1)


def test_a_missing_module_is_an_error() -> None:
    with pytest.raises(ValueError, match="no module x"):
        read_ports(memcpy_verilog(4), "x")
