"""`einchip verify`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from einchip.cli.common import FAILED, Latency, Source, command, console, fail, say


@command
def verify(
    source: Source,
    n_sequences: Annotated[int, typer.Option("--sequences", min=1, help="how many")] = 1,
    latency: Latency = 8,
) -> None:
    """Run the RTL under Verilator; compare reference, simulator and RTL word by word."""
    from einchip.compiler import folder
    from einchip.reference import MachineError
    from einchip.verify import compare
    from einchip.verify.machine import DEFAULT_CACHE, RtlError
    from einchip.verify.verilator import VerilatorError

    made = folder.read(source)
    try:
        with console.status("") as status:
            found = compare.compare(
                made, n_sequences, latency=latency, progress=lambda t: status.update(escape(t))
            )
    except (RtlError, VerilatorError) as error:
        fail(error, FAILED)
    except MachineError as error:
        fail(f"{source}: the machine stops with {error.code.name}; compile again")
    except OSError as error:
        fail(f"{DEFAULT_CACHE}: cannot build the simulator there: {error.strerror}")
    console.print(compare.table(found))
    for c in found:
        if c.differences:
            fail(f"sequence {c.number}: {c.differences[0]}", FAILED)
    apart = sum(abs(a - b) for a, b in (c.cycles for c in found))
    words = sum(c.n_words for c in found)
    say(f"{len(found)} sequences: {words} differing words, {apart} cycles of difference")
