"""The host's side of the AXI4-Lite port, for the Amaranth simulator."""

import random
from dataclasses import dataclass
from typing import Any

from einchip.hw.axi import OKAY
from einchip.registers import ADDRESS


@dataclass
class HostPort:
    """Writes and reads registers, one at a time; with `gaps`, at random paces on every channel."""

    ctx: Any
    bus: Any
    gaps: random.Random | None = None

    def _pace(self) -> int:
        return self.gaps.randint(0, 3) if self.gaps else 0

    async def write(self, address: int, value: int, strobes: int = 0b1111) -> int:
        """Return the response."""
        bus, ctx = self.bus, self.ctx
        ctx.set(bus.awaddr, address)
        ctx.set(bus.wdata, value)
        ctx.set(bus.wstrb, strobes)
        wait = {"aw": self._pace(), "w": self._pace()}
        while wait:
            for channel, left in wait.items():
                ctx.set(getattr(bus, f"{channel}valid"), left == 0)
            _, _, *ready = await ctx.tick().sample(bus.awready, bus.wready)
            taken = dict(zip(("aw", "w"), ready, strict=True))
            for channel, left in list(wait.items()):
                if left == 0 and taken[channel]:
                    ctx.set(getattr(bus, f"{channel}valid"), 0)
                    del wait[channel]
                else:
                    wait[channel] = max(left - 1, 0)
        return (await self._answer("b", bus.bresp))[0]

    async def read(self, address: int) -> tuple[int, int]:
        """Return value and response."""
        bus, ctx = self.bus, self.ctx
        ctx.set(bus.araddr, address)
        ctx.set(bus.arvalid, 1)
        await ctx.tick().until(bus.arready)
        ctx.set(bus.arvalid, 0)
        value, response = await self._answer("r", bus.rdata, bus.rresp)
        return value, response

    async def _answer(self, channel: str, *payload: Any) -> tuple[int, ...]:
        bus, ctx = self.bus, self.ctx
        for _ in range(self._pace()):
            await ctx.tick()
        ctx.set(getattr(bus, f"{channel}ready"), 1)
        values = await ctx.tick().sample(*payload).until(getattr(bus, f"{channel}valid"))
        ctx.set(getattr(bus, f"{channel}ready"), 0)
        return tuple(values)

    async def set(self, name: str, value: int) -> None:
        """Write a register by its name."""
        assert await self.write(ADDRESS[name], value) == OKAY

    async def get(self, name: str) -> int:
        """Read a register by its name."""
        value, response = await self.read(ADDRESS[name])
        assert response == OKAY
        return value

    async def counter(self, name: str) -> int:
        """Read a performance counter."""
        low, high = [await self.get(f"{name.upper()}_{part}") for part in ("LO", "HI")]
        return high << 32 | low
