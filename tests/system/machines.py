"""The machines that random programs run on: presets, odd ones, every fold, one multiplier."""

from typing import Final

from einchip.arch import PRESETS, Architecture

ODD: Final[tuple[Architecture, ...]] = (
    # More columns than rows, more lanes than either, a port of a quarter of the lanes, windows.
    Architecture(
        name="wide", rows=4, cols=8, lanes=16, x_depth=64, y_depth=256, x_window=16, y_window=64,
        port_bytes=4, burst_beats=16,
    ),
    # 16-bit elements (one cell plane), more rows than columns, two elements a beat.
    Architecture(
        name="tall", rows=16, cols=4, lanes=16, data_bits=16, x_depth=256, y_depth=32, port_bytes=4
    ),
    # The least of everything: elements, lanes, depths, accumulators, bursts of one beat, no cells.
    Architecture(
        name="least", rows=2, cols=2, lanes=2, acc_bits=17, x_depth=16, y_depth=32, x_window=8,
        y_window=16, port_bytes=2, burst_beats=1, cells=(),
    ),
    # 16-bit elements, a beat as wide as the lanes, the widest accumulators, the longest bursts.
    Architecture(
        name="wordy", rows=8, cols=8, lanes=8, data_bits=16, acc_bits=62, x_depth=512, y_depth=1024,
        port_bytes=16, burst_beats=256,
    ),
    # A beat of every lane on fewer rows than lanes, a window of X alone, one cell.
    Architecture(
        name="low", rows=4, cols=16, lanes=16, x_depth=128, y_depth=128, x_window=32,
        port_bytes=16, burst_beats=4, cells=("lstm",),
    ),
)  # fmt: skip
#: Machines of the other folds.
FOLDED: Final[tuple[Architecture, ...]] = (
    # Held operands, the usual number of accumulators.
    Architecture(
        name="flex", fold="flex", rows=4, cols=8, lanes=8, x_depth=256, y_depth=512, y_window=128,
        port_bytes=4,
    ),
    # Two accumulators for a tile, more rows than columns, 16-bit elements.
    Architecture(
        name="flex4", fold="flex", accumulators=4, rows=16, cols=4, lanes=16, data_bits=16,
        x_depth=64, y_depth=64, port_bytes=16, burst_beats=8,
    ),
    # One accumulator for a tile: vectors are held, but only one passes.
    Architecture(
        name="flex2", fold="flex", accumulators=2, rows=4, cols=8, lanes=8, acc_bits=20,
        x_depth=32, y_depth=64, port_bytes=4,
    ),
    # Inner products of 8 elements in 4 columns.
    Architecture(
        name="inner", fold="ip", rows=8, cols=4, lanes=8, x_depth=128, y_depth=256, port_bytes=4
    ),
    # Inner products of 4 elements in 8 columns, two accumulators for a tile, 16-bit elements.
    Architecture(
        name="dots", fold="ip", accumulators=4, rows=4, cols=8, lanes=8, data_bits=16, x_depth=64,
        y_depth=64, port_bytes=4, burst_beats=4,
    ),
    # Outer products only, two cells.
    Architecture(
        name="outer", fold="op", rows=4, cols=8, lanes=8, x_depth=128, y_depth=64, port_bytes=8,
        cells=("gru", "gru_before"),
    ),
)  # fmt: skip
#: Machines of one multiplier.
SERIAL: Final[tuple[Architecture, ...]] = (
    # Every cell, the least of everything else, bursts of four beats.
    Architecture(
        name="one", fold="op", rows=1, cols=1, lanes=2, acc_bits=17, x_depth=16, y_depth=32,
        port_bytes=2, burst_beats=4,
    ),
    # 16-bit elements, beats of several words, sums that are wider than addresses.
    Architecture(
        name="one16", fold="op", rows=1, cols=1, lanes=8, data_bits=16, acc_bits=48, x_depth=256,
        y_depth=64, port_bytes=8, burst_beats=16, cells=("gru", "gru_before"),
    ),
)  # fmt: skip
MACHINES: Final[dict[str, Architecture]] = {
    **PRESETS, **{a.name: a for a in (*ODD, *FOLDED, *SERIAL)}
}  # fmt: skip
#: Those whose units run beside each other.
PIPELINED: Final = {name: arch for name, arch in MACHINES.items() if not arch.serial}
