"""The command line: `einchip run | compile | simulate | verify | generate | doctor`."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import numpy as np
import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from einchip import arch as architectures
from einchip import energy as energies
from einchip.arch import ArchError, Architecture
from einchip.compiler import compiled, folder, report
from einchip.energy import EnergyError
from einchip.files import write_text
from einchip.mapper import MappingError
from einchip.models import Model, ModelError, Sequences, load_model, load_npz
from einchip.program import ProgramError
from einchip.sim import simulate as simulate_program

#: Exit status of input that cannot be used; 1 is a check that failed.
BAD_INPUT: Final = 2
FAILED: Final = 1
#: Sequences that stand in where a model comes without data: standard normal values.
RANDOM_SEED: Final = 0
USER_ERRORS = (
    ArchError, EnergyError, MappingError, ModelError, ProgramError, folder.FolderError
)  # fmt: skip

app = typer.Typer(
    help="Compressed recurrent networks from model to silicon.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()

Arch = Annotated[str, typer.Option("--arch", help="nano, small, base, or a .yaml file")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="change a field of the architecture", metavar="FIELD=VALUE"),
]
Json = Annotated[Path | None, typer.Option("--json", help="write every figure to this file")]
EnergyTable = Annotated[str, typer.Option("--energy", help=", ".join(energies.tables()))]


def fail(message: object) -> NoReturn:
    """Say what is wrong with the input in one line, and leave with status 2."""
    print(" ".join(str(message).split()), file=sys.stderr)
    raise typer.Exit(BAD_INPUT)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command; what the user can mend becomes one line and status 2."""

    @functools.wraps(function)
    def guarded(**arguments: Any) -> None:
        try:
            function(**arguments)
        except USER_ERRORS as error:
            fail(error)

    return app.command()(guarded)


def architecture(name: str, overrides: list[str] | None) -> Architecture:
    """Return the architecture of the options --arch and --set."""
    fields: dict[str, object] = {}
    for text in overrides or []:
        key, equals, value = text.partition("=")
        if not equals:
            fail(f"--set: found {text!r}, expected FIELD=VALUE")
        try:
            fields[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            fail(f"--set: {key}: found {value!r}, expected a plain value")
    return architectures.load(name, fields)


def write_json(path: Path | None, content: object) -> None:
    """Write figures, whole or not at all."""
    if path is not None:
        try:
            write_text(path, json.dumps(content, indent=1) + "\n")
        except OSError as error:
            fail(f"{path}: cannot write: {error.strerror}")


def models_of(path: Path) -> list[Path]:
    """Return the model files of a folder, or the one file."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.safetensors"))
    if not found:
        fail(f"{path}: found no .safetensors file, expected at least one model")
    return found


def data_of(model: Path, data: Path | None) -> Path | None:
    """Return the data file: the given one, or the only .npz beside the model."""
    if data is not None:
        return data
    beside = sorted((model if model.is_dir() else model.parent).glob("*.npz"))
    return beside[0] if len(beside) == 1 else None


def load_data(path: Path, model: Model, split: str) -> Sequences:
    """Read sequences that fit a model."""
    sequences = load_npz(path, "train" if split == "train" else "test")
    wanted = model.spec.layers[0].input_size
    if sequences.n_channels != wanted:
        fail(
            f"{path}: {split}_frames: found {sequences.n_channels} channels, expected {wanted}, "
            f"the input_size of {model.spec.name}; name other data with --data"
        )
    return sequences


def progress_bar() -> Progress:
    """Return a bar that names what is being done."""
    columns = (TextColumn("{task.description:28}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


@command
def run(
    model: Annotated[Path, typer.Argument(help="a model file, or a folder of them with its data")],
    arch: Arch = "small",
    overrides: Overrides = None,
    data: Annotated[Path | None, typer.Option(help="labelled sequences (.npz)")] = None,
    table: EnergyTable = "horowitz45",
    n_sequences: Annotated[
        int | None, typer.Option("--sequences", min=1, help="only the first N of the test set")
    ] = None,
    json_file: Json = None,
) -> None:
    """Accuracy, cycles, bound and energy of trained models on labelled sequences."""
    machine, prices = architecture(arch, overrides), energies.load(table)
    models = [load_model(path) for path in models_of(model)]
    source = data_of(model, data)
    if source is None:
        fail(f"{model}: found no .npz beside it, expected labelled sequences; name them by --data")
    rows = []
    with progress_bar() as bar:
        for m in models:
            if m.spec.head is None:
                fail(f"{model}: head: found none in {m.spec.name}, expected a classifier")
            train, test = load_data(source, m, "train"), load_data(source, m, "test")
            if n_sequences:
                test = Sequences(test.sequences[:n_sequences], test.labels[:n_sequences])
            widths = {*report.WIDTHS, machine.data_bits}
            task = bar.add_task(m.spec.name, total=len(test) * len(widths))

            def step(what: str, task: Any = task) -> None:
                bar.update(task, advance=1, description=what)

            rows.append(report.figures(m, machine, train, test, prices, step))
            bar.remove_task(task)
    console.print(report.comparison(rows, machine))
    content = {"arch": machine.model_dump(), "models": [r.to_json() for r in rows]}
    write_json(json_file, content)


@command
def compile(
    model: Annotated[Path, typer.Argument(help="a .safetensors or .yaml model")],
    output: Annotated[Path, typer.Option("-o", "--output", help="folder to write")],
    arch: Arch = "small",
    overrides: Overrides = None,
    data: Annotated[Path | None, typer.Option(help="labelled sequences (.npz)")] = None,
    n_sequences: Annotated[
        int, typer.Option("--sequences", min=1, help="sequences to put into the folder")
    ] = 8,
    n_steps: Annotated[
        int, typer.Option("--steps", min=1, help="time steps of the stand-in without data")
    ] = 1,
) -> None:
    """Map and quantise a model: programs, memory image, mapping."""
    machine = architecture(arch, overrides)
    loaded = load_model(model)
    source = data_of(model, data)
    if source is None:
        rng = np.random.default_rng(RANDOM_SEED)
        size = loaded.spec.layers[0].input_size
        stand_in = rng.standard_normal((n_steps, size))
        calibration = sequences = (stand_in.astype(np.float32),)
        console.print("no data: one random sequence of standard normal values stands in")
    else:
        calibration = load_data(source, loaded, "train").sequences
        sequences = load_data(source, loaded, "test").sequences[:n_sequences]
    with console.status(f"mapping {loaded.spec.name} to {machine.name}"):
        made = compiled.compile_model(loaded, machine, calibration)
        bound = report.compute_bound(loaded.spec, machine)
        manifest = folder.write(made, sequences, bound, output)
    parts = made.mapping.layer.parts
    macs = sum(s.macs for part in (parts.inputs, parts.hidden) for s in part.steps)
    console.print(
        f"{output}: {loaded.spec.name} on {machine.name}: {len(manifest.sequences)} sequences, "
        f"{macs:,} MACs a step, bound {bound:,.0f} cycles a step, "
        f"{made.programs.run.n_words} words, {len(made.image):,} bytes of weights"
    )


@command
def simulate(
    source: Annotated[Path, typer.Argument(help="a folder that `einchip compile` wrote")],
    table: EnergyTable = "horowitz45",
    latency: Annotated[int, typer.Option(min=1, help="memory latency in cycles")] = 8,
    json_file: Json = None,
) -> None:
    """Cycles, stalls by cause and energy of a compiled model."""
    made, prices = folder.read(source), energies.load(table)
    results = []
    with console.status("simulating"):
        for number, (n_steps, _) in enumerate(made.sequences):
            memory, host = made.memory(number), made.host(n_steps)
            for program in (made.setup, made.run):
                last = simulate_program(
                    program, made.arch, memory=memory, host=host, latency=latency
                )
                if last.error:
                    fail(f"{source}: the machine stopped with {last.error[0].name}; compile again")
            results.append((n_steps, last))
    total: dict[str, int] = {}
    for _, result in results:
        for name, value in result.counters.items():
            total[name] = total.get(name, 0) + value
    spent = energies.energy(total, made.arch, prices)
    steps = sum(n for n, _ in results)
    bound = steps * made.manifest.bound_cycles_per_step
    console.print(
        f"{made.manifest.model} on {made.arch.name}: {len(results)} sequences, {steps} steps, "
        f"{total['cycles']:,} cycles ({total['cycles'] / steps:,.0f} a step), "
        f"bound {bound:,.0f}, ratio {total['cycles'] / bound:.3f}"
    )
    console.print(report.activity(total))
    console.print(spent)
    write_json(
        json_file,
        {
            "model": made.manifest.model,
            "arch": made.arch.model_dump(),
            "sequences": [
                {"n_steps": n, "cycles": r.cycles, "counters": r.counters} for n, r in results
            ],
            "counters": total,
            "bound_cycles": bound,
            "ratio": total["cycles"] / bound,
            "energy_table": prices.name,
            "energy_pj": spent.by_component,
        },
    )


@command
def verify(
    source: Annotated[Path, typer.Argument(help="a folder that `einchip compile` wrote")],
    n_sequences: Annotated[int, typer.Option("--sequences", min=1, help="how many")] = 1,
    latency: Annotated[int, typer.Option(min=1, help="memory latency in cycles")] = 8,
) -> None:
    """Run the RTL under Verilator; compare reference, simulator and RTL word by word."""
    from einchip.verify import compare  # Verilator is needed here only
    from einchip.verify.machine import RtlError
    from einchip.verify.verilator import VerilatorError

    made = folder.read(source)
    try:
        with console.status("") as status:
            found = compare.compare(
                made, n_sequences, latency=latency, progress=lambda text: status.update(text)
            )
    except (RtlError, VerilatorError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        raise typer.Exit(FAILED) from None
    console.print(compare.table(found))
    for c in found:
        if c.differences:
            print(f"sequence {c.number}: {c.differences[0]}", file=sys.stderr)
            raise typer.Exit(FAILED)
    apart = sum(abs(a - b) for a, b in (c.cycles for c in found))
    words = sum(c.n_words for c in found)
    console.print(f"{len(found)} sequences: {words} differing words, {apart} cycles of difference")


@command
def generate(
    arch: Arch = "small",
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="the Verilog file")] = Path(
        "einchip_top.v"
    ),
) -> None:
    """Write the accelerator as one self-contained Verilog file."""
    machine = architecture(arch, overrides)
    from einchip.hw import generate as rtl  # Amaranth is needed here only

    with console.status(f"generating {machine.name}"):
        text = rtl.verilog(machine)
    try:
        write_text(output, text)
    except OSError as error:
        fail(f"{output}: cannot write: {error.strerror}")
    console.print(
        f"{output}: {machine.rows} x {machine.cols} PEs, {machine.lanes} lanes, "
        f"{machine.data_bits} bit, configuration {machine.config_hash:08x}"
    )


@command
def doctor() -> None:
    """Print each tool found, its version, and how to get what is missing."""
    from einchip import doctor as tools

    raise typer.Exit(tools.main())


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
