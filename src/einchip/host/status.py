"""How a machine is, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from einchip.host.device import Device, DeviceError
from einchip.program import Error, Space
from einchip.registers import (
    ADDRESS,
    STATUS_DONE,
    STATUS_ERROR,
    STATUS_RUNNING,
    error_meanings,
)

#: Errors whose address is one of external memory.
BUS_ERRORS: Final = (Error.AXI_READ, Error.AXI_WRITE)


def error_in_words(code: int, address: int) -> str:
    """Return what ERROR_CODE and ERROR_ADDRESS say."""
    if code not in set(Error):
        return f"error {code}, which is unknown ({address:#x})"
    error = Error(code)
    meaning, _, what = error_meanings()[error].partition(": ")
    value = f"{address:#x}" if error in BUS_ERRORS else str(address)
    if error is Error.ADDRESS:  # space << 31 | address
        what, value = Space(address >> 31).name, str(address & ~(1 << 31))
    return f"{error.name}: {meaning} ({what} {value})"


@dataclass(frozen=True)
class Status:
    """What the registers say: STATUS, ERROR_CODE and ERROR_ADDRESS, and the counter of cycles."""

    bits: int
    error_code: int
    error_address: int
    cycles: int

    @classmethod
    def read(cls, device: Device) -> Status:
        """Read it from a machine, running or not."""
        names = ("STATUS", "ERROR_CODE", "ERROR_ADDRESS")
        bits, code, address = (device.read_register(ADDRESS[name]) for name in names)
        return cls(bits, code, address, read_counter(device, "cycles"))

    @property
    def running(self) -> bool:
        return bool(self.bits & STATUS_RUNNING)

    @property
    def done(self) -> bool:
        return bool(self.bits & STATUS_DONE)

    @property
    def failed(self) -> bool:
        return bool(self.bits & STATUS_ERROR)

    @property
    def error(self) -> str:
        """The error in words."""
        return error_in_words(self.error_code, self.error_address)

    def __str__(self) -> str:
        flags = {"RUNNING": self.running, "DONE": self.done, "ERROR": self.failed}
        said = " ".join(name for name, is_set in flags.items() if is_set) or "idle"
        return f"status {said}, {self.error if self.failed else 'no error'}, {self.cycles:,} cycles"


class MachineStopError(DeviceError):
    """The machine stopped with an error; `status` is how it was then."""

    def __init__(self, what: str, status: Status) -> None:
        super().__init__(
            f"machine: {what} stopped after {status.cycles:,} cycles with {status.error}; load "
            "again, and if it stops again, compile again"
        )
        self.status = status


def read_counter(device: Device, name: str) -> int:
    """Return a performance counter, of a machine that may be running."""
    low, high = (ADDRESS[f"{name.upper()}_{half}"] for half in ("LO", "HI"))
    found = device.read_register(high)
    while True:
        value, before, found = device.read_register(low), found, device.read_register(high)
        if before == found:  # the low word did not run over meanwhile
            return found << 32 | value
