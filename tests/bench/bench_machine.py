"""A cocotb bench: the machine as a user's system sees it, between an AXI4-Lite host and a RAM."""

import random
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiResp, AxiSlave

from einchip import reference, registers
from einchip.arch import PRESETS
from einchip.program import Error, Halt, Load, Program, Store
from einchip.reference import from_bytes, to_bytes
from einchip.registers import (
    ADDRESS,
    CONTROL_FETCH,
    CONTROL_IRQ_CLEAR,
    CONTROL_START,
    REGISTERS,
    STATUS_DONE,
    STATUS_ERROR,
    STATUS_RUNNING,
)
from tests.system.programs import EXTERNAL_BYTES, random_case

NANO = PRESETS["nano"]
#: Behind the bytes that random programs use: copies of the scratchpads, then the program.
COPIES = tuple(EXTERNAL_BYTES + s * NANO.capacity(0) for s in (0, 1))
CODE = COPIES[1] + NANO.capacity(1)
RAM_BYTES = CODE + 0x4000
RW = [r for r in REGISTERS if r.access == "rw"]
RO = [r for r in REGISTERS if r.access == "ro"]


class Ram:
    """A memory that answers errors outside of itself."""

    def __init__(self) -> None:
        self.data = bytearray(RAM_BYTES)

    async def read(self, address: int, length: int) -> bytes:
        if address + length > len(self.data):
            raise IndexError(address)
        return bytes(self.data[address : address + length])

    async def write(self, address: int, data: bytes) -> None:
        if address + len(data) > len(self.data):
            raise IndexError(address)
        self.data[address : address + len(data)] = data


class System:
    """Clock, host and RAM around the machine."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.ram = dut, Ram()
        Clock(dut.clk, 10, "ns").start()
        dut.rst.value = 1
        self.host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil_"), dut.clk, dut.rst)
        slave = AxiSlave(AxiBus.from_prefix(dut, "m_axi_"), dut.clk, dut.rst, target=self.ram)
        host, write, read = self.host, slave.write_if, slave.read_if
        self._channels = [
            *(write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel),
            *(host.write_if.aw_channel, host.write_if.w_channel, host.write_if.b_channel),
            *(host.read_if.ar_channel, host.read_if.r_channel),
        ]

    async def reset(self) -> None:
        for _ in range(4):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)

    def stall(self, seed: int) -> None:
        """Close every channel at random from now on, some of them most of the time."""
        rng = random.Random(seed)
        for channel in self._channels:
            channel.set_pause_generator(_pauses(rng.choice((0.1, 0.5, 0.8)), rng.random()))

    async def get(self, name: str) -> int:
        return int(await self.host.read_dword(ADDRESS[name]))

    async def set(self, name: str, value: int) -> None:
        await self.host.write_dword(ADDRESS[name], value)

    async def start(self, code: bytes, host: reference.Host | None = None) -> None:
        """Start a program."""
        self.ram.data[CODE : CODE + len(code)] = code
        values = {"PROGRAM_ADDRESS": CODE, "PROGRAM_WORDS": len(code) // 16}
        host = host or reference.Host()
        values |= {f"BASE{k}": base for k, base in enumerate(host.bases)}
        values |= {f"ARG{k}": count for k, count in enumerate(host.args)}
        for name, value in values.items():
            await self.set(name, value)
        await self.set("CONTROL", CONTROL_START | CONTROL_FETCH)

    async def run(self, code: bytes, host: reference.Host | None = None) -> None:
        """Run a program until the interrupt, and clear it."""
        await self.set("IRQ_ENABLE", 1)
        await self.start(code, host)
        if not self.dut.irq.value:
            await with_timeout(RisingEdge(self.dut.irq), 20, "ms")
        await self.set("CONTROL", CONTROL_IRQ_CLEAR)

    async def move(self, kind: type[Load | Store]) -> None:
        """Load both scratchpads whole from their copies, or store them."""
        beats = [NANO.capacity(s) // NANO.port_elements for s in (0, 1)]
        moves = [kind(space=s, ext_offset=COPIES[s], beats=beats[s]) for s in (0, 1)]
        await self.run(Program((*moves, Halt())).encode())
        assert await self.get("STATUS") == STATUS_DONE


def _pauses(probability: float, seed: float) -> Iterator[bool]:
    rng = random.Random(seed)
    while True:
        pause = rng.random() < probability
        yield from [pause] * rng.randint(1, 6)


async def system(dut: Any) -> System:
    """Return a machine after reset."""
    found = System(dut)
    await found.reset()
    return found


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def every_register_has_its_reset_value(dut: Any) -> None:
    s = await system(dut)
    known = {
        "ID": registers.ID_VALUE,
        "VERSION": registers.VERSION_VALUE,
        "CONFIG_HASH": NANO.config_hash,
        "WATCHDOG": registers.WATCHDOG_RESET,
    }
    found = {r.name: await s.host.read(r.address, 4) for r in REGISTERS}
    assert all(answer.resp == AxiResp.OKAY for answer in found.values())
    values = {name: int.from_bytes(answer.data, "little") for name, answer in found.items()}
    assert values == {r.name: known.get(r.name, 0) for r in REGISTERS}


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def rw_registers_keep_what_is_written_and_ro_registers_do_not(dut: Any) -> None:
    s = await system(dut)
    before = {r.name: await s.get(r.name) for r in RO}
    rng = random.Random(1)
    written = {r.name: rng.randrange(1 << 32) for r in RW}
    for name, value in (*written.items(), *((r.name, 0xFFFF_FFFF) for r in RO)):
        assert (await s.host.write(ADDRESS[name], value.to_bytes(4, "little"))).resp == AxiResp.OKAY
    assert {r.name: await s.get(r.name) for r in RO} == before
    written["IRQ_ENABLE"] &= 1
    assert {name: await s.get(name) for name in written} == written


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_write_of_some_bytes_leaves_the_others(dut: Any) -> None:
    s = await system(dut)
    for n_bytes in range(1, 4):
        await s.set("BASE0", 0x44332211)
        await s.host.write(ADDRESS["BASE0"], bytes([0xA0, 0xA1, 0xA2][:n_bytes]))
        mask = (1 << 8 * n_bytes) - 1
        assert await s.get("BASE0") == (0x44332211 & ~mask) | (0xA2A1A0 & mask)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def an_unknown_address_answers_slverr(dut: Any) -> None:
    s = await system(dut)
    known = {r.address for r in REGISTERS}
    for address in (*range(0, 1 << registers.ADDRESS_BITS, 4), ADDRESS["ID"] + 1):
        if address not in known:
            n_bytes = 4 - address % 4
            assert (await s.host.read(address, n_bytes)).resp == AxiResp.SLVERR
            assert (await s.host.write(address, bytes(n_bytes))).resp == AxiResp.SLVERR
    assert await s.get("ID") == registers.ID_VALUE


async def agrees(s: System, seed: int) -> None:
    """Run a random program; memory must be what the reference leaves."""
    case = random_case(seed, NANO)
    for space in (0, 1):
        content = to_bytes(case.memory.space(space), NANO)
        s.ram.data[COPIES[space] : COPIES[space] + len(content)] = content
    await s.move(Load)
    s.ram.data[:EXTERNAL_BYTES] = case.memory.external
    await s.run(case.program.encode(), case.host)
    assert await s.get("STATUS") == STATUS_DONE
    external = bytes(s.ram.data[:EXTERNAL_BYTES])
    await s.move(Store)
    expected = case.memory.copy()
    reference.run(case.program, NANO, expected, case.host)
    for space, at in enumerate(COPIES):
        found = from_bytes(s.ram.data[at : at + NANO.capacity(space)], NANO)
        assert np.array_equal(found, expected.space(space)), seed
    assert external == expected.external, seed


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def programs_leave_what_the_reference_leaves(dut: Any) -> None:
    s = await system(dut)
    for seed in (1, 2):
        await agrees(s, seed)


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def random_back_pressure_changes_no_value(dut: Any) -> None:
    s = await system(dut)
    for seed in (3, 4, 5):
        s.stall(seed)
        await agrees(s, seed)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def the_interrupt_follows_its_enable_and_clear(dut: Any) -> None:
    s = await system(dut)
    code = Program((Halt(),)).encode()
    await s.start(code)
    while await s.get("STATUS") != STATUS_DONE:
        pass
    assert not dut.irq.value
    await s.set("IRQ_ENABLE", 1)
    await s.start(code)
    await RisingEdge(dut.irq)
    assert await s.get("STATUS") == STATUS_DONE
    assert dut.irq.value
    await s.set("CONTROL", CONTROL_IRQ_CLEAR)
    assert not dut.irq.value
    assert await s.get("STATUS") == STATUS_DONE


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def while_it_runs_host_registers_keep_their_values(dut: Any) -> None:
    s = await system(dut)
    await s.start(Program((Load(beats=1000), Halt())).encode())
    assert await s.get("STATUS") == STATUS_RUNNING
    before = {r.name: await s.get(r.name) for r in RW}
    for name in (*before, "CONTROL"):
        await s.set(name, 0xFFFF_FFFF)
    assert {name: await s.get(name) for name in before} == before
    assert await s.get("STATUS") == STATUS_RUNNING
    while await s.get("STATUS") == STATUS_RUNNING:
        pass
    assert await s.get("STATUS") == STATUS_DONE
    assert await s.get("DMA_READ_BEATS_LO") == 1000 + 2 * 16 // NANO.port_bytes


async def stops_with(s: System, code: bytes, error: tuple[int, int]) -> None:
    await s.run(code)
    found = {name: await s.get(name) for name in ("STATUS", "ERROR_CODE", "ERROR_ADDRESS")}
    expected = (STATUS_DONE | STATUS_ERROR, *error)
    assert found == dict(zip(found, expected, strict=True))


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def errors_stop_the_machine_which_then_works_again(dut: Any) -> None:
    s = await system(dut)
    # 64 bytes before the end of the RAM, which is the end of a page: the second burst is outside
    outside = {"ext_offset": RAM_BYTES - 64, "beats": 1000}
    faulty = [
        (bytes([255] + 15 * [0]), (Error.OPCODE, 0)),
        (Program((Load(**outside), Halt())).encode(), (Error.AXI_READ, RAM_BYTES)),
        (Program((Store(**outside), Halt())).encode(), (Error.AXI_WRITE, RAM_BYTES)),
    ]
    for n, (code, error) in enumerate(faulty):
        s.stall(n)
        await stops_with(s, code, error)
        await agrees(s, 6)
    assert await s.get("ERROR_CODE") == Error.NONE
