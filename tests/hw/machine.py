"""The whole RTL machine in the Amaranth simulator, with an external memory and a host."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from einchip import reference
from einchip.arch import CELLS, PRESETS, Architecture
from einchip.hw.machine import machine as machine_of
from einchip.hw.serial import SerialTop
from einchip.hw.serial_memory import Part, parts
from einchip.program import WORD_BYTES
from einchip.registers import (
    CONTROL_FETCH,
    CONTROL_IRQ_CLEAR,
    CONTROL_START,
    COUNTERS,
    STATUS_DONE,
    STATUS_ERROR,
    STATUS_RUNNING,
)
from tests.hw.axi_memory import AxiMemory, Burst
from tests.hw.host import HostPort
from tests.hw.simulator import bench_of

#: A machine of 16 bits that is quickly generated; a beat of its port carries eight elements.
OF_16_BITS = PRESETS["nano"].override(
    data_bits=16, lanes=8, rows=8, port_bytes=WORD_BYTES, x_depth=16
)

#: Products per lane of the vector unit, by the machine's cells: gate times candidate and factor
#: times state of all, output times state of an LSTM; weights times state, and what depends on a
#: result, of peepholes.
PRODUCTS: dict[tuple[str, ...], int] = {
    CELLS: 5, ("peephole",): 5, ("lstm", "gru"): 4, ("lstm",): 3, ("gru",): 3, ("gru_before",): 2,
    (): 0,
}  # fmt: skip
#: Activations per lane, each of which interpolates by a product: of the gates, and of the state or
#: of a candidate that needs a result.
ACTIVATIONS: dict[tuple[str, ...], int] = {
    CELLS: 2, ("peephole",): 2, ("lstm", "gru"): 2, ("lstm",): 2, ("gru",): 2, ("gru_before",): 1,
    (): 0,
}  # fmt: skip


def n_products(arch: Architecture) -> dict[str, int]:
    """Return the products of array and vector unit: of elements, and of activations."""
    per_lane = PRODUCTS[arch.cells] + ACTIVATIONS[arch.cells]
    return {"array": arch.rows * arch.cols + arch.cols, "vector": arch.lanes * per_lane}


@dataclass
class Run:
    """How one run ended, and what it left."""

    error: tuple[int, int] | None
    counters: dict[str, int]
    memory: reference.Memory
    bursts: list[Burst]

    @property
    def cycles(self) -> int:
        return self.counters["cycles"]


@dataclass
class Machine:
    """A machine that begins with this memory; `seed` stalls the bus at random."""

    arch: Architecture
    memory: reference.Memory
    latency: int = 8
    seed: int | None = None
    faults: Sequence[range] = ()
    awake_from: int = 0
    max_cycles: int = 50_000
    bus: AxiMemory = field(init=False)

    def script(self, script: Callable[["Machine", Any, HostPort], Awaitable[None]]) -> None:
        """Simulate `script(machine, ctx, port)` from reset."""
        bench = bench_of(machine_of, self.arch)
        self.top = bench.dut
        self.bus = AxiMemory(
            self.top.m_axi,
            self.arch.port_bytes,
            bytearray(self.memory.external),
            latency=self.latency,
            seed=self.seed,
            faults=self.faults,
            awake_from=self.awake_from,
        )

        async def main(ctx: Any) -> None:
            self._fill(ctx)
            await script(self, ctx, HostPort(ctx, self.top.s_axil))

        bench.run(main, self.bus.run)

    def _cells(self) -> list[tuple[int, int]]:
        """Return the first cell and the number of cells of X and Y of a serial machine."""
        found = parts(self.arch)
        return [(found[p].start, len(found[p])) for p in (Part.X, Part.Y)]

    def _fill(self, ctx: Any) -> None:
        """Put the scratchpads' contents into their banks."""
        if isinstance(self.top, SerialTop):
            for space, (first, _) in enumerate(self._cells()):
                content = reference.to_bytes(self.memory.space(space), self.arch)
                for k, cell in enumerate(np.frombuffer(content, "<u2")):
                    ctx.set(self.top.engine.memory.cells.data[first + k], int(cell))
            return
        for space, pad in enumerate(self.top.scratchpads):
            for address in np.flatnonzero(self.memory.space(space)):
                row, bank = divmod(int(address), self.arch.lanes)
                ctx.set(pad.banks[bank].data[row], int(self.memory.space(space)[address]))

    async def start(
        self,
        port: HostPort,
        program_address: int,
        n_words: int,
        host: reference.Host | None = None,
        *,
        fetch: bool = True,
        watchdog: int = 2000,
    ) -> None:
        """Set the host's registers and start."""
        host = host or reference.Host()
        await port.set("PROGRAM_ADDRESS", program_address)
        await port.set("PROGRAM_WORDS", n_words)
        await port.set("WATCHDOG", watchdog)
        await port.set("IRQ_ENABLE", 1)
        for k, value in enumerate(host.bases):
            await port.set(f"BASE{k}", value)
        for k, value in enumerate(host.args):
            await port.set(f"ARG{k}", value)
        await port.set("CONTROL", CONTROL_START | (CONTROL_FETCH if fetch else 0))

    async def finish(self, ctx: Any, port: HostPort, *, counters: bool = True) -> Run:
        """Wait for the interrupt, clear it, and return what the run left."""
        for _ in range(self.max_cycles):
            if ctx.get(self.top.irq):
                break
            await ctx.tick()
        else:
            raise AssertionError(f"the machine hangs, status {await port.get('STATUS')}")
        await port.set("CONTROL", CONTROL_IRQ_CLEAR)
        status = await port.get("STATUS")
        assert status & (STATUS_DONE | STATUS_RUNNING) == STATUS_DONE
        code, address = await port.get("ERROR_CODE"), await port.get("ERROR_ADDRESS")
        error = (code, address) if status & STATUS_ERROR else None
        values = {c.name: await port.counter(c.name) for c in COUNTERS} if counters else {}
        return Run(error, values, self.content(ctx), list(self.bus.bursts))

    def content(self, ctx: Any) -> reference.Memory:
        """Return what scratchpads and external memory hold now."""
        if isinstance(self.top, SerialTop):
            cells = self.top.engine.memory.cells.data
            x, y = (
                np.array([ctx.get(cells[first + k]) for k in range(n)], "<u2").tobytes()
                for first, n in self._cells()
            )
            external = bytearray(self.bus.content)
            return reference.Memory(
                reference.from_bytes(x, self.arch), reference.from_bytes(y, self.arch), external
            )
        spaces = []
        for space, pad in enumerate(self.top.scratchpads):
            values = np.zeros(self.arch.capacity(space), dtype=np.int64)
            for k, bank in enumerate(pad.banks):
                rows = [ctx.get(bank.data[row]) for row in range(len(values) // self.arch.lanes)]
                values[k :: self.arch.lanes] = rows
            half = 1 << (self.arch.data_bits - 1)
            spaces.append((values + half) % (2 * half) - half)
        return reference.Memory(spaces[0], spaces[1], bytearray(self.bus.content))

    def run(
        self,
        code: bytes,
        host: reference.Host | None = None,
        *,
        program_address: int = 0,
        n_words: int | None = None,
        watchdog: int = 2000,
    ) -> Run:
        """Fetch and run a binary that is put at `program_address`; return how it ended."""
        self.memory.external[program_address : program_address + len(code)] = code
        runs: list[Run] = []

        async def script(machine: Machine, ctx: Any, port: HostPort) -> None:
            words = len(code) // WORD_BYTES if n_words is None else n_words
            await machine.start(port, program_address, words, host, watchdog=watchdog)
            runs.append(await machine.finish(ctx, port))

        self.script(script)
        return runs[0]
