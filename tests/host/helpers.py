"""Devices and register accesses that the tests of the host share."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import ArrayLike

from einchip.arch import PRESETS, Architecture
from einchip.compiler import folder
from einchip.compiler.compiled import Compiled
from einchip.compiler.folder import Folder
from einchip.host import Device, DeviceError
from einchip.host.emulated import Emulated, RtlDevice, SimulatorDevice
from einchip.program import WORD_BYTES, Instruction, Program
from einchip.reference import Host, Memory
from einchip.registers import ADDRESS, CONTROL_FETCH, CONTROL_START, REGISTERS
from tests.compiler import cases
from tests.compiler.helpers import compiled_small, compiled_vowels, labelled

NANO: Final = PRESETS["nano"]
MEMORY_BYTES: Final = 8 * 4096
#: Where programs lie in memory, if not said otherwise.
CODE: Final = 5 * 4096


def pair(
    native_cache: Path, arch: Architecture = NANO, latency: int = 8
) -> tuple[SimulatorDevice, RtlDevice]:
    """Return both emulated machines after power-up."""
    return (
        SimulatorDevice(arch, MEMORY_BYTES, latency),
        RtlDevice(arch, MEMORY_BYTES, native_cache, latency),
    )


def preset(devices: tuple[Emulated, ...], memory: Memory) -> None:
    """Give machines the scratchpads and the first bytes of external memory of a case."""
    for device in devices:
        device.state.x[:], device.state.y[:] = memory.x, memory.y
        device.write_memory(0, bytes(memory.external))


def write(device: Device, **values: int) -> None:
    """Write registers by their names."""
    for name, value in values.items():
        device.write_register(ADDRESS[name], value)


def read(device: Device, name: str) -> int:
    """Read a register by its name."""
    return device.read_register(ADDRESS[name])


def set_host(device: Device, host: Host) -> None:
    """Write bases and arguments."""
    write(device, **{f"BASE{k}": v for k, v in enumerate(host.bases)})
    write(device, **{f"ARG{k}": v for k, v in enumerate(host.args)})


def start(device: Device, *instructions: Instruction, at: int = CODE) -> None:
    """Put a program into memory, and start it with a fetch."""
    start_words(device, Program(instructions).encode(), at)


def start_words(device: Device, words: bytes, at: int = CODE) -> None:
    """Put words into memory, as many as there is room for, and start them with a fetch."""
    device.write_memory(at, words[: device.memory_bytes - at])
    write(device, PROGRAM_ADDRESS=at, PROGRAM_WORDS=len(words) // WORD_BYTES)
    write(device, CONTROL=CONTROL_START | CONTROL_FETCH)


def error(device: Device) -> tuple[int, int, int]:
    """Return STATUS, ERROR_CODE and ERROR_ADDRESS."""
    return read(device, "STATUS"), read(device, "ERROR_CODE"), read(device, "ERROR_ADDRESS")


def registers(device: Device) -> dict[str, int]:
    """Return all registers by name."""
    return {r.name: device.read_register(r.address) for r in REGISTERS}


def same(a: Emulated, b: Emulated) -> bool:
    """Whether two machines agree in every register and every byte."""
    states = (a.state, b.state)
    return (
        registers(a) == registers(b)
        and a.irq == b.irq
        and states[0].external == states[1].external
        and all(np.array_equal(states[0].space(s), states[1].space(s)) for s in (0, 1))
    )


class Changed(Device):
    """A device of which some registers read something else, and some accesses fail.

    Attributes
    ----------
    values : what registers read, by name, in place of what they hold.
    fails_in : after so many accesses each one fails; None for never.
    """

    def __init__(self, device: Device, **values: int) -> None:
        self.device, self.values = device, values
        self.memory_bytes, self.memory_base = device.memory_bytes, device.memory_base
        self.fails_in: int | None = None

    def _count(self) -> None:
        if self.fails_in is not None:
            self.fails_in -= 1
            if self.fails_in < 0:
                raise DeviceError("line: found no answer, expected one: plug it in")

    def read_register(self, address: int) -> int:
        self._count()
        found = self.device.read_register(address)
        return next((v for n, v in self.values.items() if ADDRESS[n] == address), found)

    def write_register(self, address: int, value: int) -> None:
        self._count()
        self.device.write_register(address, value)

    def read_memory(self, address: int, n_bytes: int) -> bytes:
        self._count()
        return self.device.read_memory(address, n_bytes)

    def write_memory(self, address: int, data: bytes) -> None:
        self._count()
        self.device.write_memory(address, data)

    def close(self) -> None:
        self.device.close()


def folder_of(compiled: Compiled, sequences: Sequence[ArrayLike]) -> Folder:
    """Return a compiled model as it is read back."""
    with tempfile.TemporaryDirectory() as place:
        folder.write(compiled, sequences, Path(place) / "folder")
        return folder.read(Path(place) / "folder")


@cache
def vowels() -> Folder:
    """The compressed example on small, with its first test sequences, the shortest last."""
    found = sorted(labelled("test").sequences[:40], key=len)
    return folder_of(compiled_vowels("mps", "small", 8), [found[2], found[1], found[0]])


@cache
def zoo(name: str = "mpo lstm") -> Folder:
    """A small random model on nano."""
    return folder_of(compiled_small(name), cases.sequences(name, (4, 1, 3)))


def refused(action: Callable[[], object]) -> str:
    """Return the message of the DeviceError, which is one line."""
    with pytest.raises(DeviceError) as caught:
        action()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message
