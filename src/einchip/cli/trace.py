"""`einchip trace`."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

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
    wide,
    write,
    write_json,
)

if TYPE_CHECKING:
    from einchip.trace.activity import Row
    from einchip.trace.case import Case
    from einchip.trace.model import Trace
    from einchip.verify.machine import RtlMachine
    from einchip.verify.native import WaveFormat

#: Most time steps of a sequence of zeros.
MAX_STEPS: Final = 1 << 24
#: Most cycles of a trace that was not asked to be longer.
MAX_CYCLES: Final = 200_000
TABLE_COLUMNS: Final = 110
WAVES: Final = "Waves of the RTL"
Progress = Callable[[str], None]


class Witness(enum.StrEnum):
    """Who is watched."""

    SIMULATOR = "simulator"
    RTL = "rtl"


def _waves(name: str, what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        f"--{name}", metavar="FILE", help=what, rich_help_panel=WAVES
    )
    return option


@command
def trace(
    source: Source,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Chrome JSON for ui.perfetto.dev"),
    ] = None,
    witness: Annotated[
        Witness, typer.Option("--from", metavar="NAME", help="simulator or rtl")
    ] = Witness.SIMULATOR,
    compare: Annotated[
        bool, typer.Option("--compare", help="compare the traces of simulator and RTL")
    ] = False,
    sequence: Annotated[
        int, typer.Option(min=0, metavar="K", help="which sequence of the folder")
    ] = 0,
    n_steps: Annotated[
        int | None,
        typer.Option(
            "--steps", min=1, max=MAX_STEPS, metavar="N", help="zeros of this length instead"
        ),
    ] = None,
    vcd: Annotated[Path | None, _waves("vcd", "every signal in every cycle")] = None,
    fst: Annotated[Path | None, _waves("fst", "the same, compressed")] = None,
    saif: Annotated[Path | None, _waves("saif", "switching activity, and a comparison")] = None,
    max_cycles: Annotated[
        int, typer.Option(min=1, metavar="N", help="refuse runs that take longer")
    ] = MAX_CYCLES,
    latency: Latency = 8,
    json_file: Json = None,
) -> None:
    """Trace a run cycle by cycle: every unit's instructions, and its stalls by cause.

    With --compare, exit status 1 where simulator and RTL differ in any cycle.

    Examples
    --------
    einchip compile examples/japanese_vowels/mpo.safetensors -o build/mpo
    einchip trace build/mpo -o trace.json
    einchip trace build/mpo --compare
    """
    asked: dict[WaveFormat, Path | None] = {"vcd": vcd, "fst": fst, "saif": saif}
    files = {kind: path for kind, path in asked.items() if path is not None}
    _check_files(files, output, json_file, compare)
    case = _case(source, sequence, n_steps, latency)
    if case.arch.serial and (output is not None or compare or saif is not None):
        fail(
            f"{source}: found a serial machine, expected one whose units run beside each other for "
            "-o, --compare and --saif; record its waves by --vcd or --fst"
        )
    with _watched() as progress:
        n = case.cycles()
        if n > max_cycles:
            fail(
                f"{source}: found a run of {n:,} cycles, expected at most {max_cycles:,}; "
                "choose a shorter one (--sequence, --steps), or raise --max-cycles"
            )
        different = _trace(case, witness, output, compare, progress)
        rows = _record(case, files, progress)
    if output is not None:
        say(f"{output}: {n:,} cycles, {output.stat().st_size:,} bytes")
    for path in files.values():
        say(f"{path}: {n:,} cycles, {path.stat().st_size:,} bytes")
    _print_activity(rows)
    content = {
        "run": case.name,
        "arch": case.arch.model_dump(),
        "cycles": n,
        "difference": different,
        "activity": [asdict(r) for r in rows],
    }
    write_json(json_file, content)
    if different is not None:
        fail(different, FAILED)
    if compare:
        say(f"{case.name}: {n:,} cycles, the traces of simulator and RTL are equal")


def _print_activity(rows: list[Row]) -> None:
    from einchip.trace import activity

    if rows:
        wide(TABLE_COLUMNS).print(activity.table(rows))


def _check_files(
    waves: dict[WaveFormat, Path], output: Path | None, json_file: Path | None, compare: bool
) -> None:
    """Fail early where nothing is asked for, or what is asked for cannot be written."""
    if not waves and output is None and not compare:
        fail("nothing to do: expected -o FILE, --compare, --vcd FILE, --fst FILE or --saif FILE")
    for path in (output, json_file, *waves.values()):
        require_writable(path)
    if "fst" in waves:
        from einchip.verify.verilator import missing_headers

        if missing := missing_headers("lz4.h", "zlib.h"):
            fail(
                f"--fst: Verilator's writer of FST needs {', '.join(missing)}, which g++ does not "
                "find; install liblz4-dev and zlib1g-dev, or use --vcd"
            )


def _case(source: Path, sequence: int, n_steps: int | None, latency: int) -> Case:
    """Return what is traced."""
    from einchip.compiler import folder
    from einchip.trace import case

    made = folder.read(source)
    if n_steps is not None:
        return case.of_length(made, n_steps, latency)
    if sequence >= len(made.sequences):
        fail(f"--sequence: found {sequence}, expected 0 to {len(made.sequences) - 1}")
    return case.of_sequence(made, sequence, latency)


@contextmanager
def _watched() -> Iterator[Progress]:
    """Show what is done; turn what the machine or Verilator did wrong into one line."""
    from einchip.trace.model import TraceError
    from einchip.trace.saif import SaifError
    from einchip.verify.machine import DEFAULT_CACHE, RtlError
    from einchip.verify.probes import ProbeError
    from einchip.verify.verilator import VerilatorError

    try:
        with console.status("simulating") as status:
            yield lambda text: status.update(escape(text))
    except (ProbeError, RtlError, SaifError, TraceError, VerilatorError) as error:
        fail(error, FAILED)
    except OSError as error:
        fail(f"{DEFAULT_CACHE}: cannot build the simulator there: {error.strerror}")


def _trace(
    case: Case, witness: Witness, output: Path | None, compare: bool, progress: Progress
) -> str | None:
    """Write and compare traces as asked for; return the first difference."""
    from einchip.trace.chrome import chrome
    from einchip.trace.difference import first_difference

    if output is None and not compare:
        return None
    traces: dict[Witness, Trace] = {}
    for w in Witness if compare else (witness,):
        progress(f"tracing the {w}")
        traces[w] = case.simulated() if w is Witness.SIMULATOR else case.on_rtl(_machine(case))
    if output is not None:
        progress(f"writing {output}")
        write(output, chrome(traces[witness], case.arch, witness.value, case.name))
    if not compare:
        return None
    found = first_difference(traces[Witness.SIMULATOR], traces[Witness.RTL])
    return None if found is None else found.text()


def _machine(case: Case, *waves: WaveFormat) -> RtlMachine:
    from einchip.verify.machine import DEFAULT_CACHE, RtlMachine

    return RtlMachine.build(case.arch, DEFAULT_CACHE, *waves)


def _record(case: Case, waves: dict[WaveFormat, Path], progress: Progress) -> list[Row]:
    """Let the RTL record waves; return what switching activity says of counters."""
    from einchip.trace import activity

    rows: list[Row] = []
    for kind, path in waves.items():
        progress(f"compiling the RTL of {case.arch.name} with {kind.upper()}")
        machine = _machine(case, kind)
        progress(f"recording {path}")
        run = case.waves(machine, path)
        if kind == "saif":
            progress("comparing activity")
            rows = activity.compare(activity.measured(path), run.counters, case.arch)
    return rows
