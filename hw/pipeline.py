"""Small combinational and pipeline helpers."""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value, ValueLike
from amaranth.lib.memory import Memory

from einchip.arch import clog2


def delays(m: Module, value: Any, cycles: int, name: str = "delayed") -> list[Any]:
    """Return `value` as it was 0, 1, .. `cycles` cycles ago (0 before the first)."""
    stages = [value]
    for k in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{k + 1}")
        m.d.sync += register.eq(value)
        value = register
        stages.append(value)
    return stages


def delay(m: Module, value: Any, cycles: int, name: str = "delayed") -> Any:
    """Return `value` as it was `cycles` cycles ago (0 before the first)."""
    return delays(m, value, cycles, name)[-1]


def ring_delay(m: Module, value: Value, cycles: int, name: str) -> Value:
    """Return `value` as it was `cycles` cycles ago, at least 2; not defined before the first.

    For what is delayed long and looked at nowhere on its way: it waits in a small memory instead of
    `cycles` registers.
    """
    memory: Any = Memory(shape=len(value), depth=1 << clog2(cycles), init=[])
    m.submodules[f"{name}_ring"] = memory
    write, read = memory.write_port(), memory.read_port()
    # written at the end of cycle t, read at that of t + cycles - 1
    m.d.comb += [write.en.eq(1), write.data.eq(value), read.addr.eq(write.addr - (cycles - 1))]
    m.d.sync += write.addr.eq(write.addr + 1)
    return Value.cast(read.data)


def one_hot(choices: Iterable[tuple[ValueLike, ValueLike]]) -> Value:
    """Return the value whose condition is 1, 0 if there is none; at most one condition may be 1."""
    return reduce(or_, (Mux(condition, value, 0) for condition, value in choices), Const(0))


def multiplex(values: Sequence[ValueLike], select: Value) -> Value:
    """Return values[select] by a tree of 2:1 multiplexers; there are 2**len(select) values."""
    level = list(values)
    for bit in select:
        level = [Mux(bit, b, a) for a, b in zip(level[::2], level[1::2], strict=True)]
    return Value.cast(level[0])


def product(a: Value, b: Value) -> Value:
    """Return a * b by shifts and adds: for small numbers, where no DSP block must be spent."""
    if len(a) == 1:
        return Mux(a, b, 0)
    half = len(a) // 2
    return product(a[:half], b) + (product(a[half:], b) << half)


def ceil_log2(value: Value) -> Value:
    """Return ceil(log2(value)) for value >= 1."""
    # above[k]: whether the value is above 2**k; how many of them are, in binary
    above: list[Value] = [
        value[k + 1 :].any() | (value[k] & value[:k].any()) for k in range(len(value))
    ]
    bits = len(above).bit_length()
    above += [Const(0)] * ((1 << bits) - len(above))
    digits = []
    for size in (1 << j for j in range(bits)):
        odd = range(size, 1 << bits, 2 * size)
        digits.append(Cat(above[k - 1] & ~above[k + size - 1] for k in odd).any())
    return Cat(digits)


def popcount(bits: Sequence[Value] | Value) -> Value:
    """Return how many of the bits are 1, by a tree of adders."""
    if len(bits) == 1:
        return bits[0]
    half = len(bits) // 2
    return popcount(bits[:half]) + popcount(bits[half:])
