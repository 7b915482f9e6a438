"""The quantisation report as tables for a terminal and as a plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from rich.table import Table
from rich.text import Text

from einchip.compiler.quantisation import Noise, StepNoise, SumBound, TensorNoise
from einchip.numeric import WIDE_BITS

#: Most time steps that a table lists; of longer sequences evenly spaced ones.
MAX_ROWS: Final = 16
WIDTH, HEIGHT, MARGIN = 640, 360, 56
#: Colours of the plot's lines that stay apart for colour-blind readers and in grey.
COLOURS: Final = ("#d55e00", "#0072b2", "#000000")


def decibels(value: float) -> str:
    """Return a ratio for people: without error there is none."""
    return "exact" if value == math.inf else f"{value:.1f}"


def tensor_table(found: Sequence[Noise]) -> Table:
    """Return every tensor's format and noise, the widths side by side."""
    table = Table(title="tensors: fractional bits, signal to noise in dB, saturated values")
    table.add_column("tensor", overflow="fold")
    table.add_column("least", justify="right", no_wrap=True)
    table.add_column("most", justify="right", no_wrap=True)
    for n in found:
        title = f"{n.data_bits} bit\n{_cells('frac', 'dB', 'sat.')}"
        table.add_column(title, justify="right", no_wrap=True)
    by_name = [{t.name: t for t in n.tensors} for n in found]
    for name in dict.fromkeys(t for column in by_name for t in column):
        columns = [column.get(name) for column in by_name]
        seen = next(c for c in columns if c is not None)
        cells = [_tensor_cell(c, n.data_bits) for c, n in zip(columns, found, strict=True)]
        table.add_row(Text(name), f"{seen.low:.3g}", f"{seen.high:.3g}", *cells)
    if any(t.bits != n.data_bits for n in found for t in n.tensors):
        table.caption = f"*: kept in {WIDE_BITS} bits"
    return table


def _cells(frac: str, ratio: str, saturated: str) -> str:
    return f"{frac:>4} {ratio:>6} {saturated:>5}"


def _tensor_cell(tensor: TensorNoise | None, data_bits: int) -> str:
    if tensor is None:  # the mapping for this width has other steps
        return ""
    frac = f"{tensor.frac}" + ("*" if tensor.bits != data_bits else "")
    saturated = f"{tensor.saturated}" if tensor.saturated else "-"
    return _cells(frac, decibels(tensor.snr_db), saturated)


def sum_table(found: Sequence[Noise]) -> Table:
    """Return every contraction step's accumulator bound, the widths side by side."""
    table = Table(title="accumulators: bits that no sum needs more of, whatever the values")
    table.add_column("step", overflow="fold")
    table.add_column("products", justify="right")
    for n in found:
        title = f"{n.data_bits} bit\naddend shift, bits of {n.sums[0].acc_bits}"
        table.add_column(title, justify="right")
    by_name = [{s.name: s for s in n.sums} for n in found]
    for name in dict.fromkeys(s for column in by_name for s in column):
        sums = [column.get(name) for column in by_name]
        terms = next(s.terms for s in sums if s is not None)
        table.add_row(Text(name), f"{terms:,}", *(_sum_cell(s) for s in sums))
    return table


def _sum_cell(found: SumBound | None) -> str:
    if found is None:
        return ""
    shift = f"{found.addend_shift}" if found.addend else "-"
    return f"{shift:>4} {found.bits:>5}"


def step_table(found: Sequence[Noise]) -> Table:
    """Return the error by time step."""
    table = Table(title="answer by time step: signal to noise in dB, greatest error")
    for title in ("time step", "sequences"):
        table.add_column(title, justify="right")
    for n in found:
        for title in ("dB", "error"):
            table.add_column(f"{n.data_bits} bit\n{title}", justify="right")
    every = -(-len(found[0].steps) // MAX_ROWS)
    for rows in list(zip(*(n.steps for n in found), strict=True))[::every]:
        cells = [c for s in rows for c in (decibels(s.snr_db), f"{s.max_error:.2g}")]
        table.add_row(str(rows[0].step), str(rows[0].n_sequences), *cells)
    return table


def drift(steps: Sequence[StepNoise]) -> str:
    """Return in words how the error of the last quarter of time steps compares with the first's."""
    quarter = -(-len(steps) // 4)
    first, last = (_rms(part) for part in (steps[:quarter], steps[-quarter:]))
    if len(steps) < 4 or not first or not last:
        return "too few time steps or no error: nothing can drift"
    ratio = f"{last / first:.2f}"
    return f"root mean square error of the last quarter of time steps: {ratio} x the first's"


def _rms(steps: Sequence[StepNoise]) -> float:
    n = sum(s.n_sequences for s in steps)
    return math.sqrt(sum(s.n_sequences * s.rms_error**2 for s in steps) / n)


def plot(found: Sequence[Noise], title: str) -> str:
    """Return the root mean square error by time step as an SVG, a line for each width."""
    lines = [(n.data_bits, [(s.step, s.rms_error) for s in n.steps if s.rms_error]) for n in found]
    errors = [e for _, points in lines for _, e in points] or [1.0]
    low, high = math.floor(math.log10(min(errors))), math.ceil(math.log10(max(errors)))
    high = max(high, low + 1)
    n_steps = max(len(n.steps) for n in found)

    def at(step: float, error: float) -> tuple[float, float]:
        x = MARGIN + (step - 1) / max(1, n_steps - 1) * (WIDTH - 2 * MARGIN)
        return x, MARGIN + (high - math.log10(error)) / (high - low) * (HEIGHT - 2 * MARGIN)

    parts = [_text(WIDTH / 2, MARGIN / 2, title), _text(WIDTH / 2, HEIGHT - 10, "time step")]
    for power in range(low, high + 1):
        (x0, y), (x1, _) = at(1, 10.0**power), at(max(2, n_steps), 10.0**power)
        parts.append(f'<path d="M{x0:.1f} {y:.1f}H{x1:.1f}" stroke="#ccc"/>')
        parts.append(_text(x0 - 6, y + 4, f"1e{power}", "end"))
    for step in sorted({1, (n_steps + 1) // 2, n_steps}):
        parts.append(_text(at(step, 1.0)[0], HEIGHT - MARGIN + 18, str(step)))
    for k, (bits, points) in enumerate(lines):
        colour = COLOURS[k % len(COLOURS)]
        path = " ".join("{:.1f},{:.1f}".format(*at(*p)) for p in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(WIDTH - MARGIN + 6, MARGIN + 16 * k, f"{bits} bit", "start", colour))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="{WIDTH}" height="{HEIGHT}" '
        'fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, anchor: str = "middle", colour: str = "#000") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"
