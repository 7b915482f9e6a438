"""The tables of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Final

from einchip.report.data import Report, StepFigures, TreeNode
from einchip.report.table import CODE, LONG, SHARE, WHOLE, Column, Table, Value, table_of

#: States of units, and losses, in words that fit a column.
STATE_TITLES: Final = {
    "issue": "work", "transfer": "work", "stall_port": "port", "stall_drain": "drain",
    "stall_write": "write", "stall_memory": "memory", "stall_token": "token",
    "stall_setup": "setup", "idle": "idle", "operands": "operands", "lanes": "lanes",
}  # fmt: skip


def sizes(indices: Mapping[str, int]) -> str:
    """Return indices with their sizes as text."""
    return " ".join(f"{name}:{n}" for name, n in indices.items()) or "scalar"


def tables(report: Report) -> dict[str, Table]:
    """Return every table by its name, in the order of the report."""
    made = [make(report) for make in _TABLES]
    return {t.name: t for t in made}


def _headline(r: Report) -> Table:
    h = r.headline
    columns = (Column("figure", "figure"), Column("value", "value", "1"), Column("unit", "unit"))
    rows: list[tuple[Value, ...]] = [
        ("model", h.model, ""),
        ("machine", h.machine, ""),
        ("runs", f"{h.n_runs:,}", f"of {h.batch:,} sequence{'s' * (h.batch > 1)} each"),
        ("time steps", f"{h.n_steps:,}", "of all runs"),
        ("cycles", f"{h.cycles:,}", "of all runs"),
        ("cycles per time step", f"{h.cycles_per_step:,.1f}", ""),
        ("bound", f"{h.bound_cycles:,}", "cycles"),
        ("cycles / bound", f"{h.ratio:.3f}", ""),
        ("multiply-adds", f"{h.macs:,}", ""),
        ("multiply-adds per cycle", f"{h.macs_per_cycle:.2f}", f"of {h.multipliers:,}"),
        ("multipliers in use", f"{100 * h.multiplier_use:.1f}", "%"),
        ("energy", f"{h.energy_pj / 1e3:,.3f}", f"nJ, table {r.energy.table}"),
        ("energy on the chip", f"{h.energy_chip_pj / 1e3:,.3f}", "nJ"),
        ("energy per time step", f"{h.energy_per_step_pj / 1e3:,.3f}", "nJ"),
        ("memory latency", f"{h.memory_latency:,}", "cycles"),
        ("program", f"{h.program_words:,}", "words of 128 bit"),
        ("weights", f"{h.weights_bytes:,}", "bytes"),
    ]
    if r.accuracy:
        a = r.accuracy
        of = f"of {a.n_sequences} sequences"
        if a.accuracy_float is not None and a.accuracy_fixed is not None:
            rows.append(("accuracy, float", f"{100 * a.accuracy_float:.2f}", f"% {of}"))
            rows.append(
                (f"accuracy, {a.data_bits} bit", f"{100 * a.accuracy_fixed:.2f}", f"% {of}")
            )
        if a.snr_db is not None:
            rows.append(("signal to fixed-point error", f"{a.snr_db:.1f}", f"dB, {of}"))
    return Table("headline", "Headline", columns, tuple(rows))


def _machine(r: Report) -> Table:
    columns = (Column("field", "field", CODE), Column("value", "value", WHOLE))
    fields = r.arch.model_dump(mode="json", exclude={"name"})
    rows = ((name, v if isinstance(v, int | str) else str(v)) for name, v in fields.items())
    return table_of("machine", "Machine", columns, rows)


def _losses(r: Report) -> Table:
    b = r.bottleneck
    columns = (
        Column("cause", "cause"), Column("meaning", "what it is", LONG),
        Column("cycles", "cycles", WHOLE), Column("share", "share", SHARE),
        Column("operation", "most of it in", CODE),
    )  # fmt: skip
    floor = ("floor", b.floor, b.floor_cycles, b.floor_cycles / r.headline.cycles, "")
    rows: list[tuple[Value, ...]] = [floor]
    rows += [(STATE_TITLES[x.name], x.cause, x.cycles, x.share, x.operation) for x in b.losses]
    note = f"All cycles of {b.unit}, by what they go into; they add up to {r.headline.cycles:,}."
    return Table("losses", "Where the cycles go", columns, tuple(rows), note)


def _waits(r: Report) -> Table:
    columns = (
        Column("unit", "unit"), Column("operation", "before", CODE),
        Column("for_unit", "waits for"),
        Column("for_operation", "operation", CODE), Column("cycles", "cycles", WHOLE),
    )  # fmt: skip
    rows = (
        (w.unit, w.operation, w.for_unit, w.for_operation, w.cycles) for w in r.bottleneck.waits
    )
    note = f"Of {r.recorded.cycles:,} cycles that were recorded: {r.recorded.rule}."
    return table_of("waits", "Who waits for whom", columns, rows, note)


def _runs(r: Report) -> Table:
    columns = (
        Column("run", "run", WHOLE), Column("sequences", "sequences"),
        Column("n_steps", "time steps", WHOLE), Column("cycles", "cycles", WHOLE),
        Column("bound_cycles", "bound", WHOLE), Column("ratio", "ratio", "3"),
    )  # fmt: skip
    rows = (
        (k, " ".join(map(str, x.sequences)), x.n_steps, x.cycles, x.bound_cycles,
         x.cycles / x.bound_cycles)
        for k, x in enumerate(r.runs)
    )  # fmt: skip
    return table_of("runs", "Runs", columns, rows)


def _forms(r: Report) -> Table:
    columns = (
        Column("form", "form"), Column("weights", "weights a step", WHOLE),
        Column("macs_per_step", "MACs a step", WHOLE), Column("cycles", "cycles", WHOLE),
        Column("bound_cycles", "bound", WHOLE), Column("ratio", "ratio", "3"),
        Column("energy_nj", "energy, nJ", "1"),
        Column("multiplier_use", "multipliers in use", SHARE),
    )  # fmt: skip
    forms = r.dense.forms if r.dense else ()
    rows = (
        (f.form, f.weights, f.macs_per_step, f.cycles, f.bound_cycles, f.ratio, f.energy_pj / 1e3,
         f.multiplier_use)
        for f in forms
    )  # fmt: skip
    return table_of("dense", "Compressed and dense", columns, rows)


def _units(r: Report) -> Table:
    columns = (
        Column("unit", "unit"), Column("state", "state"), Column("cycles", "cycles", WHOLE),
        Column("share", "share", SHARE), Column("meaning", "meaning", LONG),
    )  # fmt: skip
    rows = ((u.unit, STATE_TITLES[u.state], u.cycles, u.share, u.meaning) for u in r.units)
    note = f"Every unit is in one state in each of all {r.headline.cycles:,} cycles."
    return table_of("units", "States of units", columns, rows, note)


def _steps(r: Report) -> Table:
    names = ("issue", "stall_drain", "stall_port", "stall_write", "stall_memory", "stall_token",
             "stall_setup")  # fmt: skip
    columns = (
        Column("number", "no.", WHOLE), Column("operation", "operation", CODE),
        Column("kind", "kind"), Column("unit", "unit"), Column("executions", "executions", WHOLE),
        Column("macs", "MACs", WHOLE),
        *(Column(f"{STATE_TITLES[n]}_cycles", f"{STATE_TITLES[n]}, cycles", WHOLE) for n in names),
        Column("energy_nj", "energy, nJ", "2"),
    )  # fmt: skip

    def row(s: StepFigures) -> tuple[Value, ...]:
        found = dict(s.cycles)
        found["issue"] = found.get("issue", 0) + found.get("transfer", 0)
        energy = sum(s.energy_pj.values()) / 1e3
        head = (s.number, s.name, s.kind, s.unit, s.executions, s.macs)
        return (*head, *(found.get(n, 0) for n in names), energy)

    note = (
        "In the order of the program. Executions, MACs and energy of all runs; cycles as recorded "
        f"({r.recorded.rule}), those of waiting in front of the operation included."
    )
    return table_of("steps", "Operations", columns, (row(s) for s in r.steps), note)


def _roofline(r: Report) -> Table:
    columns = (
        Column("number", "no.", WHOLE), Column("operation", "step", CODE),
        Column("x_elements", "X, elements", WHOLE), Column("y_elements", "Y, elements", WHOLE),
        Column("result_elements", "result, elements", WHOLE),
        Column("intensity", "MACs per element", "2"), Column("roof", "roof, MACs/cycle", "1"),
        Column("achieved", "achieved, MACs/cycle", "1"), Column("limit", "limited by"),
        Column("utilisation", "fold fills", SHARE),
    )  # fmt: skip
    rows = (
        (s.number, s.name, c.x_elements, c.y_elements, c.result_elements, c.intensity, c.roof,
         c.achieved, c.limit, c.utilisation)
        for s in r.steps
        if (c := s.contraction)
    )  # fmt: skip
    note = (
        f"Roof: the least of {r.arch.n_pes:,} multipliers and {r.arch.lanes:,} elements a cycle of "
        "the largest tensor. Achieved: while the array executes the step. One that is limited by "
        "its results may be above its roof: its last rows drain while the next step is executed."
    )
    return table_of("roofline", "Roofline of every step", columns, rows, note)


def _energy(r: Report) -> Table:
    columns = (
        Column("component", "component"), Column("action", "action"),
        Column("count", "count", WHOLE), Column("each_pj", "pJ each", "3"),
        Column("total_nj", "nJ", "3"), Column("share", "share", SHARE),
        Column("decides", "decides"),
    )  # fmt: skip
    rows = (
        (e.component, e.action, e.count, e.each_pj, e.total_pj / 1e3, e.share, e.decides)
        for e in r.energy.lines
    )
    return table_of("energy", "Energy by component", columns, rows)


def _energy_by_step(r: Report) -> Table:
    components = list(r.energy.by_component_pj)
    columns = (
        Column("number", "no.", WHOLE), Column("operation", "operation", CODE),
        *(Column(f"{c.lower().replace(' ', '_')}_nj", f"{c}, nJ", "2") for c in components),
        Column("total_nj", "all, nJ", "2"),
    )  # fmt: skip

    def row(number: Value, name: str, pj: Mapping[str, float]) -> tuple[Value, ...]:
        each = [pj.get(c, 0.0) / 1e3 for c in components]
        return (number, name, *each, sum(each))

    rows = [row(s.number, s.name, s.energy_pj) for s in r.steps]
    rows.append(row(None, "sequencer, program fetch, leakage", r.energy.other_pj))
    note = f"All rows together are {r.energy.total_pj / 1e3:,.3f} nJ."
    return Table("energy_by_step", "Energy by operation", columns, tuple(rows), note)


def _coefficients(r: Report) -> Table:
    columns = (
        Column("coefficient", "coefficient"),
        Column("value", "value", LONG),
        Column("unit", "unit"),
        Column("process", "process"),
        Column("source", "source", LONG),
        Column("note", "note", LONG),
    )
    rows = ((c.name, c.values, c.unit, c.process, c.source, c.note) for c in r.energy.coefficients)
    return table_of("coefficients", f"Coefficients of table {r.energy.table}", columns, rows)


def _scratchpads(r: Report) -> Table:
    columns = (
        Column("space", "scratchpad"), Column("capacity", "elements", WHOLE),
        Column("placed", "highest address in use", WHOLE),
        Column("peak", "most that hold a value", WHOLE), Column("peak_share", "share", SHARE),
    )  # fmt: skip
    rows = (
        (s.space, s.capacity, s.placed, s.peak, s.peak / s.capacity) for s in r.memory.scratchpads
    )
    return table_of("scratchpads", "Scratchpads", columns, rows)


def _buffers(r: Report) -> Table:
    columns = (
        Column("space", "scratchpad"), Column("base", "first element", WHOLE),
        Column("buffer", "buffer", CODE), Column("elements", "elements", WHOLE),
        Column("copies", "copies", WHOLE), Column("constant", "filled by"),
    )  # fmt: skip
    rows = (
        (b.space, b.base, b.name, b.elements, b.copies, "setup" if b.constant else "run")
        for b in r.memory.buffers
    )
    return table_of("buffers", "Buffers", columns, rows)


def _bonds(r: Report) -> Table:
    columns = (
        Column("network", "network", CODE), Column("number", "order"),
        Column("tensor", "tensor", CODE),
        Column("role", "role"), Column("bond", "bond", CODE), Column("elements", "elements", WHOLE),
        Column("summed", "sums over", CODE),
    )  # fmt: skip

    def rows(network: str, node: TreeNode) -> Iterator[tuple[Value, ...]]:
        for operand in node.operands:
            yield from rows(network, operand)
        elements = prod(node.bond.values())
        summed = sizes(node.summed) if node.summed else ""
        yield network, node.number, node.name, node.role, sizes(node.bond), elements, summed

    every = (row for n in r.networks for row in rows(n.name, n.root))
    return table_of("bonds", "Bonds of the contraction trees", columns, every)


def _loop_nests(r: Report) -> Table:
    columns = (
        Column("number", "no.", WHOLE),
        Column("step", "step", CODE),
        Column("nest", "loop nest"),
    )
    rows = ((s.number, s.name, c.loop_nest) for s in r.steps if (c := s.contraction))
    return table_of("loop_nests", "Loop nests", columns, rows)


def _errors(r: Report) -> Table:
    columns = (
        Column("step", "time step", WHOLE), Column("n_sequences", "sequences", WHOLE),
        Column("snr_db", "signal / error, dB", "1"), Column("rms_error", "rms error", "4"),
        Column("max_error", "greatest error", "4"),
    )  # fmt: skip
    steps = r.accuracy.by_step if r.accuracy else ()
    rows = ((s.step, s.n_sequences, s.snr_db, s.rms_error, s.max_error) for s in steps)
    return table_of("errors", "Fixed-point error by time step", columns, rows)


def _files(r: Report) -> Table:
    columns = (
        Column("file", "file", CODE),
        Column("bytes", "bytes", WHOLE),
        Column("sha256", "SHA-256", CODE),
    )
    rows = ((f.name, f.n_bytes, f.sha256) for f in r.made.files)
    return table_of("files", "Files of the folder", columns, rows)


def _counters(r: Report) -> Table:
    columns = (
        Column("counter", "counter", CODE),
        Column("value", "all runs", WHOLE),
        Column("meaning", "meaning", LONG),
    )
    rows = ((c.name, c.value, c.meaning) for c in r.counters)
    return table_of("counters", "Counters", columns, rows)


def _timeline(r: Report) -> Table:
    columns = (
        Column("unit", "unit"), Column("start", "first cycle", WHOLE),
        Column("cycles", "cycles", WHOLE),
        Column("state", "state"), Column("operation", "operation", CODE),
    )  # fmt: skip
    rows = ((s.unit, s.start, s.cycles, s.state, s.operation) for s in r.timeline.segments)
    return table_of("timeline", "Timeline", columns, rows, r.timeline.rule)


def _utilisation(r: Report) -> Table:
    u = r.utilisation
    columns = (
        Column("start", "first cycle", WHOLE), *(Column(name, name, "4") for name in u.units),
        Column("multipliers", "multipliers", "4"),
    )  # fmt: skip
    rows = (
        (k * u.bin_cycles, *(shares[k] for shares in u.units.values()), m)
        for k, m in enumerate(u.multipliers)
    )
    return table_of("utilisation", "Utilisation over time", columns, rows)


def _lives(r: Report) -> Table:
    columns = (
        Column("space", "scratchpad"), Column("base", "first element", WHOLE),
        Column("elements", "elements", WHOLE), Column("start", "first cycle", WHOLE),
        Column("end", "cycle behind", WHOLE), Column("buffer", "buffer", CODE),
        Column("kind", "kind"),
    )  # fmt: skip
    rows = ((v.space, v.base, v.elements, v.start, v.end, v.buffer, v.kind) for v in r.memory.lives)
    return table_of("memory_map", "Memory map over time", columns, rows, r.memory.rule)


_TABLES: Final[tuple[Callable[[Report], Table], ...]] = (
    _headline, _machine, _losses, _waits, _runs, _forms, _units, _steps, _roofline, _energy,
    _energy_by_step, _coefficients, _scratchpads, _buffers, _bonds, _loop_nests, _errors, _files,
    _counters, _timeline, _utilisation, _lives,
)  # fmt: skip
