"""Models, compiled: reference = simulator = RTL, in memory, cycles and every counter."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from einchip.arch import PRESETS, Architecture
from einchip.compiler import folder
from einchip.compiler.compiled import compile_model
from einchip.models import Model, ModelSpec, load_model, load_npz, random_model
from einchip.verify import compare
from tests.compiler import cases
from tests.system.compare import machine

EXAMPLES = Path(__file__).parents[2] / "examples"
VOWELS = EXAMPLES / "japanese_vowels"
#: Every format with one cell, every cell with some, every graph.
ZOO = [
    *(f"{fmt} {cell}" for fmt, cell in zip(cases.FORMATS, [*cases.CELLS] * 2, strict=False)),
    *cases.GRAPH_CASES,
]


def compiled_folder(
    model: Model,
    arch: Architecture,
    data: tuple[Sequence[ArrayLike], Sequence[ArrayLike]],
    at: Path,
) -> folder.Folder:
    """Compile with (calibration, sequences), write, and read again."""
    folder.write(compile_model(model, arch, data[0]), data[1], at)
    return folder.read(at)


#: Two presets; 16-bit elements, with a cell state of one plane, and a port of half the lanes.
MACHINES = {
    "nano": PRESETS["nano"],
    "small": PRESETS["small"],
    "wide": PRESETS["nano"].override(name="wide", data_bits=16),
}


@pytest.mark.parametrize("arch", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("name", ZOO)
def test_every_kind_of_model_agrees(
    name: str, arch: Architecture, native_cache: Path, tmp_path: Path
) -> None:
    data = cases.sequences(name, (9, 5)), cases.sequences(name, (3, 1), seed=4)
    made = compiled_folder(cases.model(name), arch, data, tmp_path / "out")
    rtl = machine(arch, native_cache)
    for c in compare.compare(made, 2, machine=rtl):
        assert c.differences == ()
        assert c.cycles[0] == c.cycles[1]


@pytest.mark.parametrize("batch", [2, 3])
@pytest.mark.parametrize("name", [f"mpo {cell}" for cell in cases.CELLS])
def test_sequences_side_by_side_agree(
    name: str, batch: int, native_cache: Path, tmp_path: Path
) -> None:
    arch = MACHINES["small"]
    given = cases.sequences(name, (3, 1, 3, 3), seed=4)
    folder.write(compile_model(cases.model(name), arch, given, batch), given, tmp_path / "out")
    made = folder.read(tmp_path / "out")
    rtl = machine(arch, native_cache)
    for c in compare.compare(made, 3, machine=rtl):
        assert c.differences == ()
        assert c.cycles[0] == c.cycles[1]


def test_a_stack_whose_weights_every_run_loads_agrees(native_cache: Path, tmp_path: Path) -> None:
    """Two layers of 12,800 weights on a machine that holds 16,384 elements."""
    n = 40
    layers = [cases.recurrent("lstm", "dense", n, n) for _ in range(2)]
    spec = ModelSpec.model_validate({"name": "stack", "layers": layers})
    rng = np.random.default_rng(1)
    data = [rng.standard_normal((k, n)) for k in (3, 1)]
    made = compile_model(random_model(spec, 3), MACHINES["nano"], data)
    assert made.mapping.reloaded_bytes > 2 * 8 * n * n
    folder.write(made, data, tmp_path / "out")
    rtl = machine(MACHINES["nano"], native_cache)
    for c in compare.compare(folder.read(tmp_path / "out"), 2, machine=rtl):
        assert c.differences == ()
        assert c.cycles[0] == c.cycles[1]


@pytest.mark.parametrize("name", ["dense", "mpo", "mps"])
def test_trained_models_agree_on_real_sequences(
    name: str, native_cache: Path, tmp_path: Path
) -> None:
    train, test = (load_npz(VOWELS / "japanese_vowels.npz", s) for s in ("train", "test"))
    model = load_model(VOWELS / f"{name}.safetensors")
    data = (list(train.sequences[:40]), [test.sequences[k] for k in (0, 100, 300)])
    made = compiled_folder(model, PRESETS["small"], data, tmp_path / "out")
    for c in compare.compare(made, 3, cache=native_cache):
        assert c.differences == ()
        assert c.cycles[0] == c.cycles[1]
