"""Prints `docs/isa.md` from the instruction classes: `python -m einchip.isa`."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

from einchip import program
from einchip.accesses import VECTORS
from einchip.program import INSTRUCTIONS, Instruction, Slot, Unit, Vector
from einchip.registers import error_meanings

_HEAD = """# Instructions

This page is printed from `einchip.program` by `make docs`; a test fails when it is stale. What the
host reads and writes is in [registers](registers.md).

A program is a sequence of {bits}-bit words, little endian. Bits 0 to 7 of an instruction are its
opcode; its other fields follow in the order of the table. A field *n x b* holds n numbers of b
bits, number 0 lowest. Unused bits are ignored. `einchip.reference` is the meaning of every
instruction in NumPy; `timing.md` says how many cycles each takes.
"""


def _rows(slots: list[Slot]) -> Iterator[str]:
    yield "| field | bits | width | meaning |"
    yield "|---|---|---|---|"
    for s in slots:
        width = f"{s.n} x {s.bits}" if s.n else str(s.bits)
        end = s.offset + s.bits * max(1, s.n) - 1
        doc = s.doc
        if s.enum:
            doc += ": " + ", ".join(f"{e.value} {e.name}" for e in s.enum)
        yield f"| `{s.name}` | {s.offset} to {end} | {width} | {doc} |"


def _docstring(kind: type[Instruction]) -> str:
    """Return the docstring, its indented loop nests as code blocks."""
    text = inspect.getdoc(kind) or ""
    return re.sub(
        r"(?:^ {4}.*(?:\n(?: {4}.*|(?=\n {4})))*)",
        lambda m: "```\n" + textwrap.dedent(m.group()) + "\n```",
        text,
        flags=re.MULTILINE,
    )


def _instruction(kind: type[Instruction]) -> Iterator[str]:
    yield f"\n## {kind.__name__}\n"
    plural = "s" if kind.WORDS > 1 else ""
    unit = "sequencer" if kind.UNIT == Unit.SEQUENCER else f"{kind.UNIT.name.lower()} unit"
    yield f"Opcode {kind.OPCODE}, {kind.WORDS} word{plural}, executed by the {unit}.\n"
    yield _docstring(kind) + "\n"
    if issubclass(kind, VECTORS):
        yield _vector(kind) + "\n"
    if kind.layout():
        yield from _rows(kind.layout())


def _vector(kind: type[Vector]) -> str:
    """Return the sentence on one vector: reads, writes, latency, activations."""
    reads = [r.source if r.source == "state" else f"{r.source} {r.gate}" for r in kind.READS]
    operations = ", ".join(reads) if reads else "no read"
    if kind.STATE_BESIDE:
        operations += " (the state beside src, where it has another read port)"
    found = f"One vector: {operations}; {kind.LATENCY} cycles after the last: dst."
    if kind.WRITES_STATE:
        found = found[:-1] + f", before it, from {kind.STATE_LATENCY} on, the state's planes."
    return found + (f" Activations a lane: {kind.ACTIVATIONS}." if kind.ACTIVATIONS else "")


def _errors() -> Iterator[str]:
    yield "\n## Error codes\n\nThe machine stops at the first error.\n"
    yield "| code | name | meaning and address |"
    yield "|---|---|---|"
    for e, meaning in error_meanings().items():
        cell = meaning.replace("|", r"\|")
        yield f"| {e.value} | {e.name} | {cell} |"


def page() -> str:
    """Return the whole page."""
    doc = (inspect.getdoc(program) or "").split("\n\n")
    lines = [_HEAD.format(bits=program.WORD_BITS), "\n\n".join(doc[2:])]
    for kind in INSTRUCTIONS:
        lines.extend(_instruction(kind))
    lines.extend(_errors())
    return "\n".join(line.rstrip() for line in "\n".join(lines).splitlines()) + "\n"


if __name__ == "__main__":
    print(page(), end="")
