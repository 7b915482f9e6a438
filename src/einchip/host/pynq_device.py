"""A machine in the programmable logic of a board that runs PYNQ."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from einchip.host.device import DEFAULT_MEMORY_BYTES, Device, DeviceError, check_range
from einchip.registers import ADDRESS, ADDRESS_BITS

#: What the name or the type of the machine's block in the overlay has in it.
BLOCK: Final = "einchip"
_KNOWN: Final = frozenset(ADDRESS.values())


class PynqDevice(Device):
    """A bitstream loaded by PYNQ: registers through its MMIO, memory that it allocates.

    The bitstream's design has one block with "einchip" in its name or type, whose registers the
    processor reaches, and whose memory port reaches the processor's memory.

    Parameters
    ----------
    bitfile
        The bitstream, its hardware description (.hwh) beside it.
    memory_bytes
        Memory to allocate.

    Raises
    ------
    DeviceError
        PYNQ is not installed, cannot load the bitstream or allocate the memory; there is no such
        block, or more than one.
    """

    def __init__(self, bitfile: str, memory_bytes: int = DEFAULT_MEMORY_BYTES) -> None:
        try:
            pynq: Any = importlib.import_module("pynq")
        except ImportError:
            raise DeviceError(
                "pynq: found no such package: run on a board with a PYNQ image"
            ) from None
        with _said(f"{bitfile}: cannot load it"):
            blocks = pynq.Overlay(bitfile).ip_dict
        block = _block(bitfile, blocks)
        with _said(f"{bitfile}: cannot reach the registers"):
            self._registers: Any = pynq.MMIO(block["phys_addr"], 1 << ADDRESS_BITS)
        with _said(f"{bitfile}: cannot allocate {memory_bytes:,} bytes"):
            self._buffer: Any = pynq.allocate(shape=(memory_bytes,), dtype=np.uint8)
        self.memory_bytes, self.memory_base = memory_bytes, int(self._buffer.device_address)

    def read_register(self, address: int) -> int:
        return int(self._register(address).read(address))

    def write_register(self, address: int, value: int) -> None:
        self._register(address).write(address, value)

    def read_memory(self, address: int, n_bytes: int) -> bytes:
        part = self._part(address, n_bytes)
        if n_bytes:
            part.invalidate()
        return part.tobytes()

    def write_memory(self, address: int, data: bytes) -> None:
        part = self._part(address, len(data))
        part[:] = np.frombuffer(data, np.uint8)
        if data:
            part.flush()

    def close(self) -> None:
        """Free the memory; the bitstream stays loaded."""
        if self._buffer is not None:
            self._buffer.freebuffer()
        self._buffer = self._registers = None

    def _register(self, address: int) -> Any:
        """Return the registers, of which there is one at the address.

        A bus error would end the process (SIGBUS), so none is made.
        """
        self._require_open()
        if address not in _KNOWN:
            raise DeviceError(
                f"register {address:#x}: found none there, expected one of einchip.registers"
            )
        return self._registers

    def _part(self, address: int, n_bytes: int) -> Any:
        """Return a part of the memory, which shares it."""
        self._require_open()
        check_range(self, address, n_bytes)
        return self._buffer[address : address + n_bytes]

    def _require_open(self) -> None:
        if self._buffer is None:
            raise DeviceError("pynq: found the device closed: open it again")


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Turn the errors of PYNQ into a DeviceError that says what failed."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, MemoryError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise DeviceError(f"pynq: {what}: {said}") from None


def _block(bitfile: str, blocks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the machine's block of an overlay."""
    ours = [n for n, b in blocks.items() if BLOCK in n.lower() or BLOCK in str(b["type"]).lower()]
    if len(ours) != 1:
        found = ", ".join(ours or blocks) or "no block"
        raise DeviceError(
            f"pynq: {bitfile}: found {found}, expected one block with {BLOCK} in its name or type: "
            "name it so in the design"
        )
    return blocks[ours[0]]
