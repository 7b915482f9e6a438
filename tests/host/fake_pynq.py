"""A stand-in for the package `pynq`: a board whose machine is the simulator.

The processor's cache is not coherent, as on the boards: what is written reaches memory by `flush`,
what the machine wrote is seen after `invalidate`.
"""

from __future__ import annotations

import types
from typing import Any, Final

import numpy as np

from einchip.arch import Architecture
from einchip.host.emulated import SimulatorDevice
from einchip.registers import ADDRESS_BITS

#: Where the registers, and where the allocated memory, are on the bus.
REGISTERS_AT: Final = 0x4000_0000
MEMORY_AT: Final = 0x8000
IP: Final = {"type": "user.org:user:einchip_top:1.0", "phys_addr": REGISTERS_AT}
OTHERS: Final = {"axi_dma_0": {"type": "xilinx.com:ip:axi_dma:7.1", "phys_addr": 0x4040_0000}}


class Buffer(np.ndarray):
    """What `allocate` returns, and views of it."""

    board: Board | None
    device_address: int

    def __array_finalize__(self, other: Any) -> None:
        self.board = getattr(other, "board", None)
        if isinstance(other, Buffer) and self.board is not None:
            self.device_address = other.device_address + _place(self) - _place(other)

    def _physical(self) -> slice:
        return slice(self.device_address, self.device_address + self.nbytes)

    def flush(self) -> None:
        assert self.board is not None
        self.board.machine.state.external[self._physical()] = self.tobytes()

    def invalidate(self) -> None:
        assert self.board is not None
        external = self.board.machine.state.external[self._physical()]
        self[:] = np.frombuffer(bytes(external), np.uint8)

    def freebuffer(self) -> None:
        assert self.board is not None
        self.board.n_buffers -= 1


def _place(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


class Board:
    """The module `pynq` of one board, and what is behind it."""

    def __init__(self, arch: Architecture, memory_bytes: int, **blocks: dict[str, Any]) -> None:
        self.machine = SimulatorDevice(arch, MEMORY_AT + memory_bytes)
        self.room, self.n_buffers = memory_bytes, 0
        self.loaded: list[str] = []
        self.blocks = blocks or {"machine_0": IP, **OTHERS}

    @property
    def module(self) -> types.ModuleType:
        made: Any = types.ModuleType("pynq")
        made.Overlay, made.MMIO, made.allocate = self.overlay, self.mmio, self.allocate
        return made

    def overlay(self, bitfile: str) -> Any:
        if not bitfile.endswith(".bit"):
            raise OSError(f"Bitstream file {bitfile}\ndoes not exist.")
        self.loaded.append(bitfile)
        return types.SimpleNamespace(ip_dict=self.blocks)

    def mmio(self, base_addr: int, length: int) -> Mmio:
        assert (base_addr, length) == (REGISTERS_AT, 1 << ADDRESS_BITS)
        return Mmio(self.machine)

    def allocate(self, shape: tuple[int], dtype: type) -> Buffer:
        if shape[0] > self.room:
            raise RuntimeError("Failed to allocate memory!")
        buffer = np.full(shape, 0xA5, dtype).view(Buffer)
        buffer.board, buffer.device_address = self, MEMORY_AT
        self.n_buffers += 1
        return buffer


class Mmio:
    """Registers as words; other accesses would end the process."""

    def __init__(self, machine: SimulatorDevice) -> None:
        self.machine = machine

    def read(self, offset: int) -> np.uint32:
        return np.uint32(self.machine.read_register(offset))

    def write(self, offset: int, data: int) -> None:
        assert type(data) is int
        self.machine.write_register(offset, data)
