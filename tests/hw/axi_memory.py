"""An external memory behind an AXI4 master, timed as docs/timing.md says; Amaranth simulator."""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from einchip.hw.axi import BOUNDARY_BYTES, INCR, OKAY, SLVERR

_READ = ("araddr", "arlen", "arsize", "arburst")
_WRITE = ("awaddr", "awlen", "awsize", "awburst")
_DATA = ("wdata", "wstrb", "wlast")
_OUTPUTS = (*_READ, "arvalid", *_WRITE, "awvalid", *_DATA, "wvalid", "rready", "bready")


@dataclass(frozen=True)
class Burst:
    """An accepted address."""

    kind: str  # "read" or "write"
    cycle: int
    address: int
    beats: int


@dataclass
class Stalls:
    """When a channel is closed: in runs of 1 to `longest` cycles, each with probability `share`."""

    random: random.Random
    share: float = 0.5
    longest: int = 6
    _left: int = 0
    _closed: bool = False

    def open(self) -> bool:
        """Return whether the channel is open; to be asked once a cycle."""
        if not self._left:
            self._closed = self.random.random() < self.share
            self._left = self.random.randint(1, self.longest)
        self._left -= 1
        return not self._closed


@dataclass
class AxiMemory:
    """The memory; add `run` to a simulator as a background testbench.

    It answers as "The memory model" of docs/timing.md says, or, with a `seed`, with all channels
    stalled at random. A beat that touches one of `faults`, or lies outside, answers SLVERR. What
    breaks a rule of AXI raises AssertionError.
    """

    bus: Any
    data_bytes: int
    content: bytearray
    latency: int = 8
    seed: int | None = None
    faults: Sequence[range] = ()
    awake_from: int = 0  # accepts and answers nothing before this cycle
    bursts: list[Burst] = field(default_factory=list)
    cycle: int = 0

    def __post_init__(self) -> None:
        seed = self.seed
        self._stalls = {
            name: None if seed is None else Stalls(random.Random(f"{seed} {name}"))
            for name in ("ar", "r", "aw", "w", "b")
        }
        self._reads: deque[Burst] = deque()
        self._read_at = 0  # beats of the first read burst that were accepted
        self._writes: deque[Burst] = deque()
        self._written = 0
        self._write_failed = False
        self._responses: deque[tuple[int, int]] = deque()  # due, response
        self._shown: dict[str, tuple[int, ...]] = {}
        self._valid = {"r": False, "b": False}

    async def run(self, ctx: Any) -> None:
        """Serve the bus for ever."""
        signals = [getattr(self.bus, name) for name in _OUTPUTS]
        while True:
            ready = self._drive(ctx)
            _, reset, *values = await ctx.tick().sample(*signals)
            now = dict(zip(_OUTPUTS, values, strict=True))
            if not reset:
                self._accept(now, ready)
            self.cycle += 1

    def _open(self, channel: str) -> bool:
        stalls = self._stalls[channel]
        return self.cycle >= self.awake_from and (stalls is None or stalls.open())

    def _drive(self, ctx: Any) -> dict[str, bool]:
        ready = {name: self._open(name) for name in ("ar", "aw", "w")}
        for name, value in ready.items():
            ctx.set(getattr(self.bus, f"{name}ready"), value)
        r_open, b_open = self._open("r"), self._open("b")
        if self._reads and self.cycle >= self._reads[0].cycle + self.latency and r_open:
            self._valid["r"] = True
        if self._responses and self.cycle >= self._responses[0][0] and b_open:
            self._valid["b"] = True
        ctx.set(self.bus.rvalid, self._valid["r"])
        ctx.set(self.bus.bvalid, self._valid["b"])
        if self._valid["b"]:
            ctx.set(self.bus.bresp, self._responses[0][1])
        if self._valid["r"]:
            burst = self._reads[0]
            address = burst.address + self._read_at * self.data_bytes
            failed = self._fails(address)
            beat = bytes(self.data_bytes) if failed else self.content[address:][: self.data_bytes]
            ctx.set(self.bus.rdata, int.from_bytes(beat, "little"))
            ctx.set(self.bus.rresp, SLVERR if failed else OKAY)
            ctx.set(self.bus.rlast, self._read_at == burst.beats - 1)
        return ready

    def _fails(self, address: int) -> bool:
        end = address + self.data_bytes
        inside = end <= len(self.content)
        return not inside or any(f.start < end and address < f.stop for f in self.faults)

    def _accept(self, now: dict[str, int], ready: dict[str, bool]) -> None:
        if self._valid["r"] and now["rready"]:
            self._valid["r"] = False
            self._read_at += 1
            if self._read_at == self._reads[0].beats:
                self._reads.popleft()
                self._read_at = 0
        if self._valid["b"] and now["bready"]:
            self._valid["b"] = False
            self._responses.popleft()
        for channel, payload in (("ar", _READ), ("aw", _WRITE), ("w", _DATA)):
            self._check_stable(channel, now, ready[channel], payload)
        if now["arvalid"] and ready["ar"]:
            self._reads.append(self._address("read", "ar", now))
        if now["awvalid"] and ready["aw"]:
            self._writes.append(self._address("write", "aw", now))
        if now["wvalid"] and ready["w"]:
            self._write(now)

    def _check_stable(
        self, channel: str, now: dict[str, int], ready: bool, names: tuple[str, ...]
    ) -> None:
        payload = tuple(now[name] for name in names)
        valid = now[f"{channel}valid"]
        if channel in self._shown:
            assert valid, f"cycle {self.cycle}: {channel}valid was withdrawn"
            assert payload == self._shown[channel], f"cycle {self.cycle}: {channel} changed"
        self._shown.pop(channel, None)
        if valid and not ready:
            self._shown[channel] = payload

    def _address(self, kind: str, channel: str, now: dict[str, int]) -> Burst:
        address, beats = now[f"{channel}addr"], now[f"{channel}len"] + 1
        size = beats * self.data_bytes
        assert now[f"{channel}burst"] == INCR
        assert 1 << now[f"{channel}size"] == self.data_bytes
        assert address % self.data_bytes == 0
        assert address // BOUNDARY_BYTES == (address + size - 1) // BOUNDARY_BYTES, "4 KiB rule"
        burst = Burst(kind, self.cycle, address, beats)
        self.bursts.append(burst)
        return burst

    def _write(self, now: dict[str, int]) -> None:
        assert self._writes, f"cycle {self.cycle}: data before their address"
        burst = self._writes[0]
        address = burst.address + self._written * self.data_bytes
        data = now["wdata"].to_bytes(self.data_bytes, "little")
        if self._fails(address):
            self._write_failed = True
        else:
            for k in range(self.data_bytes):
                if now["wstrb"] >> k & 1:
                    self.content[address + k] = data[k]
        self._written += 1
        assert now["wlast"] == (self._written == burst.beats), f"cycle {self.cycle}: wlast"
        if now["wlast"]:
            response = SLVERR if self._write_failed else OKAY
            self._responses.append((self.cycle + self.latency, response))
            self._writes.popleft()
            self._written, self._write_failed = 0, False
