"""A board as the tests of its links have it: a simulated machine that answers requests."""

from __future__ import annotations

from collections.abc import Callable

from einchip.arch import PRESETS
from einchip.host.emulated import SimulatorDevice
from einchip.link import (
    OPEN_ANSWER,
    PROTOCOL,
    Answer,
    Kind,
    Request,
    Status,
    answer_bytes,
)

NANO = PRESETS["nano"]
MEMORY = 4096
#: Seconds until a request is sent again.
RETRY = 0.05
Reply = Callable[[Request], bytes | None]


class Peer:
    """Answers as a board does; `asked` are the requests that came."""

    def __init__(self, protocol: int = PROTOCOL) -> None:
        self.device, self.asked = SimulatorDevice(NANO, MEMORY), list[Request]()
        self._protocol = protocol

    def __call__(self, request: Request) -> bytes | None:
        self.asked.append(request)
        return answer_bytes(Answer(request.kind, request.tag, Status.OK, self._data(request)))

    def _data(self, request: Request) -> bytes:
        address, device = request.address, self.device
        if request.kind is Kind.OPEN:
            return OPEN_ANSWER.pack(self._protocol, MEMORY)
        if request.kind is Kind.READ_REGISTER:
            return device.read_register(address).to_bytes(4, "little")
        if request.kind is Kind.READ_MEMORY:
            return device.read_memory(address, request.length)
        if request.kind is Kind.WRITE_REGISTER:
            device.write_register(address, int.from_bytes(request.data, "little"))
        else:
            device.write_memory(address, request.data)
        return b""
