"""hw.tokens.Tokens against sums in Python."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from einchip.hw.tokens import UNITS, Tokens
from einchip.program import TOKEN_MAX, TOKENS, Error
from tests.hw.simulator import Bench

masks = st.integers(0, (1 << TOKENS) - 1) | st.sampled_from([0, 0, 1, 1 << (TOKENS - 1)])
cycles = st.tuples(masks, st.sampled_from([0] * 9 + [1]), *[st.tuples(masks, masks)] * len(UNITS))


BENCH = Bench(Tokens())


@given(st.lists(cycles, max_size=40))
def test_counts_are_the_sum_of_what_is_given_and_taken(steps: list[Any]) -> None:
    dut = BENCH.dut
    counts = [0] * TOKENS

    async def bench(ctx: Any) -> None:
        for give, clear, *units in steps:
            ctx.set(dut.give, give)
            ctx.set(dut.clear, clear)
            totals = [n + (give >> k & 1) for k, n in enumerate(counts)]
            for name, (gives, takes) in zip(UNITS, units, strict=True):
                port = getattr(dut, name)
                assert ctx.get(port.positive) == sum(1 << k for k, n in enumerate(counts) if n)
                takes &= ctx.get(port.positive)
                ctx.set(port.give, gives)
                ctx.set(port.take, takes)
                totals = [n + (gives >> k & 1) - (takes >> k & 1) for k, n in enumerate(totals)]
            counts[:] = [0 if clear else max(n, 0) for n in totals]
            await ctx.tick()
            full = [k for k, n in enumerate(counts) if n > TOKEN_MAX]
            assert ctx.get(dut.fault.code) == (Error.TOKEN if full else Error.NONE)
            if full:
                assert ctx.get(dut.fault.address) == full[0]
                break

    BENCH.run(bench)
