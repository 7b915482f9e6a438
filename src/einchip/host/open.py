"""Devices by their addresses, such as "simulator" or "serial:/dev/ttyUSB0"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from einchip.arch import Architecture
from einchip.host.device import DEFAULT_MEMORY_BYTES, Device, DeviceError
from einchip.mistakes import did_you_mean

#: The kinds of devices, and what stands behind the colon.
KINDS: Final = {
    "simulator": "",
    "rtl": "",
    "serial": "PORT[@BAUD]",
    "spi": "NODE[@HZ]",
    "pynq": "FILE",
}
#: Digits of a rate, at most: what operating systems take has 32 bits.
RATE_DIGITS: Final = 9
#: Addresses that end in a rate, by kind.
EXAMPLES: Final = {"serial": "serial:/dev/ttyUSB0@115200", "spi": "spi:/dev/spidev0.0@500000"}


@dataclass(frozen=True)
class Address:
    """A device's address taken apart; `rate` (baud, Hz) is of lines, where it is said."""

    kind: str
    place: str = ""
    rate: int | None = None

    @classmethod
    def of(cls, text: str) -> Address:
        """Read an address. Raises DeviceError."""
        kind, colon, place = text.partition(":")
        if kind not in KINDS:
            hint = did_you_mean(kind, KINDS)
            raise DeviceError(f"device: found {text!r}, expected {_expected()}{hint}")
        if bool(place) != bool(KINDS[kind]) or (colon and not place):
            raise DeviceError(f"device: found {text!r}, expected {_form(kind)}")
        if kind not in EXAMPLES or "@" not in place:
            return cls(kind, place)
        place, _, rate = place.rpartition("@")
        known = rate.isdecimal() and len(rate) <= RATE_DIGITS
        if not place or not known or not int(rate):
            raise DeviceError(
                f"device: found {text!r}, expected {_form(kind)}, such as {EXAMPLES[kind]}"
            )
        return cls(kind, place, int(rate))


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
        One of KINDS, such as simulator, or serial:PORT@BAUD.
    arch
        The machine, of devices that are made here (simulator, rtl); others have theirs.
    memory_bytes
        External memory, of devices that choose it; a board says how much it has.

    Raises
    ------
    DeviceError
        There is no such device, or it does not answer.
    """
    address = Address.of(text)
    if address.kind == "serial":
        from einchip.host.serial_port import DEFAULT_BAUD, SerialDevice

        return SerialDevice(address.place, address.rate or DEFAULT_BAUD)
    if address.kind == "spi":
        from einchip.host.spi_port import DEFAULT_HZ, SpiDevice

        return SpiDevice(address.place, address.rate or DEFAULT_HZ)
    if address.kind == "pynq":
        from einchip.host.pynq_device import PynqDevice

        return PynqDevice(address.place, memory_bytes)
    from einchip.host import emulated

    if address.kind == "rtl":
        return emulated.RtlDevice(arch, memory_bytes)
    return emulated.SimulatorDevice(arch, memory_bytes)
