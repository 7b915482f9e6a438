"""Devices by their addresses, such as "simulator" or "serial:/dev/ttyUSB0"."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final

from einchip.arch import Architecture
from einchip.host.device import DEFAULT_MEMORY_BYTES, Device, DeviceError

#: The kinds of devices, and what stands behind the colon.
KINDS: Final = {"simulator": "", "rtl": "", "serial": "PORT[@BAUD]", "pynq": "FILE"}


@dataclass(frozen=True)
class Address:
    """A device's address taken apart; `baud` is of serial ones, where it is said."""

    kind: str
    place: str = ""
    baud: int | None = None

    @classmethod
    def of(cls, text: str) -> Address:
        """Read an address. Raises DeviceError."""
        kind, colon, place = text.partition(":")
        if kind not in KINDS:
            near = difflib.get_close_matches(kind.lower(), KINDS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise DeviceError(f"device: found {text!r}, expected {_expected()}{hint}")
        if bool(place) != bool(KINDS[kind]) or (colon and not place):
            raise DeviceError(f"device: found {text!r}, expected {_form(kind)}")
        if kind != "serial" or "@" not in place:
            return cls(kind, place)
        place, _, baud = place.rpartition("@")
        if not place or not baud.isdecimal() or not int(baud):
            raise DeviceError(
                f"device: found {text!r}, expected {_form(kind)}, such as "
                "serial:/dev/ttyUSB0@115200"
            )
        return cls(kind, place, int(baud))


def _form(kind: str) -> str:
    return f"{kind}:{KINDS[kind]}" if KINDS[kind] else kind


def _expected() -> str:
    forms = [_form(kind) for kind in KINDS]
    return f"{', '.join(forms[:-1])} or {forms[-1]}"


def open_device(text: str, arch: Architecture, memory_bytes: int = DEFAULT_MEMORY_BYTES) -> Device:
    """Open the device of an address.

    Parameters
    ----------
    text
        simulator, rtl, serial:PORT, serial:PORT@BAUD or pynq:FILE.
    arch
        The machine, of devices that are made here (simulator, rtl); others have theirs.
    memory_bytes
        External memory, of devices that choose it; a serial one says how much it has.

    Raises
    ------
    DeviceError
        There is no such device, or it does not answer.
    """
    address = Address.of(text)
    if address.kind == "serial":
        from einchip.host.serial_port import SerialDevice

        if address.baud is None:
            return SerialDevice(address.place)
        return SerialDevice(address.place, address.baud)
    if address.kind == "pynq":
        from einchip.host.pynq_device import PynqDevice

        return PynqDevice(address.place, memory_bytes)
    from einchip.host import emulated

    if address.kind == "rtl":
        return emulated.RtlDevice(arch, memory_bytes)
    return emulated.SimulatorDevice(arch, memory_bytes)
