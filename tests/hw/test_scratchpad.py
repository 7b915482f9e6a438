"""hw.scratchpad against a NumPy array, with the latencies of docs/timing.md."""

from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from einchip.arch import PRESETS, READ_LATENCY, WRITE_LATENCY, Architecture
from einchip.hw.interfaces import READ_CLIENTS, WINDOW_CLIENTS, WRITE_CLIENTS
from einchip.hw.scratchpad import Scratchpad
from einchip.program import Error

Access = tuple[int, list[int], int]  # base, offsets, enable


def machine(lanes: int = 4, data_bits: int = 8) -> Architecture:
    rows = min(lanes, 4)
    return PRESETS["nano"].override(
        rows=rows, cols=rows, lanes=lanes, data_bits=data_bits, x_depth=16, y_depth=32
    )


def simulate(dut: Scratchpad, bench: Any) -> None:
    simulator: Any = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def access(rng: np.random.Generator, arch: Architecture, space: int) -> Access:
    """Draw a conflict-free access: enabled lanes in different banks, others anywhere."""
    rows, banks = arch.capacity(space) // arch.lanes, rng.permutation(arch.lanes)
    addresses = rng.integers(0, rows, arch.lanes) * arch.lanes + banks
    enable = int(rng.integers(0, 1 << arch.lanes))
    used = [int(a) for p, a in enumerate(addresses) if enable >> p & 1]
    base = int(rng.integers(0, min(used, default=0) + 1))
    offsets = [
        int(a) - base if enable >> p & 1 else int(rng.integers(0, 1 << 20))
        for p, a in enumerate(addresses)
    ]
    return base, offsets, enable


def request(ctx: Any, port: Any, valid: bool, what: Access) -> None:
    ctx.set(port.valid, valid)
    ctx.set(port.base, what[0])
    ctx.set(port.offsets, what[1])
    ctx.set(port.enable, what[2])


@pytest.mark.parametrize("arch", [machine(), machine(8, 16)], ids=["4 lanes", "8 lanes"])
@pytest.mark.parametrize("space", [0, 1])
def test_random_clients_see_one_memory_in_order_of_grants(arch: Architecture, space: int) -> None:
    dut = Scratchpad(arch, space, check_conflicts=True)
    rng = np.random.default_rng(space)
    cells = np.zeros(arch.capacity(space), dtype=np.int64)
    writes: dict[
        int, list[tuple[int, int]]
    ] = {}  # by cycle from which they are seen by a bank read
    reads: dict[int, list[int]] = {}  # by cycle in which the data stand
    top = 1 << (arch.data_bits - 1)

    async def bench(ctx: Any) -> None:
        before = dict.fromkeys(("read", "write"), 0)  # lanes enabled in the last cycle's grants
        for t in range(400):
            stop = bool(rng.random() < 0.1)
            ctx.set(dut.stop, stop)
            granted: dict[str, tuple[str, Access]] = {}
            values: dict[str, list[int]] = {}
            for kind, clients in (("read", READ_CLIENTS), ("write", WRITE_CLIENTS)):
                taken = stop
                for client in clients:
                    port = getattr(dut, f"{kind}_{client}")
                    valid, what = bool(rng.random() < 0.4), access(rng, arch, space)
                    request(ctx, port, valid, what)
                    if kind == "write":
                        values[client] = [int(v) for v in rng.integers(-top, top, arch.lanes)]
                        ctx.set(port.data, values[client])
                    if valid and not taken:
                        granted[kind] = (client, what)
                    ready = not taken
                    taken |= valid
                    assert ctx.get(port.ready) == ready, (t, kind, client)
            for kind in ("read", "write"):
                assert ctx.get(getattr(dut, f"{kind}_count")) == before[kind].bit_count()
                before[kind] = granted[kind][1][2] if kind in granted else 0
                assert ctx.get(getattr(dut, f"{kind}_fault").code) == 0
            if t in reads:
                for client in READ_CLIENTS:
                    data = getattr(dut, f"read_{client}").data
                    assert [ctx.get(v) for v in data] == reads[t], t
            # a read granted in t sees the writes granted before t
            for address, value in writes.pop(t, []):
                cells[address] = value
            if "read" in granted:
                base, offsets, enable = granted["read"][1]
                reads[t + READ_LATENCY] = [
                    int(cells[base + o]) if enable >> p & 1 else 0 for p, o in enumerate(offsets)
                ]
            if "write" in granted:
                client, (base, offsets, enable) = granted["write"]
                writes[t + WRITE_LATENCY - 1] = [
                    (base + o, values[client][p]) for p, o in enumerate(offsets) if enable >> p & 1
                ]
            await ctx.tick()

    simulate(dut, bench)
    assert len(reads) > 100


@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize("space", [0, 1])
def test_an_access_beyond_the_end_faults_once_and_is_not_performed(kind: str, space: int) -> None:
    arch = machine()
    end = arch.capacity(space)
    dut = Scratchpad(arch, space)

    async def bench(ctx: Any) -> None:
        port = getattr(dut, f"{kind}_dma")
        fault = getattr(dut, f"{kind}_fault")
        # lane 0 is inside, 1 is not enabled, 2 and 3 are beyond; 2 is reported
        request(ctx, port, True, (end - 1, [0, 900, 7, 1 << 20], 0b1101))
        if kind == "write":
            ctx.set(port.data, [1, 2, 3, 4])
        assert ctx.get(fault.code) == 0
        await ctx.tick()
        ctx.set(port.valid, 0)
        assert ctx.get(fault.code) == Error.ADDRESS
        assert ctx.get(fault.address) == space << 31 | end + 6
        await ctx.tick()
        assert ctx.get(fault.code) == 0
        await ctx.tick().repeat(2)
        for bank in dut.banks:
            assert all(ctx.get(bank.data[row]) == 0 for row in range(end // arch.lanes))

    simulate(dut, bench)


def test_two_lanes_in_one_bank_fail_an_assertion() -> None:
    arch = machine()
    dut = Scratchpad(arch, 0, check_conflicts=True)

    async def bench(ctx: Any) -> None:
        request(ctx, dut.read_array, True, (0, [0, 4, 1, 2], 0b1111))  # type: ignore[attr-defined]
        for _ in range(3):
            await ctx.tick()

    with pytest.raises(AssertionError, match="one bank"):
        simulate(dut, bench)


WINDOWED = PRESETS["small"].override(
    rows=4, cols=4, lanes=8, x_depth=16, x_window=8, y_depth=16, y_window=8
)


@pytest.mark.parametrize("space", [0, 1])
@pytest.mark.parametrize("n", [1, 4, 8])
def test_the_window_reads_what_was_written_beside_the_other_clients(n: int, space: int) -> None:
    """The oracle is a NumPy array; n lanes come READ_LATENCY cycles after their grant."""
    arch = WINDOWED
    dut: Any = Scratchpad(arch, space)
    rng = np.random.default_rng(n)
    cells = np.zeros(arch.capacity(space), dtype=np.int64)
    wanted: dict[int, np.ndarray] = {}

    async def bench(ctx: Any) -> None:
        for row in range(16):  # one row a cycle, all lanes
            values = rng.integers(-128, 128, arch.lanes)
            cells[row * arch.lanes : (row + 1) * arch.lanes] = values
            request(ctx, dut.write_dma, True, (row * arch.lanes, list(range(8)), 255))
            ctx.set(dut.write_dma.data, [int(v) for v in values])
            await ctx.tick()
        ctx.set(dut.write_dma.valid, 0)
        await ctx.tick().repeat(WRITE_LATENCY)
        request(ctx, dut.read_array, True, (0, list(range(8)), 255))  # has the other port
        for t in range(40):
            at = int(rng.integers(0, 8 * arch.lanes // n)) * n + arch.window_base(space)
            lanes = [int(p) for p in rng.permutation(arch.lanes)[:n]]
            offsets = [lanes.index(p) if p in lanes else 0 for p in range(arch.lanes)]
            enable = sum(1 << p for p in lanes)
            client = getattr(dut, f"window_{rng.choice(WINDOW_CLIENTS)}")
            for name in WINDOW_CLIENTS:
                ctx.set(getattr(dut, f"window_{name}").valid, 0)
            request(ctx, client, True, (at, offsets, enable))
            assert ctx.get(client.ready)
            assert ctx.get(dut.read_count) == (arch.lanes + n if t else 0)
            values = np.zeros(arch.lanes, dtype=np.int64)
            values[lanes] = cells[at : at + n]
            wanted[t + READ_LATENCY] = values
            if t in wanted:
                found = [ctx.get(client.data[p]) for p in range(arch.lanes)]
                assert np.array_equal(found, wanted[t])
            await ctx.tick()

    simulate(dut, bench)


@pytest.mark.parametrize("space", [0, 1])
def test_a_read_beyond_the_window_is_a_fault_and_the_one_that_counts(space: int) -> None:
    dut: Any = Scratchpad(WINDOWED, space)
    end = WINDOWED.capacity(space)

    async def bench(ctx: Any) -> None:
        request(ctx, dut.window_vector, True, (end - 1, [5] * 8, 0b10))
        request(ctx, dut.read_array, True, (end, [0] * 8, 1))
        assert ctx.get(dut.read_fault.code) == 0
        await ctx.tick()
        assert ctx.get(dut.read_fault.code) == Error.ADDRESS
        assert ctx.get(dut.read_fault.address) == space << 31 | end + 4

    simulate(dut, bench)


def test_of_the_windows_clients_the_drain_comes_first() -> None:
    dut: Any = Scratchpad(WINDOWED, 1)
    base = WINDOWED.window_base(1)

    async def bench(ctx: Any) -> None:
        clients = [getattr(dut, f"window_{name}") for name in WINDOW_CLIENTS]
        for first in range(len(clients)):
            for k, client in enumerate(clients):
                request(ctx, client, k >= first, (base, list(range(8)), 255))
            assert [ctx.get(c.ready) for c in clients] == [k <= first for k in range(len(clients))]
            assert ctx.get(dut.read_dma.ready)

    simulate(dut, bench)
