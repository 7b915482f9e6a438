"""The command line: `einchip run | compile | simulate | verify | generate | doctor`.

What a command needs is imported when it runs: `--help` waits for none of it.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from einchip.arch import Architecture
    from einchip.compiler.folder import Folder
    from einchip.energy import Table
    from einchip.models import Model, Sequences
    from einchip.sim import Run

_T = TypeVar("_T")
#: Exit status of input that cannot be used; 1 is a check that failed.
BAD_INPUT: Final = 2
FAILED: Final = 1
#: The sequence that stands in where a model comes without data: standard normal values.
RANDOM_SEED: Final = 0
#: Most time steps of that sequence.
MAX_STEPS: Final = 1 << 16

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
Data = Annotated[Path | None, typer.Option(help="labelled sequences (.npz)")]
Json = Annotated[Path | None, typer.Option("--json", help="write every figure to this file")]
EnergyTable = Annotated[
    str, typer.Option("--energy", help="cacti28, cacti45, horowitz45, zigzag, or a .yaml file")
]
Source = Annotated[Path, typer.Argument(help="a folder that `einchip compile` wrote")]
Latency = Annotated[int, typer.Option(min=1, help="memory latency in cycles")]


def fail(message: object, status: int = BAD_INPUT) -> NoReturn:
    """Say in one line what is wrong, and leave."""
    print(" ".join(str(message).split()), file=sys.stderr)
    raise typer.Exit(status)


def say(text: str) -> None:
    """Print a line as it is, however wide the terminal."""
    console.print(text, markup=False, soft_wrap=True)


def user_errors() -> tuple[type[Exception], ...]:
    """Return the errors that tell what the user can mend."""
    from einchip.arch import ArchError
    from einchip.compiler.folder import FolderError
    from einchip.energy import EnergyError
    from einchip.mapper import MappingError
    from einchip.models import ModelError
    from einchip.program import ProgramError

    return (ArchError, EnergyError, FolderError, MappingError, ModelError, ProgramError)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command; what the user can mend becomes one line and status 2."""

    @functools.wraps(function)
    def guarded(**arguments: Any) -> None:
        try:
            function(**arguments)
        except typer.Exit:
            raise
        except user_errors() as error:
            fail(error)

    return app.command()(guarded)


def loaded(name: object, load: Callable[[], _T]) -> _T:
    """Call a reader; values in a file that even the reader did not expect are one line, too."""
    try:
        return load()
    except user_errors():
        raise
    except (TypeError, ValueError, RecursionError, MemoryError) as error:
        fail(f"{name}: cannot use it: {error}")


def architecture(name: str, overrides: list[str] | None) -> Architecture:
    """Return the architecture of the options --arch and --set."""
    import yaml

    from einchip import arch as architectures

    known = architectures.Architecture.model_fields
    fields: dict[str, object] = {}
    for text in overrides or []:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            fail(f"--set: found {text!r}, expected FIELD=VALUE")
        if key not in known:
            fail(f"--set: {key}: unknown field, expected one of {', '.join(known)}")
        try:
            fields[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            fail(f"--set: {key}: found {value!r}, expected a plain value")
    return loaded(name, lambda: architectures.load(name, fields))


def energy_table(name: str) -> Table:
    """Return the table of the option --energy."""
    from einchip import energy

    return loaded(name, lambda: energy.load(name))


def require_writable(path: Path | None) -> None:
    """Fail early where a file could not be written after all the work."""
    from einchip.files import check_writable

    if path is not None:
        try:
            check_writable(path)
        except OSError as error:
            fail(f"{path}: cannot write: {error.strerror}")


def write(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    from einchip.files import write_text

    try:
        write_text(path, text)
    except OSError as error:
        fail(f"{path}: cannot write: {error.strerror}")


def write_json(path: Path | None, content: object) -> None:
    """Write figures, if the option --json asks for them."""
    if path is not None:
        write(path, json.dumps(content, indent=1) + "\n")


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
    if len(beside) > 1:
        fail(f"{model}: found {len(beside)} .npz files beside it, expected one; name it by --data")
    return beside[0] if beside else None


def load_data(path: Path, model: Model, split: str) -> Sequences:
    """Read sequences that fit a model."""
    from einchip.models import load_npz

    sequences = loaded(path, lambda: load_npz(path, "train" if split == "train" else "test"))
    wanted = model.spec.layers[0].input_size
    if sequences.n_channels != wanted:
        fail(
            f"{path}: {split}_frames: found {sequences.n_channels} channels, expected {wanted}, "
            f"the input_size of {model.spec.name}; name other data with --data"
        )
    return sequences


def load_labelled(path: Path, model: Model) -> tuple[Sequences, Sequences]:
    """Read the train and test sequences of a classifier."""
    head = model.spec.head
    if head is None:
        fail(f"{model.spec.name}: head: found none, expected a classifier")
    train, test = load_data(path, model, "train"), load_data(path, model, "test")
    if test.n_classes > head.out_size:
        fail(
            f"{path}: test_labels: found {test.n_classes} classes, expected at most the "
            f"{head.out_size} of {model.spec.name}; name other data with --data"
        )
    return train, test


def stand_in(model: Model, n_steps: int) -> tuple[ArrayLike, ...]:
    """Return a random sequence for a model without data."""
    import numpy as np

    size = model.spec.layers[0].input_size
    values = np.random.default_rng(RANDOM_SEED).standard_normal((n_steps, size))
    return (values.astype(np.float32),)


@command
def run(
    model: Annotated[Path, typer.Argument(help="a model file, or a folder of them with its data")],
    arch: Arch = "small",
    overrides: Overrides = None,
    data: Data = None,
    table: EnergyTable = "horowitz45",
    n_sequences: Annotated[
        int | None, typer.Option("--sequences", min=1, help="only the first N of the test set")
    ] = None,
    json_file: Json = None,
) -> None:
    """Accuracy, cycles, bound and energy of trained models on labelled sequences."""
    from einchip.compiler import report
    from einchip.models import Sequences, load_model

    machine, prices = architecture(arch, overrides), energy_table(table)
    require_writable(json_file)
    models = [load_model(path) for path in models_of(model)]
    source = data_of(model, data)
    if source is None:
        fail(f"{model}: found no .npz beside it, expected labelled sequences; name them by --data")
    labelled = [load_labelled(source, m) for m in models]
    rows = []
    columns = (TextColumn("{task.description:28}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        for m, (train, everything) in zip(models, labelled, strict=True):
            test = Sequences(everything.sequences[:n_sequences], everything.labels[:n_sequences])
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
    data: Data = None,
    n_sequences: Annotated[
        int, typer.Option("--sequences", min=1, help="sequences to put into the folder")
    ] = 8,
    n_steps: Annotated[
        int,
        typer.Option(
            "--steps", min=1, max=MAX_STEPS, help="time steps of the stand-in without data"
        ),
    ] = 1,
) -> None:
    """Map and quantise a model: programs, memory image, mapping."""
    from einchip.compiler import compiled, folder, report
    from einchip.models import load_model

    machine = architecture(arch, overrides)
    folder.check_target(output)
    loaded_model = load_model(model)
    source = data_of(model, data)
    calibration: Sequence[ArrayLike]
    sequences: Sequence[ArrayLike]
    if source is None:
        calibration = sequences = stand_in(loaded_model, n_steps)
        say("no data: one random sequence of standard normal values stands in")
    else:
        calibration = load_data(source, loaded_model, "train").sequences
        sequences = load_data(source, loaded_model, "test").sequences[:n_sequences]
    with console.status(escape(f"mapping {loaded_model.spec.name} to {machine.name}")):
        made = compiled.compile_model(loaded_model, machine, calibration)
        bound = report.compute_bound(loaded_model.spec, machine)
        manifest = folder.write(made, sequences, bound, output)
    say(
        f"{output}: {loaded_model.spec.name} on {machine.name}: {len(manifest.sequences)} "
        f"sequences, {made.mapping.macs:,} MACs a step, bound {bound:,.0f} cycles a step, "
        f"{made.programs.run.n_words} words, {len(made.image):,} bytes of weights"
    )


def simulated(source: Path, made: Folder, latency: int) -> list[tuple[int, Run]]:
    """Return time steps and run of every sequence, each on a machine that has just been set up."""
    from einchip.sim import simulate as simulate_program

    found = []
    for number, (n_steps, _) in enumerate(made.sequences):
        memory, host = made.memory(number), made.host(n_steps)
        for program in (made.setup, made.run):
            last = simulate_program(program, made.arch, memory=memory, host=host, latency=latency)
            if last.error:
                fail(f"{source}: the machine stopped with {last.error[0].name}; compile again")
        found.append((n_steps, last))
    return found


@command
def simulate(
    source: Source,
    table: EnergyTable = "horowitz45",
    latency: Latency = 8,
    json_file: Json = None,
) -> None:
    """Cycles, stalls by cause and energy of a compiled model."""
    from einchip import energy
    from einchip.compiler import folder, report

    require_writable(json_file)
    made, prices = folder.read(source), energy_table(table)
    with console.status("simulating"):
        results = simulated(source, made, latency)
    total = {name: sum(r.counters[name] for _, r in results) for name in results[0][1].counters}
    spent = energy.energy(total, made.arch, prices)
    steps = sum(n for n, _ in results)
    bound = steps * made.manifest.bound_cycles_per_step
    say(
        f"{made.manifest.model} on {made.arch.name}: {len(results)} sequences, {steps} steps, "
        f"{total['cycles']:,} cycles ({total['cycles'] / steps:,.0f} a step), "
        f"bound {bound:,.0f}, ratio {total['cycles'] / bound:.3f}"
    )
    console.print(report.activity(total))
    console.print(spent, markup=False)
    content = {
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
    }
    write_json(json_file, content)


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
    require_writable(output)
    from einchip.hw import generate as rtl

    with console.status(escape(f"generating {machine.name}")):
        text = rtl.verilog(machine)
    write(output, text)
    say(
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
