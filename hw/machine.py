"""The machine of an architecture, whichever it is."""

from einchip.arch import Architecture
from einchip.hw.serial import SerialTop
from einchip.hw.top import Top


def machine(arch: Architecture) -> Top | SerialTop:
    """Return the machine; its members are those of `Top`."""
    return SerialTop(arch) if arch.serial else Top(arch)
