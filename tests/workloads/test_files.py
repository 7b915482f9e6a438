"""Files of random shapes in all formats: figures against brute force, and what is refused."""

import contextlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from einchip import energy
from einchip.arch import PRESETS
from einchip.compiler.contraction import contract
from einchip.models import MatrixSpec, ModelError
from einchip.workloads import Figures, Refused, Workload, measure, network_of, published, read
from tests.cli.helpers import invoke, refused, succeeded
from tests.workloads.shapes import FORMATS, Shape, random_shape

BASE = PRESETS["base"]
WIDE = BASE.override(data_bits=16)
PER_FORMAT = 8


def file_of(path: Path, content: object) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def figures(shape: Shape, folder: Path) -> Figures:
    [entry] = read(file_of(folder / "one.yaml", [shape.entry]))
    found = measure(entry.matrices[0], BASE, energy.load("horowitz45"))
    assert isinstance(found, Figures), found
    return found


def expected(shape: Shape) -> tuple[str, str, int, int, int]:
    volume = shape.volume
    macs = shape.least(lambda a, b, _: volume(a | b))
    steps = shape.least(
        lambda a, b, c: max(volume(a | b) / 256, *(volume(t) / 16 for t in (a, b, c)))
    )
    port = sum(map(volume, shape.ends)) / 16
    entry = shape.entry
    return entry["name"], entry["format"], shape.weights, int(macs), math.ceil(max(steps, port))


@pytest.mark.parametrize("seed", range(PER_FORMAT))
@pytest.mark.parametrize("form", FORMATS)
def test_weights_macs_and_bound_are_those_of_brute_force(
    form: str, seed: int, tmp_path: Path
) -> None:
    shape = random_shape(form, seed)
    f = figures(shape, tmp_path)
    assert (f.name, f.format, f.weights, f.macs, f.bound_cycles) == expected(shape)
    assert f.macs <= f.macs_mapped or f.weights_stored != f.weights
    assert f.macs <= f.macs_naive
    assert f.cycles > f.bound_merged_cycles <= f.bound_cycles
    assert f.energy_pj > 0


def spec_of(shape: Shape) -> MatrixSpec:
    keys = ("format", "in_modes", "out_modes", "ranks")
    return MatrixSpec.model_validate({k: shape.entry[k] for k in keys if k in shape.entry})


@pytest.mark.parametrize("form", FORMATS)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=8)
def test_a_matrix_of_any_format_equals_numpy_einsum_in_16_bit(form: str, seed: int) -> None:
    network = network_of(spec_of(random_shape(form, seed)))
    rng = np.random.default_rng(seed)
    arrays = {n: rng.choice([-1.0, 1.0], network.shape(n)) for n in network.tensors}
    made = contract(network, arrays, WIDE, [n for n in network.tensors if n != "x"])
    wanted = network.contract(arrays)
    assert np.abs(made.computed() - wanted).max() <= 1e-3 * max(1, np.abs(wanted).max())


GOOD = {
    "name": "good",
    "format": "mpo",
    "in_modes": [3, 5],
    "out_modes": [7, 2],
    "ranks": [1, 3, 1],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "foo"}, "format: found 'foo'"),
        ({"ranks": [1, 3, 2, 1]}, "found 4 ranks, expected 3"),
        ({"ranks": [2, 3, 1]}, "found ranks with ends 2 and 1, expected 1 and 1"),
        ({"ranks": [1, 16, 1]}, "expected at most 10"),
        ({"ranks": [1, 0, 1]}, "ranks"),
        ({"ranks": {"leaf": 2}}, "ranks"),
        ({"in_modes": [3, -5]}, "in_modes.1: found -5"),
        ({"in_modes": [3, 2.5]}, "in_modes.1: found 2.5"),
        ({"in_modes": [3]}, "found 1 in_modes and 2 out_modes"),
        ({"in_modes": "35"}, "in_modes: found '35'"),
        ({"in_modes": {"W": [3, 5]}}, "out_modes: found"),
        ({"in_modes": [10**30, 1]}, "in_modes.0: found an integer of 100 bits"),
        ({"in_modes": [2**24, 999_983], "out_modes": [2**24, 2]}, "scratchpad"),
        ({"in_modes": [4096, 1], "out_modes": [4096, 1], "ranks": [1, 1, 1]}, "scratchpad"),
    ],
)
def test_an_entry_that_cannot_be_used_is_refused_and_the_others_go_on(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = file_of(tmp_path / "two.yaml", [{**GOOD, "name": "bad", **change}, GOOD])
    found = invoke("workloads", "--file", path, "--json", tmp_path / "out.json")
    bad, good = json.loads((tmp_path / "out.json").read_text())
    assert set(bad) == {"name", "error"}
    assert message in bad["error"]
    assert "\n" not in bad["error"]
    [line] = found.stderr.splitlines()
    # what no machine holds is found when it is mapped, and has no line
    place = "" if message == "scratchpad" else rf"{re.escape(str(path))}:\d+: "
    assert re.fullmatch(f"{place}bad: {re.escape(bad['error'])}", line)
    assert (found.exit_code, good["name"], good["weights"]) == (1, "good", 3 * (3 * 7 + 5 * 2))


def test_what_is_no_mapping_is_refused_by_its_number(tmp_path: Path) -> None:
    entries = read(file_of(tmp_path / "f.yaml", [17, GOOD, None, {"format": "cp"}]))
    names = [m.name for e in entries for m in e.matrices if isinstance(m, Refused)]
    assert names == ["entry 0", "entry 2", "entry 3"]


def test_several_matrices_of_an_entry_are_named_by_their_parts(tmp_path: Path) -> None:
    parts = {"in_modes": {"W": [3, 5], "U": [7, 2]}, "out_modes": {"W": [2, 2], "U": [2, 2]}}
    [entry] = read(file_of(tmp_path / "f.yaml", [{**GOOD, **parts}]))
    assert [m.name for m in entry.matrices] == ["good W", "good U"]


@pytest.mark.parametrize("text", ["", "a: 1", "[", "- &a [*a]\n- *b", "\x00", "text", "[" * 10_000])
def test_a_file_that_is_no_list_is_one_line_and_status_2(tmp_path: Path, text: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(text)
    refused(tmp_path, "workloads", "--file", path)


def test_a_list_that_holds_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("- &a {name: *a, format: mpo, in_modes: [*a], out_modes: [2], ranks: [1, 1]}")
    with pytest.raises(ModelError, match="a value that holds itself"):
        read(path)


def test_a_missing_file_is_one_line_and_status_2(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path, "workloads", "--file", tmp_path / "none.yaml")


@given(
    content=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(sorted({*GOOD, "leaf", "tucker", "blocks"})), inner)
        ),
        max_leaves=12,
    )
)
@settings(max_examples=200)
def test_any_yaml_is_read_or_refused(
    content: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = file_of(tmp_path_factory.getbasetemp() / "any.yaml", content)
    with contextlib.suppress(ModelError):
        for matrix in (m for e in read(path) for m in e.matrices):
            assert isinstance(matrix, Workload) or "\n" not in matrix.error


def test_the_listing_names_every_published_workload_with_its_source() -> None:
    text = succeeded(invoke("workloads"))
    for entry in published():
        assert f"{entry.name}: " in text
        assert entry.facts["citation"] in text
