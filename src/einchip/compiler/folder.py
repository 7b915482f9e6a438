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

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from einchip import check
from einchip.arch import Architecture
from einchip.compiler.compiled import PAGE_BYTES, Compiled, Places
from einchip.program import Program, ProgramError
from einchip.reference import Host, Memory

VERSION: Final = 1
MANIFEST: Final = "manifest.json"
#: The binaries that a folder must have; they are read whole.
BINARIES: Final = ("setup.bin", "run.bin", "weights.bin", "sequences.bin")
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
    """What manifest.json holds."""

    version: int
    model: str
    arch: Architecture
    fracs: dict[str, int]
    output_bytes: _Size
    bound_cycles_per_step: float
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
        sequence = _pages(len(self.weights))
        output = sequence + _pages(max(len(data) for _, data in self.sequences))
        return Places(sequence, output, output + _pages(self.manifest.output_bytes))

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


def _pages(n_bytes: int) -> int:
    return -(-n_bytes // PAGE_BYTES) * PAGE_BYTES


def write(
    compiled: Compiled, sequences: Sequence[ArrayLike], bound: float, target: Path
) -> Manifest:
    """Write a folder, all of it or nothing; one that is there is replaced.

    `bound` is the roofline in cycles per time step. Raises FolderError where the place cannot be
    written, or holds something else.
    """
    packed = [compiled.quantise_sequence(s) for s in sequences]
    data = [compiled.mapping.pack_sequence(s) for s in packed]
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


def _replace(target: Path, contents: dict[str, bytes]) -> None:
    if (
        target.exists()
        and not (target / MANIFEST).exists()
        and (not target.is_dir() or any(target.iterdir()))
    ):
        raise FolderError(
            f"{target}: found something else, expected a folder of einchip or none; "
            "name another folder"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            for name, content in contents.items():
                (fresh / name).write_bytes(content)
            fresh.chmod(0o755)
            if target.exists():
                shutil.rmtree(target)
            fresh.rename(target)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
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
    sequences: list[tuple[int, bytes]] = []
    at = 0
    for entry in manifest.sequences:
        sequences.append((entry.n_steps, binaries["sequences.bin"][at : at + entry.n_bytes]))
        at += entry.n_bytes
    if at != len(binaries["sequences.bin"]) or not sequences:
        raise FolderError(
            f"{source / MANIFEST}: sequences: found {at} bytes in {len(sequences)} sequences, "
            f"expected the {len(binaries['sequences.bin'])} bytes of sequences.bin; compile again"
        )
    folder = Folder(manifest, programs[0], programs[1], binaries["weights.bin"], tuple(sequences))
    for name, program in zip(("setup.bin", "run.bin"), programs, strict=True):
        try:
            check.require(program, folder.arch, folder.host(check.DEFAULT_ARGUMENT))
        except ProgramError as error:
            raise FolderError(f"{source / name}: {error}; compile again") from None
    return folder


def _manifest(path: Path) -> Manifest:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise FolderError(
            f"{path}: cannot read it ({error}); expected a folder that `einchip compile` wrote"
        ) from None
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "file"
        message = " ".join(str(first["msg"]).split())
        raise FolderError(f"{path}: {field}: {message}; compile again") from None
    if manifest.version != VERSION:
        raise FolderError(
            f"{path}: version: found {manifest.version}, expected {VERSION}; compile again"
        )
    missing = [name for name in BINARIES if name not in manifest.files]
    if missing:
        raise FolderError(f"{path}: files: found no {missing[0]}; compile again")
    return manifest


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
        raise FolderError(str(error)) from None
