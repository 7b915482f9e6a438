"""`einchip contract` against numpy.einsum, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from einchip.arch import PRESETS
from einchip.compiler.contraction import contract
from einchip.mapper.errors import MappingError
from einchip.network import Network
from tests.cli.helpers import invoke, refused, succeeded

EINSUMS = [
    ("ab,bc,cd->ad", "17x13,13x9,9x20"),
    ("ar,br,cr->abc", "5x3,7x3,9x3"),
    ("a,b->ab", "5,7"),
    ("abz->ba", "4x6x5"),
    (",a->a", ",9"),
]


def tensors(path: Path, shapes: str, seed: int = 1) -> tuple[Path, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    sizes = [[int(n) for n in s.split("x") if n] for s in shapes.split(",")]
    arrays = [rng.standard_normal(s) for s in sizes]
    np.savez(path, *arrays)
    return path, arrays


@pytest.mark.parametrize(("einsum", "shapes"), EINSUMS)
@pytest.mark.parametrize(("bits", "least_db"), [(8, 25), (16, 70)])
def test_the_result_is_that_of_numpy_einsum_within_the_data_width(
    tmp_path: Path, einsum: str, shapes: str, bits: int, least_db: float
) -> None:
    path, arrays = tensors(tmp_path / "in.npz", shapes)
    out, figures = tmp_path / "out.npz", tmp_path / "out.json"
    text = succeeded(
        invoke("contract", einsum, path, "--set", f"data_bits={bits}", "-o", out, "--json", figures)
    )
    wanted = np.einsum(einsum, *arrays)
    with np.load(out) as file:
        found = file["result"]
    assert found.shape == wanted.shape
    snr = 10 * np.log10(np.sum(wanted**2) / np.sum((wanted - found) ** 2))
    assert snr > least_db
    data = json.loads(figures.read_text())
    assert data["snr_db"] == pytest.approx(snr)
    assert data["bound_cycles"] < data["cycles"] == data["counters"]["cycles"]
    assert data["energy_pj"] > 0
    assert f"{snr:.1f} dB" in text


def test_integers_that_fit_are_exact(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", a=np.arange(6).reshape(2, 3), b=np.ones(3, dtype=np.int8))
    out = tmp_path / "out.npz"
    assert "exact" in succeeded(invoke("contract", "ab,b->a", tmp_path / "in.npz", "-o", out))
    assert np.load(out)["result"].tolist() == [3, 12]


def test_zeros_are_exact(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", a=np.zeros((2, 3)), b=np.ones(3))
    assert "exact" in succeeded(invoke("contract", "ab,b->a", tmp_path / "in.npz"))


def test_a_resident_operand_is_not_loaded_by_the_run(tmp_path: Path) -> None:
    beats = []
    for options in ([], ["--resident", "T1"]):
        out = tmp_path / "out.json"
        succeeded(
            invoke("contract", "ab,bc->ac", "--shapes", "8x16,16x64", "--json", out, *options)
        )
        beats.append(json.loads(out.read_text())["counters"]["dma_read_beats"])
    assert beats[0] - beats[1] >= 16 * 64 // 16
    assert beats[1] == 8 * 16 // 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ab,bc", "--shapes", "2x3,3x4"], "found no '->'"),
        (["ab->ab->a", "--shapes", "2x3"], "found several '->'"),
        (["ab,bc->ac", "--shapes", "2x3"], "--shapes: found 1 tensors, expected 2"),
        (["ab,bc->ac", "--shapes", "2x3,4x4"], "index b has sizes 3 and 4"),
        (["aa->a", "--shapes", "2x2"], "traces are not supported"),
        (["a...->a", "--shapes", "2x2"], "found '.', expected a letter"),
        (["a->a", "--shapes", "2y"], "--shapes: found '2y'"),
        (["a->a", "--shapes", "0"], "--shapes: found '0'"),
        (["ab->a", "--shapes", "100000x100000"], "more than"),
        (["ab->ba", "--shapes", "3000x3000"], "scratchpad"),
        (["a->a"], "expected a file of tensors or --shapes"),
        (["a->a", "--shapes", "3", "--resident", "T7"], "--resident: found 'T7', expected"),
        (["a->a", "--shapes", "2" * 5000], "expected sizes such as 4x5"),
        (["a,b->ab", "--shapes", "9000000,9000000"], "found more than 16777216 elements"),
        (["a->a", "none.npz"], "none.npz: file: found nothing, expected an .npz file"),
    ],
)
def test_senseless_input_is_one_line_and_status_2(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert message in refused(tmp_path, "contract", *arguments)


@pytest.mark.parametrize("data", [b"", b"PK", b"\x93NUMPY", b"text"])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "in.npz"
    path.write_bytes(data)
    assert str(path) in refused(tmp_path, "contract", "a->a", path)


def test_an_npz_file_cut_short_is_refused(tmp_path: Path) -> None:
    path, _ = tensors(tmp_path / "in.npz", "40x50")
    whole = path.read_bytes()
    for n in (10, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n])
        refused(tmp_path, "contract", "ab->a", path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1.0, np.nan]), "T0: found NaN or infinity"),
        (np.array([1.0, np.inf]), "T0: found NaN or infinity"),
        (np.array([1j, 2]), "expected real numbers"),
        (np.array(["a", "b"]), "expected real numbers"),
        (np.array([None, {}], dtype=object), "without pickled objects"),
    ],
)
def test_values_that_are_no_finite_real_numbers_are_refused(
    tmp_path: Path, array: np.ndarray, message: str
) -> None:
    path = tmp_path / "in.npz"
    np.savez(path, array)
    assert message in refused(tmp_path, "contract", "a->a", path)


@pytest.mark.parametrize(("value", "name"), [(1e300, "T0"), (1e-300, "T0"), (1e50, "result")])
def test_magnitudes_without_a_sensible_scale_are_refused(value: float, name: str) -> None:
    network = Network.from_einsum("a,a->a", [(2,), (2,)])
    arrays = {"T0": np.full(2, value), "T1": np.full(2, value)}
    with pytest.raises(MappingError, match=f"{name}: found a greatest magnitude of"):
        contract(network, arrays, PRESETS["nano"])
