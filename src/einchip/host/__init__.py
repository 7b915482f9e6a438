"""The host's side: devices behind one interface, and sessions that run compiled models on them.

`open_device` gives a device, `Session(device, arch)` loads a folder on it and runs sequences.
"""

from __future__ import annotations

from einchip.host.device import Device, DeviceError
from einchip.host.open import Address, open_device
from einchip.host.session import Layout, Result, Session
from einchip.host.status import MachineStopError, Status

__all__ = [
    "Address",
    "Device",
    "DeviceError",
    "Layout",
    "MachineStopError",
    "Result",
    "Session",
    "Status",
    "open_device",
]
