"""`einchip verify`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from einchip.cli.common import (
    FAILED,
    Json,
    Latency,
    Source,
    command,
    console,
    fail,
    require_writable,
    say,
    write_json,
)


@command
def verify(
    source: Source,
    n_sequences: Annotated[
        int, typer.Option("--sequences", min=1, metavar="N", help="how many")
    ] = 1,
    latency: Latency = 8,
    json_file: Json = None,
) -> None:
    """Run the RTL under Verilator: reference, simulator and RTL word by word.

    Exit status 1 where a word, a cycle or a counter differs.

    Examples
    --------
    einchip compile examples/japanese_vowels/mpo.safetensors -o build/mpo
    einchip verify build/mpo
    """
    from einchip import api
    from einchip.reference import MachineError
    from einchip.verify import compare
    from einchip.verify.machine import DEFAULT_CACHE, RtlError
    from einchip.verify.verilator import VerilatorError

    require_writable(json_file)
    made = api.open_compiled(source)
    try:
        with console.status("") as status:
            found = made.verify(n_sequences, latency, progress=lambda t: status.update(escape(t)))
    except (RtlError, VerilatorError) as error:
        fail(error, FAILED)
    except MachineError as error:
        fail(f"{source}: the machine stops with {error.code.name}; compile again")
    except OSError as error:
        fail(f"{DEFAULT_CACHE}: cannot build the simulator there: {error.strerror}")
    console.print(compare.table(found.sequences))
    write_json(
        json_file,
        {
            "model": made.folder.manifest.model,
            "arch": made.folder.arch.model_dump(),
            "latency_cycles": latency,
            "sequences": [asdict(c) for c in found.sequences],
        },
    )
    for c in found.sequences:
        if c.differences:
            fail(f"sequence {c.number}: {c.differences[0]}", FAILED)
    say(
        f"{len(found.sequences)} sequences: {found.differing_words} differing words, "
        f"{found.cycles_apart} cycles of difference"
    )
