"""Folders: what is written is read again; what is damaged is refused by file and field."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from einchip import reference
from einchip.compiler import bound, folder
from einchip.compiler.folder import FolderError
from einchip.sim import simulate
from tests.compiler.helpers import compiled_small, sequences

GIVEN = sequences(6, (3, 1, 5))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that nobody changes."""
    target = tmp_path_factory.mktemp("folder") / "model"
    folder.write(compiled_small(), GIVEN, target)
    return target


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """Return a folder to damage."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def refused(source: Path) -> str:
    """Return the message, which is one line."""
    with pytest.raises(FolderError) as caught:
        folder.read(source)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.endswith(("; compile again", "that `einchip compile` wrote"))
    return message


def edit(source: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest."""
    path = source / folder.MANIFEST
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def put(source: Path, name: str, data: bytes) -> None:
    """Replace a binary, and size and digest in the manifest with it."""
    (source / name).write_bytes(data)
    entry = {"n_bytes": len(data), "sha256": sha256(data).hexdigest()}
    edit(source, lambda m: m["files"].update({name: entry}))


def test_what_was_written_is_read(whole: Path) -> None:
    compiled, found = compiled_small(), folder.read(whole)
    assert found.arch == compiled.arch
    assert found.setup == compiled.programs.setup
    assert found.run == compiled.programs.run
    assert found.weights == compiled.image
    assert found.manifest.model == compiled.spec.name
    assert found.manifest.fracs == compiled.fracs
    spec, arch = compiled.spec, compiled.arch
    assert found.manifest.bound_cycles_per_step == bound.compute_bound(spec, arch)
    bounds = [bound.sequence_bound(spec, arch, n) for n in (3, 1, 5)]
    assert [s.bound_cycles for s in found.manifest.sequences] == bounds
    assert [n for n, _ in found.sequences] == [3, 1, 5]
    packed = [compiled.pack(s).data for s in GIVEN]
    assert [data for _, data in found.sequences] == packed


def test_texts_of_the_mapping_are_those_of_the_mapper(whole: Path) -> None:
    mapping = compiled_small().mapping
    assert json.loads((whole / "mapping.json").read_text()) == json.loads(
        json.dumps(mapping.to_json())
    )
    assert (whole / "mapping.txt").read_text() == mapping.explain()


def test_machines_from_a_folder_answer_as_the_compiled_model(whole: Path) -> None:
    compiled, found = compiled_small(), folder.read(whole)
    for number, expected in enumerate(compiled.evaluate(GIVEN)):
        by_reference, by_simulator = found.memory(number), found.memory(number)
        n_steps = found.sequences[number][0]
        host = found.host(n_steps)
        end = found.places.output + found.manifest.output.n_bytes(n_steps)
        for program in (found.setup, found.run):
            reference.run(program, found.arch, by_reference, host)
            assert simulate(program, found.arch, memory=by_simulator, host=host).error is None
        for memory in (by_reference, by_simulator):
            output = memory.external[found.places.output : end]
            np.testing.assert_array_equal(compiled.mapping.unpack(output, n_steps), expected)


@pytest.mark.parametrize("name", folder.BINARIES)
@pytest.mark.parametrize(
    ("damage", "field"),
    [
        (lambda d: d[:-1], "size: found "),
        (lambda d: b"", "size: found 0 bytes"),
        (lambda d: d + b"\0", "size: found "),
        (lambda d: bytes([d[0] ^ 1]) + d[1:], "content: found another SHA-256"),
    ],
)
def test_damaged_binary_is_named(
    copy: Path, name: str, damage: Callable[[bytes], bytes], field: str
) -> None:
    (copy / name).write_bytes(damage((copy / name).read_bytes()))
    assert refused(copy).startswith(f"{copy / name}: {field}")


@pytest.mark.parametrize("name", [*folder.BINARIES, folder.MANIFEST])
def test_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert refused(copy).startswith(f"{copy / name}: cannot read: No such file")


@pytest.mark.parametrize("name", [*folder.BINARIES, folder.MANIFEST])
def test_folder_in_the_place_of_a_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    (copy / name).mkdir()
    assert refused(copy).startswith(f"{copy / name}: cannot read: Is a directory")


def test_file_or_nothing_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "Not a directory" in refused(tmp_path / "file")
    assert "No such file" in refused(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", "file: not JSON"),
        (b"{", "file: not JSON"),
        (b"[" * 100_000, "file: not JSON"),
        (b"[1, 2]", "file: Input should be an object"),
        (b"null", "file: Input should be an object"),
        (b"\xff\xfe\0", "cannot read: 'utf-8' codec"),
        (b"{}", "version: Field required"),
    ],
)
def test_manifest_that_is_none_is_refused(copy: Path, text: bytes, found: str) -> None:
    (copy / folder.MANIFEST).write_bytes(text)
    assert refused(copy).startswith(f"{copy / folder.MANIFEST}: {found}")


HUGE = 1 << 40


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda m: m.update(modle=m.pop("model")), "modle: Extra inputs"),
        (lambda m: m["arch"].update(row=8), "arch.row: Extra inputs"),
        (lambda m: m["files"]["run.bin"].update(size=1), "files.run.bin.size: Extra inputs"),
        (lambda m: m.pop("arch"), "arch: Field required"),
        (lambda m: m.pop("version"), "version: Field required"),
        (lambda m: m.update(version=1), "version: found 1, expected 2"),
        (lambda m: m.update(version="1"), "version: found '1', expected 2"),
        (lambda m: m.update(version=True), "version: found True, expected 2"),
        (lambda m: m.update(model=3), "model: Input should be a valid string"),
        (lambda m: m.update(arch="nano"), "arch: Input should be an object"),
        (lambda m: m["arch"].update(rows="4"), "arch.rows: Input should be a valid integer"),
        (lambda m: m["arch"].update(rows=0), "arch.rows: Input should be greater than"),
        (lambda m: m["arch"].update(rows=8), "arch: rows: found 8, expected at most the 4 lanes"),
        (lambda m: m["arch"].update(x_depth=HUGE), "arch: x_depth: found "),
        (lambda m: m.update(fracs={"x": 1.5}), "fracs.x: Input should be a valid integer"),
        (lambda m: m.update(sequences=[]), "sequences: found none, expected at least one"),
        (lambda m: m["sequences"].pop(), "sequences: found "),
        (lambda m: m["sequences"][1].update(n_steps=0), "sequences.1.n_steps: Input should be"),
        (lambda m: m["sequences"][1].update(n_steps=2), "sequences.1.n_bytes: found "),
        (lambda m: m["sequences"][1].update(n_steps=HUGE), "sequences.1.n_steps: Input should"),
        (lambda m: m["sequences"][0].update(n_bytes=HUGE), "sequences.0.n_bytes: Input should"),
        (lambda m: m["sequences"][0].update(n_bytes=1 << 30), "sequences.0.n_bytes: found 107"),
        (lambda m: m["sequences"][0].update(bound_cycles=0), "sequences.0.bound_cycles: Input"),
        (lambda m: m["sequence"].update(step_bytes=64), "sequences.0.n_bytes: found "),
        (lambda m: m["sequence"].update(step_bytes=0), "sequences.0.n_bytes: found "),
        (lambda m: m["sequence"].update(fixed_bytes=-1), "sequence.fixed_bytes: Input should be"),
        (lambda m: m["output"].update(step_bytes=HUGE), "output.step_bytes: Input should be"),
        (lambda m: m["output"].update(fixed_bytes=1 << 31), "sequence, output, workspace: found 2"),
        (lambda m: m["workspace"].update(step_bytes=1 << 30), "sequence, output, workspace: fou"),
        (lambda m: m.update(bound_cycles_per_step=0), "bound_cycles_per_step: Input should"),
        (lambda m: m.update(bound_cycles_per_step=float("nan")), "bound_cycles_per_step: Input"),
        (lambda m: m["files"].pop("run.bin"), "files: found no run.bin"),
        (lambda m: m["files"]["run.bin"].update(n_bytes=HUGE), "files.run.bin.n_bytes: Input"),
    ],
)
def test_bad_field_is_named(
    copy: Path, change: Callable[[dict[str, Any]], object], found: str
) -> None:
    edit(copy, change)
    assert refused(copy).startswith(f"{copy / folder.MANIFEST}: {found}")


@pytest.mark.parametrize(
    "fields",
    [
        {"x_depth": 16},
        {"y_depth": 16},
        {"program_words": 32},
        {"acc_bits": 17},
        {"data_bits": 16, "acc_bits": 33},
    ],
)
def test_machine_that_the_program_does_not_fit_is_refused(
    copy: Path, fields: dict[str, int]
) -> None:
    edit(copy, lambda m: m["arch"].update(fields))
    assert refused(copy).startswith((f"{copy / 'setup.bin'}: ", f"{copy / 'run.bin'}: "))


@pytest.mark.parametrize("name", ["setup.bin", "run.bin"])
def test_program_with_an_unknown_opcode_is_refused(copy: Path, name: str) -> None:
    put(copy, name, b"\xff" + (copy / name).read_bytes()[1:])
    assert refused(copy).startswith(f"{copy / name}: word 0: opcode: found 255")


@pytest.mark.parametrize("name", ["setup.bin", "run.bin"])
def test_program_without_its_end_is_refused(copy: Path, name: str) -> None:
    put(copy, name, (copy / name).read_bytes()[:-16])
    assert refused(copy).startswith(f"{copy / name}: ")


def files(path: Path) -> dict[str, bytes]:
    """Return everything below a folder."""
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def write(target: Path) -> None:
    folder.write(compiled_small(), GIVEN, target)


def test_folder_of_einchip_is_replaced_and_nothing_else_stays(copy: Path) -> None:
    folder.write(compiled_small("dense lstm"), GIVEN[:1], copy)
    assert folder.read(copy).manifest.model == "dense lstm"
    assert [p.name for p in copy.parent.iterdir()] == [copy.name]


def test_empty_folder_and_missing_parents_are_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty")
    write(tmp_path / "a" / "b")
    assert files(tmp_path / "empty") == files(tmp_path / "a" / "b")


def test_link_is_followed(copy: Path) -> None:
    link = copy.parent / "link"
    link.symlink_to(copy)
    folder.write(compiled_small("dense lstm"), GIVEN[:1], link)
    assert link.is_symlink()
    assert folder.read(copy).manifest.model == "dense lstm"


@pytest.mark.parametrize("content", [{"notes.txt": "mine"}, {"manifest.json": "{}", "a.js": "1"}])
def test_foreign_folder_is_refused_and_stays(tmp_path: Path, content: dict[str, str]) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    for name, text in content.items():
        (target / name).write_text(text)
    before = files(tmp_path)
    with pytest.raises(FolderError, match=r"mine: found .* there, expected a folder of einchip"):
        write(target)
    assert files(tmp_path) == before


def test_file_in_the_place_of_the_target_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FolderError, match="file: found a file there"):
        write(tmp_path / "file")
    with pytest.raises(FolderError, match=r"below: cannot write: .*/file is no folder"):
        write(tmp_path / "file" / "below")
    assert files(tmp_path) == {"file": b"mine"}


def test_target_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    try:
        (tmp_path / "locked" / "probe").touch()
    except PermissionError:
        with pytest.raises(FolderError, match="cannot write: Permission denied"):
            write(tmp_path / "locked" / "model")
    else:
        pytest.skip("this user may write everywhere")


@pytest.mark.parametrize("call", ["write_bytes", "rename"])
def test_failure_half_way_leaves_the_old_folder(
    copy: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before, original = files(copy.parent), getattr(Path, call)
    calls: list[Path] = []

    def third_fails(self: Path, *arguments: Any) -> Any:
        calls.append(self)
        if len(calls) == (3 if call == "write_bytes" else 2):
            raise OSError(28, "No space left on device")
        return original(self, *arguments)

    monkeypatch.setattr(Path, call, third_fails)
    with pytest.raises(FolderError, match="cannot write: No space left on device"):
        folder.write(compiled_small("dense lstm"), GIVEN, copy)
    monkeypatch.undo()
    assert files(copy.parent) == before


def test_sequences_that_need_too_much_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "MAX_MEMORY", 1 << 13)
    with pytest.raises(FolderError, match="bytes of external memory, expected at most 8,192; give"):
        write(tmp_path / "out")
    assert files(tmp_path) == {}
