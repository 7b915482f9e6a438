"""What `einchip compile` writes: programs, memory image, sequences, mapping; and reads again.

| file | what it is |
|---|---|
| manifest.json | the machine, the fractional bits, sizes and SHA-256 of every other file |
| setup.bin, run.bin | the programs: load the weights, run a sequence |
| weights.bin | external memory from BASE0 |
| sequences.bin | sequences as they lie from BASE1, one after the other |
| mapping.json, mapping.txt | the mapping for programs, and as a loop nest for people |
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from einchip import check
from einchip.arch import Architecture
from einchip.compiler.compiled import Compiled, Places
from einchip.program import Program, ProgramError
from einchip.reference import Host, Memory

VERSION: Final = 1
MANIFEST: Final = "manifest.json"
#: The binaries that a folder must have; they are read whole.
BINARIES: Final = ("setup.bin", "run.bin", "weights.bin", "sequences.bin")
#: What tells people and their programs about the mapping; einchip does not read them.
TEXTS: Final = ("mapping.json", "mapping.txt")
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
    """A sequence: its time steps, and its bytes in sequences.bin."""

    n_steps: Annotated[int, Field(ge=1, le=1 << 24)]
    n_bytes: _Size


class Manifest(_Strict):
    """What manifest.json holds.

    A sequence of n steps takes n * `step_bytes` + `ahead_bytes`, since loads run ahead.
    """

    version: int
    model: str
    arch: Architecture
    fracs: dict[str, int]
    step_bytes: Annotated[int, Field(ge=1, le=1 << 32)]
    ahead_bytes: _Size
    output_bytes: _Size
    bound_cycles_per_step: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    sequences: list[SequenceEntry]
    files: dict[str, FileEntry]


@dataclass(frozen=True)
class Folder:
    """A compiled model read back; `sequences` holds (time steps, bytes from BASE1)."""

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
        longest = max(len(data) for _, data in self.sequences)
        return Places.of(len(self.weights), longest, self.manifest.output_bytes)

    def host(self, n_steps: int) -> Host:
        """Return the host registers for a run."""
        return Host((0, self.places.sequence, self.places.output, 0), (n_steps, 0, 0, 0))

    def memory(self, number: int) -> Memory:
        """Return a machine after power-up, with the weights and sequence `number` in memory."""
        memory = Memory.empty(self.arch, self.places.size)
        data = self.sequences[number][1]
        memory.external[: len(self.weights)] = self.weights
        memory.external[self.places.sequence : self.places.sequence + len(data)] = data
        return memory


def write(
    compiled: Compiled, sequences: Sequence[ArrayLike], bound: float, target: Path
) -> Manifest:
    """Write a folder, all of it or nothing; one that `write` made is replaced.

    `bound` is the roofline in cycles per time step. Raises FolderError where the place cannot be
    written, or holds something else.
    """
    check_target(target)
    packed = [compiled.quantise_sequence(s) for s in sequences]
    data = [compiled.mapping.pack_sequence(s) for s in packed]
    ahead = compiled.mapping.sequence_bytes(0)
    contents = {
        "setup.bin": compiled.programs.setup.encode(),
        "run.bin": compiled.programs.run.encode(),
        "weights.bin": compiled.image,
        "sequences.bin": b"".join(data),
        "mapping.json": json.dumps(compiled.mapping.to_json(), indent=1).encode(),
        "mapping.txt": compiled.mapping.explain().encode(),
    }
    manifest = Manifest(
        version=VERSION,
        model=compiled.spec.name,
        arch=compiled.arch,
        fracs=dict(compiled.fracs),
        step_bytes=compiled.mapping.sequence_bytes(1) - ahead,
        ahead_bytes=ahead,
        output_bytes=compiled.mapping.output_bytes,
        bound_cycles_per_step=bound,
        sequences=[
            SequenceEntry(n_steps=len(s), n_bytes=len(d)) for s, d in zip(packed, data, strict=True)
        ],
        files={
            name: FileEntry(n_bytes=len(c), sha256=hashlib.sha256(c).hexdigest())
            for name, c in contents.items()
        },
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
            if target.exists():
                target.rename(old)
            try:
                fresh.rename(target)
            except BaseException:
                if old.exists():
                    old.rename(target)
                raise
    except OSError as error:
        raise FolderError(f"{target}: cannot write: {error.strerror}") from None


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


def _manifest(path: Path) -> Manifest:
    try:
        text = path.read_text(encoding="utf-8")
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
    most = max(manifest.arch.capacity(s) for s in (0, 1)) * manifest.arch.element_bytes
    if manifest.output_bytes > most:
        raise FolderError(
            f"{path}: output_bytes: found {manifest.output_bytes}, expected at most the {most} of "
            "a scratchpad; compile again"
        )


def _sequences(path: Path, manifest: Manifest, data: bytes) -> tuple[tuple[int, bytes], ...]:
    """Cut sequences.bin as the manifest says."""
    found: list[tuple[int, bytes]] = []
    at = 0
    for k, entry in enumerate(manifest.sequences):
        expected = entry.n_steps * manifest.step_bytes + manifest.ahead_bytes
        if entry.n_bytes != expected:
            raise FolderError(
                f"{path}: sequences.{k}.n_bytes: found {entry.n_bytes}, expected {expected} for "
                f"{entry.n_steps} steps; compile again"
            )
        found.append((entry.n_steps, data[at : at + entry.n_bytes]))
        at += entry.n_bytes
    if at != len(data) or not found:
        raise FolderError(
            f"{path}: sequences: found {at} bytes in {len(found)} sequences, expected the "
            f"{len(data)} bytes of sequences.bin; compile again"
        )
    return tuple(found)


def _binary(path: Path, manifest: Manifest) -> bytes:
    entry = manifest.files[path.name]
    try:
        data = path.read_bytes()
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
