"""A few published workloads, one of each format, on the RTL of `base`."""

from pathlib import Path

import pytest

from einchip.verify.machine import RtlMachine
from tests.workloads.rtl import BASE, differences, random_case, workloads

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
