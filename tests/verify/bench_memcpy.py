"""A cocotb bench: drives the copying machine as a user's system would."""

import os
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam

CONTROL, STATUS, SOURCE, TARGET, N_BURSTS = (4 * i for i in range(5))


@cocotb.test(timeout_time=100, timeout_unit="us")
async def copies_what_the_ram_holds(dut: Any) -> None:
    Clock(dut.clk, 10, "ns").start()
    dut.rst.value = 1
    control = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil_"), dut.clk, dut.rst)
    ram = AxiRam(AxiBus.from_prefix(dut, "m_axi_"), dut.clk, dut.rst, size=0x4000)
    for _ in range(4):
        await RisingEdge(dut.clk)
    dut.rst.value = 0

    data = bytes(range(128))
    ram.write(0, data)
    for register, value in ((SOURCE, 0), (TARGET, 0x2000), (N_BURSTS, 4), (CONTROL, 1)):
        await control.write_dword(register, value)
    await RisingEdge(dut.irq)
    assert await control.read_dword(STATUS) == int(os.environ["EXPECTED_STATUS"])
    assert ram.read(0x2000, 128) == data
