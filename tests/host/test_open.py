"""Addresses of devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from einchip.host import Address, open_device
from einchip.host.device import DEFAULT_MEMORY_BYTES
from einchip.host.emulated import RtlDevice, SimulatorDevice
from einchip.registers import ID_VALUE
from einchip.verify.machine import RtlMachine
from tests.host.helpers import NANO, read, refused


def test_addresses_are_taken_apart() -> None:
    assert Address.of("simulator") == Address("simulator")
    assert Address.of("rtl") == Address("rtl")
    assert Address.of("serial:/dev/ttyUSB0") == Address("serial", "/dev/ttyUSB0")
    assert Address.of("serial:COM3@9600") == Address("serial", "COM3", 9600)
    assert Address.of("serial:a@b@9600") == Address("serial", "a@b", 9600)
    assert Address.of("spi:/dev/spidev0.1") == Address("spi", "/dev/spidev0.1")
    assert Address.of("spi:/dev/spidev0.1@500000") == Address("spi", "/dev/spidev0.1", 500_000)
    assert Address.of("pynq:a@1:b.bit") == Address("pynq", "a@1:b.bit")


KINDS = "simulator, rtl, serial:PORT[@BAUD], spi:NODE[@HZ] or pynq:FILE"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("simulater", f"device: found 'simulater', expected {KINDS}; did you mean simulator?"),
        ("RTL", f"device: found 'RTL', expected {KINDS}; did you mean rtl?"),
        ("seriel:x", f"device: found 'seriel:x', expected {KINDS}; did you mean serial?"),
        ("/dev/ttyUSB0", f"device: found '/dev/ttyUSB0', expected {KINDS}"),
        ("", f"device: found '', expected {KINDS}"),
        ("rtl:x", "device: found 'rtl:x', expected rtl"),
        ("simulator:", "device: found 'simulator:', expected simulator"),
        ("serial", "device: found 'serial', expected serial:PORT[@BAUD]"),
        ("serial:", "device: found 'serial:', expected serial:PORT[@BAUD]"),
        ("pynq", "device: found 'pynq', expected pynq:FILE"),
        *(
            (
                f"serial:{place}",
                f"device: found 'serial:{place}', expected serial:PORT[@BAUD], such as "
                "serial:/dev/ttyUSB0@115200",
            )
            for place in ("x@", "x@fast", "x@0", "@9600", "x@-1", "x@9999999999", "x@" + "9" * 5000)
        ),
        (
            "spi:x@1MHz",
            "device: found 'spi:x@1MHz', expected spi:NODE[@HZ], such as spi:/dev/spidev0.0@500000",
        ),
    ],
)
def test_address_of_no_device(text: str, message: str) -> None:
    assert refused(lambda: open_device(text, NANO)) == message


def test_emulated_machines_are_opened(native_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = RtlMachine.build
    monkeypatch.setattr(RtlMachine, "build", lambda arch, *_: build(arch, native_cache))
    for text, kind in (("simulator", SimulatorDevice), ("rtl", RtlDevice)):
        with open_device(text, NANO, 8192) as device:
            assert type(device) is kind
            assert (device.memory_base, device.memory_bytes) == (0, 8192)
            assert read(device, "ID") == ID_VALUE
            assert read(device, "CONFIG_HASH") == NANO.config_hash
    assert open_device("simulator", NANO).memory_bytes == DEFAULT_MEMORY_BYTES


def test_port_that_is_not_there() -> None:
    message = refused(lambda: open_device("serial:/dev/no-such-port@9600", NANO))
    assert message.startswith("/dev/no-such-port: ")
    assert "no such file or directory" in message
