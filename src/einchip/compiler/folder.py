"""What `einchip compile` writes: programs, memory image, sequences, mapping; and reads again.

| file | what it is |
|---|---|
| manifest.json | the machine, the fractional bits, sizes and SHA-256 of every other file |
| setup.bin, run.bin | the programs: load the weights, run a sequence |
| weights.bin | external memory from BASE0 |
| sequences.bin | sequences as they lie from BASE1, one after the other |
| mapping.json, mapping.txt | the mapping for programs, and as a loop nest for people |
| plan.json | what every instruction and every buffer is (`compiler/plan.py`) |
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from einchip import check
from einchip.arch import Architecture
from einchip.compiler import bound
from einchip.compiler.compiled import Compiled, Places, groups
from einchip.compiler.plan import plan_of
from einchip.mapper.problem import MAX_BATCH
from einchip.program import Program, ProgramError
from einchip.reference import Host, Memory

VERSION: Final = 2
MANIFEST: Final = "manifest.json"
#: The binaries that a folder must have; they are read whole.
BINARIES: Final = ("setup.bin", "run.bin", "weights.bin", "sequences.bin")
#: What tells people and their programs about the mapping; only reports read them.
TEXTS: Final = ("mapping.json", "mapping.txt", "plan.json")
#: Most bytes of external memory that a folder may ask for.
MAX_MEMORY: Final = 1 << 30
MAX_MANIFEST: Final = 1 << 24
#: Tries to take a place that other processes take at the same time, too.
TRIES: Final = 20
_Size = Annotated[int, Field(ge=0, le=1 << 32)]


class FolderError(ValueError):
    """A compiled folder that cannot be used; the message is one line: file, field, what to do."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Strict):
    """A file's size and SHA-256."""

    n_bytes: _Size
    sha256: str


class SequenceEntry(_Strict):
    """A run: its time steps, its bytes in sequences.bin, its roofline.

    `numbers` are the sequences that it has side by side, in the order in which they were given; of
    one that stands twice the second place is filler.
    """

    n_steps: Annotated[int, Field(ge=1, le=1 << 24)]
    n_bytes: _Size
    bound_cycles: Annotated[int, Field(gt=0, le=1 << 53)]
    numbers: tuple[Annotated[int, Field(ge=0)], ...] = ()


class Extent(_Strict):
    """Bytes in external memory: so many for each time step, and so many whatever their number."""

    step_bytes: _Size
    fixed_bytes: _Size

    @classmethod
    def of(cls, n_bytes: Callable[[int], int]) -> Extent:
        """Return the extent of a part that takes `n_bytes(n_steps)`."""
        fixed = n_bytes(0)
        return cls(step_bytes=n_bytes(1) - fixed, fixed_bytes=fixed)

    def n_bytes(self, n_steps: int) -> int:
        """Return the bytes for a sequence."""
        return n_steps * self.step_bytes + self.fixed_bytes


class Manifest(_Strict):
    """What manifest.json holds."""

    version: int
    model: str
    arch: Architecture
    batch: Annotated[int, Field(ge=1, le=MAX_BATCH)] = 1
    fracs: dict[str, int]
    sequence: Extent
    output: Extent
    workspace: Extent
    bound_cycles_per_step: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    sequences: list[SequenceEntry]
    files: dict[str, FileEntry]


@dataclass(frozen=True)
class Folder:
    """A compiled model read back; `sequences` holds (time steps, bytes from BASE1) of each run."""

    manifest: Manifest
    setup: Program
    run: Program
    weights: bytes
    sequences: tuple[tuple[int, bytes], ...]

    @property
    def arch(self) -> Architecture:
        """The machine."""
        return self.manifest.arch

    @property
    def places(self) -> Places:
        """Where the parts lie in external memory."""
        return _places(self.manifest, len(self.weights))

    def places_for(self, n_steps: int) -> Places:
        """Return where the parts would lie for a sequence of another length."""
        return _places_for(self.manifest, len(self.weights), n_steps)

    def host(self, n_steps: int) -> Host:
        """Return the host registers for a run."""
        return self.places.host(n_steps)

    def memory(self, number: int) -> Memory:
        """Return a machine after power-up, with the weights and sequence `number` in memory."""
        memory = Memory.empty(self.arch, self.places.size)
        data = self.sequences[number][1]
        memory.external[: len(self.weights)] = self.weights
        memory.external[self.places.sequence : self.places.sequence + len(data)] = data
        return memory


def _places(manifest: Manifest, weights_bytes: int) -> Places:
    """Return the places for the longest sequence."""
    return _places_for(manifest, weights_bytes, max(s.n_steps for s in manifest.sequences))


def _places_for(manifest: Manifest, weights_bytes: int, n_steps: int) -> Places:
    parts = (manifest.sequence, manifest.output, manifest.workspace)
    return Places.of(weights_bytes, *(p.n_bytes(n_steps) for p in parts))


def write(compiled: Compiled, sequences: Sequence[ArrayLike], target: Path) -> Manifest:
    """Write a folder, all of it or nothing; one that `write` made is replaced.

    Sequences of equal lengths run side by side, as many as the batch (`compiled.groups`).

    Raises FolderError where the place cannot be written, or holds something else, or where the
    sequences are too long.
    """
    check_target(target)
    batch = compiled.batch
    together = groups([len(np.asarray(s)) for s in sequences], batch)
    packed = [compiled.pack(*(sequences[k] for k in group)) for group in together]
    spec, arch, mapping = compiled.spec, compiled.arch, compiled.mapping
    contents = {
        "setup.bin": compiled.programs.setup.encode(),
        "run.bin": compiled.programs.run.encode(),
        "weights.bin": compiled.image,
        "sequences.bin": b"".join(p.data for p in packed),
        "mapping.json": json.dumps(mapping.to_json(), indent=1).encode(),
        "mapping.txt": mapping.explain().encode(),
        "plan.json": plan_of(compiled).model_dump_json(indent=1).encode(),
    }
    manifest = Manifest(
        version=VERSION,
        model=spec.name,
        arch=arch,
        batch=batch,
        fracs=dict(compiled.fracs),
        sequence=Extent.of(mapping.sequence_bytes),
        output=Extent.of(mapping.output_bytes),
        workspace=Extent.of(mapping.workspace_bytes),
        bound_cycles_per_step=bound.compute_bound(spec, arch, batch),
        sequences=[
            SequenceEntry(
                n_steps=p.n_steps,
                n_bytes=len(p.data),
                bound_cycles=bound.sequence_bound(spec, arch, p.n_steps, batch),
                numbers=group,
            )
            for group, p in zip(together, packed, strict=True)
        ],
        files={
            name: FileEntry(n_bytes=len(c), sha256=hashlib.sha256(c).hexdigest())
            for name, c in contents.items()
        },
    )
    size = _places(manifest, len(compiled.image)).size
    if size > MAX_MEMORY:
        raise FolderError(
            f"{target}: found {size:,} bytes of external memory, expected at most {MAX_MEMORY:,}; "
            "give shorter sequences"
        )
    contents[MANIFEST] = (manifest.model_dump_json(indent=1) + "\n").encode()
    _replace(target, contents)
    return manifest


def check_target(target: Path) -> None:
    """Raise FolderError unless `target` is free, empty, or a folder of einchip and nothing else."""
    try:
        if not target.exists():
            _check_parent(target)
            return
        found = sorted(path.name for path in target.iterdir()) if target.is_dir() else ["a file"]
    except OSError as error:
        raise FolderError(f"{target}: cannot look at it: {error.strerror}") from None
    ours = {MANIFEST, *BINARIES, *TEXTS}
    foreign = [name for name in found if name not in ours or MANIFEST not in found]
    if foreign:
        raise FolderError(
            f"{target}: found {foreign[0]} there, expected a folder of einchip or none; "
            "name another folder"
        )


def _check_parent(target: Path) -> None:
    parent = next(p for p in target.absolute().parents if p.exists())
    if not parent.is_dir():
        raise FolderError(f"{target}: cannot write: {parent} is no folder; name another folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise FolderError(f"{target}: cannot write: {os.strerror(errno.EACCES)}")


def _replace(target: Path, contents: dict[str, bytes]) -> None:
    """Write beside the target, then take its place; what was there goes last."""
    try:
        target = target.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as work:
            fresh, old = Path(work) / "new", Path(work) / "old"
            fresh.mkdir()
            for name, content in contents.items():
                (fresh / name).write_bytes(content)
            for k in range(TRIES):
                if _taken(fresh, target, old / str(k), last=k == TRIES - 1):
                    break
    except OSError as error:
        raise FolderError(f"{target}: cannot write: {error.strerror}") from None


def _taken(fresh: Path, target: Path, old: Path, last: bool) -> bool:
    """Put `fresh` at `target`, what is there at `old`; False where others were quicker."""
    old.parent.mkdir(exist_ok=True)
    try:
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except BaseException as error:
        if old.exists() and not target.exists():
            old.rename(target)
        raced = getattr(error, "errno", None) in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST)
        if last or not raced:
            raise
        return False
    return True


def read(source: Path) -> Folder:
    """Read a folder, every file checked against the manifest and both programs verified.

    Raises FolderError.
    """
    manifest = _manifest(source / MANIFEST)
    binaries = {name: _binary(source / name, manifest) for name in BINARIES}
    programs = [_program(source / name, binaries[name]) for name in ("setup.bin", "run.bin")]
    sequences = _sequences(source / MANIFEST, manifest, binaries["sequences.bin"])
    folder = Folder(manifest, programs[0], programs[1], binaries["weights.bin"], sequences)
    for name, program in zip(("setup.bin", "run.bin"), programs, strict=True):
        try:
            check.require(program, folder.arch, folder.host(check.DEFAULT_ARGUMENT))
        except ProgramError as error:
            raise FolderError(
                f"{source / name}: does not fit arch {folder.arch.name}: {error}; compile again"
            ) from None
    return folder


def read_text(source: Path, manifest: Manifest, name: str) -> str | None:
    """Return one of `TEXTS`, checked against the manifest; None where an older folder lacks it.

    Raises FolderError.
    """
    return _binary(source / name, manifest).decode() if name in manifest.files else None


def _manifest(path: Path) -> Manifest:
    try:
        text = _bytes(path, MAX_MANIFEST).decode()
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or error
        raise FolderError(
            f"{path}: cannot read: {found}; name a folder that `einchip compile` wrote"
        ) from None
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FolderError(f"{path}: file: not JSON: {error}; compile again") from None
    version = raw.get("version", VERSION) if isinstance(raw, dict) else VERSION
    if version != VERSION:  # whose fields may be others
        raise FolderError(f"{path}: version: found {version!r}, expected {VERSION}; compile again")
    try:
        manifest = Manifest.model_validate_json(text, strict=True)
    except ValidationError as error:
        # Where a name is misspelt, that it is unknown says more than that another is missing.
        entries = error.errors(include_url=False)
        first = next((e for e in entries if e["type"] == "extra_forbidden"), entries[0])
        field = ".".join(str(part) for part in first["loc"]) or "file"
        message = " ".join(str(first["msg"]).split()).removeprefix("Value error, ")
        raise FolderError(f"{path}: {field}: {message}; compile again") from None
    _check_manifest(path, manifest)
    return manifest


def _check_manifest(path: Path, manifest: Manifest) -> None:
    """Raise FolderError where a field alone, or with another, makes no sense."""
    missing = [name for name in BINARIES if name not in manifest.files]
    if missing:
        raise FolderError(f"{path}: files: found no {missing[0]}; compile again")
    if not manifest.sequences:
        raise FolderError(f"{path}: sequences: found none, expected at least one; compile again")
    size = _places(manifest, manifest.files["weights.bin"].n_bytes).size
    if size > MAX_MEMORY:
        raise FolderError(
            f"{path}: sequence, output, workspace: found {size:,} bytes of external memory, "
            f"expected at most {MAX_MEMORY:,}; compile again"
        )


def _sequences(path: Path, manifest: Manifest, data: bytes) -> tuple[tuple[int, bytes], ...]:
    """Cut sequences.bin as the manifest says."""
    found: list[tuple[int, bytes]] = []
    at = 0
    for k, entry in enumerate(manifest.sequences):
        expected = manifest.sequence.n_bytes(entry.n_steps)
        if entry.n_bytes != expected:
            raise FolderError(
                f"{path}: sequences.{k}.n_bytes: found {entry.n_bytes}, expected {expected} for "
                f"{entry.n_steps} steps; compile again"
            )
        found.append((entry.n_steps, data[at : at + entry.n_bytes]))
        at += entry.n_bytes
    if at != len(data):
        raise FolderError(
            f"{path}: sequences: found {at} bytes in {len(found)} sequences, expected the "
            f"{len(data)} bytes of sequences.bin; compile again"
        )
    return tuple(found)


def _bytes(path: Path, limit: int) -> bytes:
    """Return a file's bytes, one more than `limit` at most. Raises OSError."""
    if path.exists() and not path.is_file():  # a pipe or a device would never end
        kind = errno.EISDIR if path.is_dir() else errno.EINVAL
        raise OSError(kind, os.strerror(kind))
    with path.open("rb") as file:
        return file.read(limit + 1)


def _binary(path: Path, manifest: Manifest) -> bytes:
    entry = manifest.files[path.name]
    try:
        data = _bytes(path, entry.n_bytes)
    except OSError as error:
        raise FolderError(f"{path}: cannot read: {error.strerror}; compile again") from None
    if len(data) != entry.n_bytes:
        raise FolderError(
            f"{path}: size: found {len(data)} bytes, expected {entry.n_bytes}; compile again"
        )
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise FolderError(
            f"{path}: content: found another SHA-256 than the manifest's; compile again"
        )
    return data


def _program(path: Path, data: bytes) -> Program:
    try:
        return Program.decode(data, str(path))
    except ProgramError as error:
        raise FolderError(f"{error}; compile again") from None
