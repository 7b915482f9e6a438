"""What a host sees of a machine: its registers, and the memory that both share."""

from __future__ import annotations

import abc
from types import TracebackType
from typing import Final, Self

#: Bytes of memory, where nobody says how many.
DEFAULT_MEMORY_BYTES: Final = 1 << 24


class DeviceError(Exception):
    """A device that cannot be used; the message is one line: what failed and what to do."""


class Device(abc.ABC):
    """A machine, wherever it is; closed at the end of a `with`.

    Attributes
    ----------
    memory_bytes : external memory that the machine and the host share, from address 0.
    memory_base : where address 0 of that memory is for the machine. Whoever tells the machine of
        external addresses (BASE0 to BASE3, PROGRAM_ADDRESS) adds it; the methods here do not.
    """

    memory_bytes: int
    memory_base: int = 0

    @abc.abstractmethod
    def read_register(self, address: int) -> int:
        """Return the 32 bits of a register of `einchip.registers`. DeviceError on a bus error."""

    @abc.abstractmethod
    def write_register(self, address: int, value: int) -> None:
        """Write the 32 bits of a register. DeviceError on a bus error."""

    @abc.abstractmethod
    def read_memory(self, address: int, n_bytes: int) -> bytes:
        """Return bytes of memory, at any alignment, of any length within `memory_bytes`."""

    @abc.abstractmethod
    def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes of memory, at any alignment, of any length within `memory_bytes`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give the device up; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def check_range(device: Device, address: int, n_bytes: int) -> None:
    """Raise DeviceError unless the bytes lie in the memory of a device."""
    if address < 0 or n_bytes < 0 or address + n_bytes > device.memory_bytes:
        raise DeviceError(
            f"memory: found {n_bytes:,} bytes from {address:#x} on, expected them within the "
            f"{device.memory_bytes:,} bytes of the device; give it more memory"
        )
