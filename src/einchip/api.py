"""From a trained model to cycles, energy, a proof and Verilog, in Python: what the verbs do.

    model = einchip.load_model("mpo.safetensors")
    made = einchip.compile(model, "small", data="japanese_vowels.npz")
    run = made.simulate()
    print(run.cycles, run.energy("horowitz45").total_pj, made.verify().equal)

All of it is reached from `einchip` itself, and imported when it is first used (docs/api.md).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from einchip.arch import Architecture
    from einchip.compiler.compiled import Compiled, Places
    from einchip.compiler.folder import Folder
    from einchip.compiler.report import Figures
    from einchip.energy import Energy, Table
    from einchip.models import Model, Sequences
    from einchip.sim import Run
    from einchip.verify.compare import Comparison

    #: A file of labelled sequences, or sequences: (steps, channels) or tokens each.
    Data = str | Path | Sequence[ArrayLike]

#: Seed of the sequence that stands in where a model comes without data.
RANDOM_SEED: Final = 0
#: Cycles from a request to memory to its answer, if not said otherwise.
LATENCY: Final = 8


@dataclass(frozen=True)
class Simulation:
    """Runs of a compiled model on the simulator, each after setup.

    Attributes
    ----------
    folder : what ran.
    runs : (time steps, run) of each.
    bound_cycles : the roofline of all runs; None where a sequence of another length was timed.
    """

    folder: Folder
    runs: tuple[tuple[int, Run], ...]
    bound_cycles: int | None

    @property
    def counters(self) -> dict[str, int]:
        """Every counter of the machine (docs/registers.md), summed over the runs."""
        names = self.runs[0][1].counters
        return {name: sum(run.counters[name] for _, run in self.runs) for name in names}

    @property
    def cycles(self) -> int:
        """Cycles of all runs."""
        return sum(run.cycles for _, run in self.runs)

    @property
    def n_steps(self) -> int:
        """Time steps of all runs."""
        return sum(n for n, _ in self.runs)

    @property
    def ratio(self) -> float | None:
        """Cycles over their bound."""
        return None if self.bound_cycles is None else self.cycles / self.bound_cycles

    def energy(self, table: Table | str = "horowitz45") -> Energy:
        """Return the energy of all runs, in pJ by component. Raises EnergyError."""
        from einchip import energy

        return energy.energy(self.counters, self.folder.arch, table, self.folder.run)


@dataclass(frozen=True)
class Verification:
    """Sequences on reference, simulator and RTL: memory word by word, cycles, all counters."""

    sequences: tuple[Comparison, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not any(c.differences for c in self.sequences)

    @property
    def differing_words(self) -> int:
        """Words of memory in which simulator or RTL differ from the reference."""
        return sum(c.n_words for c in self.sequences)

    @property
    def cycles_apart(self) -> int:
        """Cycles by which simulator and RTL differ."""
        return sum(abs(a - b) for a, b in (c.cycles for c in self.sequences))


@dataclass(frozen=True)
class CompiledModel:
    """Programs, memory image and sequences of a model for one machine.

    Attributes
    ----------
    folder : what `einchip compile` writes, read back.
    mapped : mapping and scales; None where the folder was only read.
    source : where it was read; None where it was not.
    """

    folder: Folder
    mapped: Compiled | None = None
    source: Path | None = None

    def simulate(self, n_steps: int | None = None, latency: int = LATENCY) -> Simulation:
        """Run every sequence on the cycle-accurate simulator, without values.

        Parameters
        ----------
        n_steps
            Time one sequence of this length in place of the folder's.
        latency
            Cycles from a request to memory to its answer.

        Raises FolderError where the machine stops.
        """
        folder = self.folder
        if n_steps is None:
            jobs = [(n, folder.places) for n, _ in folder.sequences]
            bound = sum(s.bound_cycles for s in folder.manifest.sequences)
        else:
            jobs, bound = [(n_steps, folder.places_for(n_steps))], None
        runs = tuple(
            (n, time_sequence(folder, places, n, latency, self.source)) for n, places in jobs
        )
        return Simulation(folder, runs, bound)

    def verify(
        self,
        n_sequences: int = 1,
        latency: int = LATENCY,
        *,
        cache: Path | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> Verification:
        """Run the first sequences on reference, simulator and RTL, which Verilator compiles.

        `cache` is the folder that compiled RTL is kept in, build/rtl if not said. Raises RtlError,
        VerilatorError, MachineError (the program stops with an error), OSError (of the cache).
        """
        from einchip.verify import compare

        options: dict[str, Any] = {} if cache is None else {"cache": cache}
        found = compare.compare(
            self.folder, n_sequences, latency=latency, progress=progress, **options
        )
        return Verification(tuple(found))


def time_sequence(
    folder: Folder,
    places: Places,
    n_steps: int,
    latency: int = LATENCY,
    source: Path | None = None,
) -> Run:
    """Return the run of a sequence on a machine that has just been set up, without values.

    Raises FolderError where the machine stops; it names `source`, or the model.
    """
    from einchip.compiler.folder import FolderError
    from einchip.sim import simulate

    for program in (folder.setup, folder.run):
        last = simulate(
            program,
            folder.arch,
            host=places.host(n_steps),
            external_bytes=places.size,
            latency=latency,
            timeline=False,
        )
        if last.error:
            name, code = source or folder.manifest.model, last.error[0].name
            raise FolderError(f"{name}: the machine stopped with {code}; compile again")
    return last


def architecture(arch: Architecture | str = "small", **fields: object) -> Architecture:
    """Return a preset, the machine of a YAML file, or a machine, with some fields changed.

    Raises ArchError.
    """
    from einchip import arch as architectures

    found = architectures.load(arch) if isinstance(arch, str) else arch
    return found.override(**fields) if fields else found


def compile(
    model: Model | str | Path,
    arch: Architecture | str = "small",
    data: Data | None = None,
    *,
    batch: int = 1,
    merge: bool = False,
    n_sequences: int = 8,
    n_steps: int = 1,
    output: str | Path | None = None,
) -> CompiledModel:
    """Map a model to a machine, choose scales, quantise: programs, memory image, sequences.

    Parameters
    ----------
    model
        A model, or its file.
    arch
        A machine, a preset's name, or a YAML file.
    data
        A file of labelled sequences (docs/data.md): the train split gives the scales, the first
        ones of the test split go into the folder. Sequences, (steps, channels) or tokens each,
        serve for both; without data random ones do.
    batch
        Sequences of equal lengths that run side by side.
    merge
        Merge a matrix's weights where that is quicker.
    n_sequences
        How many sequences go into the folder.
    n_steps
        Time steps of random ones.
    output
        The folder to write; a temporary one if not said.

    Raises
    ------
    ModelError, ArchError, MappingError, ProgramError, FolderError
        One line says what cannot be used, or does not fit the machine.
    """
    from einchip.compiler import compiled, folder
    from einchip.compiler.merged import merge_model
    from einchip.models import load_model

    machine = architecture(arch)
    if output is not None:
        folder.check_target(Path(output))
    loaded = load_model(model) if isinstance(model, str | Path) else model
    calibration, sequences = sequences_of(loaded, data, n_sequences, n_steps, batch)
    chosen = merge_model(loaded, machine, batch)[0] if merge else loaded
    made = compiled.compile_model(chosen, machine, calibration, batch)
    with tempfile.TemporaryDirectory() as place:
        target = Path(place) / "folder" if output is None else Path(output)
        folder.write(made, sequences, target)
        return CompiledModel(folder.read(target), made)


def open_compiled(path: str | Path) -> CompiledModel:
    """Return what `einchip compile` wrote. Raises FolderError."""
    from einchip.compiler import folder

    return CompiledModel(folder.read(Path(path)), source=Path(path))


def evaluate(
    model: Model | str | Path,
    data: str | Path,
    arch: Architecture | str = "small",
    *,
    table: Table | str = "horowitz45",
    n_sequences: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Figures:
    """Return accuracy, cycles, bound and energy of a model on the test split of a file of data.

    `n_sequences` takes the first ones only. Raises as `compile`, and EnergyError.
    """
    from einchip import energy
    from einchip.compiler import report
    from einchip.models import Sequences, load_model

    loaded = load_model(model) if isinstance(model, str | Path) else model
    prices = energy.load(table) if isinstance(table, str) else table
    train, test = load_splits(data, loaded)
    first = Sequences(test.sequences[:n_sequences], test.labels[:n_sequences])
    return report.figures(loaded, architecture(arch), train, first, prices, progress)


def generate(arch: Architecture | str = "small", output: str | Path | None = None) -> str:
    """Return the accelerator as one Verilog file, and write it, if a path is given.

    Raises ArchError, OSError.
    """
    from einchip.files import check_writable, write_text
    from einchip.hw import generate as rtl

    machine = architecture(arch)
    if output is not None:
        check_writable(Path(output))
    text = rtl.verilog(machine)
    if output is not None:
        write_text(Path(output), text)
    return text


def load_data(path: str | Path, model: Model, split: Literal["train", "test"]) -> Sequences:
    """Read sequences that fit a model; those of one with an embedding are tokens.

    Raises ModelError.
    """
    from einchip.models import ModelError, load_npz

    try:
        sequences = load_npz(path, split)
    except ModelError:
        raise
    except (TypeError, ValueError, RecursionError, MemoryError) as error:
        raise ModelError(f"{path}: cannot use it: {error}") from None
    spec = model.spec
    if sequences.n_channels != spec.input_size:
        what = "tokens for the embedding" if spec.embedding else "the input_size"
        raise ModelError(
            f"{path}: {split}_frames: found {sequences.n_channels} channels, expected "
            f"{spec.input_size}, {what} of {spec.name}; name other data"
        )
    return _tokens(path, sequences, split) if spec.embedding else sequences


def _tokens(path: str | Path, sequences: Sequences, split: str) -> Sequences:
    """Return sequences of one channel as tokens."""
    import numpy as np

    from einchip.models import ModelError, Sequences

    rounded = tuple(np.rint(s[:, 0]).astype(np.int64) for s in sequences.sequences)
    if any(np.any(r != s[:, 0]) for r, s in zip(rounded, sequences.sequences, strict=True)):
        raise ModelError(
            f"{path}: {split}_frames: found fractions, expected tokens; let mean be 0, std 1 and "
            "clip no less than the vocabulary"
        )
    return Sequences(rounded, sequences.labels)


def load_splits(path: str | Path, model: Model) -> tuple[Sequences, Sequences]:
    """Read the train and test sequences of a model, whose labels are classes of a classifier's.

    Raises ModelError.
    """
    from einchip.compiler.report import is_classifier
    from einchip.models import ModelError

    train, test = load_data(path, model, "train"), load_data(path, model, "test")
    n_out = model.spec.out_size
    if is_classifier(model.spec) and test.n_classes > n_out:
        raise ModelError(
            f"{path}: test_labels: found {test.n_classes} classes, expected at most the "
            f"{n_out} of {model.spec.name}; name other data"
        )
    return train, test


def sequences_of(
    model: Model, data: Data | None, n_sequences: int, n_steps: int, batch: int
) -> tuple[Sequence[ArrayLike], Sequence[ArrayLike]]:
    """Return the sequences that give the scales, and those to run. Raises ModelError."""
    if data is None:
        found = stand_in(model, n_steps, batch)
        return found, found
    if isinstance(data, str | Path):
        train, test = (load_data(data, model, split).sequences for split in ("train", "test"))
        return train, test[:n_sequences]
    return data, data[:n_sequences]


def stand_in(model: Model, n_steps: int, n_sequences: int = 1) -> tuple[ArrayLike, ...]:
    """Return random sequences for a model without data: standard normal values, or tokens."""
    import numpy as np

    rng, spec = np.random.default_rng(RANDOM_SEED), model.spec
    if spec.embedding is not None:
        size = spec.embedding.vocabulary
        return tuple(rng.integers(size, size=n_steps) for _ in range(n_sequences))
    shape = (n_steps, spec.input_size)
    return tuple(rng.standard_normal(shape).astype(np.float32) for _ in range(n_sequences))
