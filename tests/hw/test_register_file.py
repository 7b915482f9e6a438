"""hw.register_file against a list of numbers."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from einchip.hw.register_file import RegisterFile
from einchip.program import REGISTER_BITS, REGISTERS
from tests.hw.simulator import Bench

N_READS = 3
BENCH = Bench(RegisterFile(N_READS))
numbers = st.integers(0, REGISTERS - 1)
values = st.integers(0, (1 << REGISTER_BITS) - 1)
#: clear; write, to, value; what is read. Few clears, so that registers are written between them.
cycles = st.tuples(
    st.sampled_from([0] * 6 + [1]), st.booleans(), numbers, values, st.tuples(*[numbers] * N_READS)
)


@given(st.lists(cycles, max_size=60))
def test_reads_are_what_was_written_since_the_last_clear(steps: list[Any]) -> None:
    dut, registers = BENCH.dut, [0] * REGISTERS

    async def bench(ctx: Any) -> None:
        for clear, write, to, value, reads in steps:
            ctx.set(dut.clear, clear)
            ctx.set(dut.write, write)
            ctx.set(dut.to, to)
            ctx.set(dut.value, value)
            for k, number in enumerate(reads):
                ctx.set(dut.number[k], number)
            assert [ctx.get(dut.read[k]) for k in range(N_READS)] == [registers[n] for n in reads]
            if write:
                registers[to] = value
            if clear:
                registers[:] = [0] * REGISTERS
            await ctx.tick()

    BENCH.run(bench)
