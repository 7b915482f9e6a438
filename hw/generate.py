"""The machine as Verilog."""

import contextlib
import gc
import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final, NamedTuple

from amaranth.back import verilog as amaranth_verilog
from amaranth.lib import wiring

import einchip
from einchip.arch import Architecture
from einchip.hw.machine import machine

#: Name of the top module.
TOP = "einchip_top"
#: Equal initial words that are written as a loop.
MIN_LOOP: Final = 8

_WORD = re.compile(r"    (\S+ ?)\[(\d+)\] = (\S+);")


def verilog(arch: Architecture) -> str:
    """Return one self-contained Verilog file; its top module is TOP.

    Ports are `clk`, `rst` (synchronous, active high) and the members of `top.Top`, a member of an
    interface with two underscores before it: `m_axi__awaddr`. The text depends on nothing but the
    architecture and the versions of einchip and Amaranth.
    """
    return _header(arch) + module_text(machine(arch), TOP)


def module_text(design: wiring.Component, name: str) -> str:
    """Return a component as a Verilog module of a name, with those that it is made of.

    Amaranth gives every word of a memory its initial value, which would be most of the text of a
    machine with large scratchpads; runs of equal ones become loops.
    """
    with _without_collection():
        text = amaranth_verilog.convert(
            design, name=name, emit_src=False, strip_internal_attrs=True
        )
    return "\n".join(_looped(text.split("\n")))


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Keep Python from looking for garbage, of which a netlist of millions of objects has none.

    That takes a third of the time of a large machine.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Word(NamedTuple):
    """Text of Verilog, of a word's initial value: of which row of which memory."""

    line: str
    memory: str = ""
    row: int = 0
    value: str = ""


def _looped(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines of Verilog, runs of equal initial values of a memory's rows as loops."""
    numbered = enumerate(map(_word, lines))
    runs = groupby(numbered, lambda n: (n[1].memory, n[1].value, n[0] - n[1].row))
    for (memory, value, _), run in runs:
        words = [word for _, word in run]
        if not memory or len(words) < MIN_LOOP:
            yield from (word.line for word in words)
            continue
        first, last = words[0].row, words[-1].row
        label = f"rows_of_{re.sub(r'[^A-Za-z0-9_]', '_', memory.strip())}_from_{first}"
        yield f"    begin : {label}"
        yield "      integer row;"
        yield f"      for (row = {first}; row <= {last}; row = row + 1) {memory}[row] = {value};"
        yield "    end"


def _word(line: str) -> _Word:
    found = _WORD.fullmatch(line)
    return _Word(line, found[1], int(found[2]), found[3]) if found else _Word(line)


def _header(arch: Architecture) -> str:
    """Return comments that say which machine this is."""
    description = textwrap.wrap(json.dumps(arch.model_dump()), 96)
    lines = [
        f"einchip {einchip.__version__}: {TOP}",
        "SPDX-License-Identifier: Apache-2.0",
        "Written by einchip.hw.generate; do not edit.",
        f"Configuration hash (register CONFIG_HASH): {arch.config_hash:#010x}",
        "Architecture:",
        *description,
    ]
    return "".join(f"// {line}\n" for line in lines) + "\n"
