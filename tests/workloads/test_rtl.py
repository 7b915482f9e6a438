"""A few published workloads, one of each format, on the RTL of `base`."""

from pathlib import Path

import numpy as np
import pytest

from einchip.models import load_model
from einchip.verify import compare
from einchip.verify.machine import RtlMachine
from tests.system.test_models import EXAMPLES, compiled_folder
from tests.workloads.rtl import BASE, differences, random_case, workloads

#: How far a step of the published UCF11 TT-LSTM may be from its roofline: alone, where the loading
#: of its input shows, and in a sequence.
UCF11_ALONE, UCF11_STEADY = 1.2, 1.02
#: One for each format.
CHOSEN = (
    "TT-LSTM UCF11 160x120x3 rank4",
    "BT-LSTM UCF11",
    "TR-LSTM UCF11 end-to-end",
    "HT-LSTM UCF11",
    "tednet CP-LSTM UCF11 features 2048->2048",
    "tednet TK2-LSTM UCF11 features 2048->2048",
    "MPS VGG-FC7",
)


@pytest.mark.parametrize("name", CHOSEN)
def test_a_published_workload_agrees_in_reference_simulator_and_rtl(
    name: str, native_cache: Path
) -> None:
    [workload] = workloads([name])
    rtl = RtlMachine.build(BASE, native_cache)
    assert list(differences(random_case(workload, BASE), rtl)) == []


def test_the_chosen_ones_have_all_formats_of_the_published_ones() -> None:
    assert {m.spec.format for m in workloads(list(CHOSEN))} == {
        m.spec.format for m in workloads([])
    }


def test_published_ucf11_step_agrees_and_keeps_to_its_roofline(
    native_cache: Path, tmp_path: Path
) -> None:
    model, arch = load_model(EXAMPLES / "ucf11_tt_lstm.yaml"), BASE
    steps = np.random.default_rng(0).standard_normal((2, model.spec.input_size))
    sequences = [steps[:1], steps]
    made = compiled_folder(model, arch, (sequences[:1], sequences), tmp_path / "out")
    one, two = compare.compare(made, 2, cache=native_cache)
    assert one.differences == two.differences == ()
    bound = made.manifest.bound_cycles_per_step
    assert bound == 7568 + 16384  # compressed input matrix (bound of its network), dense recurrence
    assert one.cycles[1] <= UCF11_ALONE * bound
    assert two.cycles[1] - one.cycles[1] <= UCF11_STEADY * bound
