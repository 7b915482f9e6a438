"""Published workloads against the counts of their papers and an independent program."""

import json

import pytest

from einchip.arch import PRESETS
from einchip.mapper import tree
from einchip.models import n_weights
from einchip.roofline import roofline
from einchip.workloads import Entry, Workload, network_of, published
from tests.workloads import oracle

ENTRIES = published()
BASE = PRESETS["base"]
EVERY = pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)


def matrices(entry: Entry) -> list[Workload]:
    assert all(isinstance(m, Workload) for m in entry.matrices)
    return [m for m in entry.matrices if isinstance(m, Workload)]


def those_with(fact: str) -> pytest.MarkDecorator:
    chosen = [e for e in ENTRIES if fact in e.facts]
    assert chosen
    return pytest.mark.parametrize("entry", chosen, ids=lambda e: e.name)


def test_every_entry_has_a_name_of_its_own_and_a_citation() -> None:
    assert len({e.name for e in ENTRIES}) == len(ENTRIES) == 48
    assert all(e.facts["citation"] for e in ENTRIES)
    assert {e.facts["basis"] for e in ENTRIES} == {"paper", "code", "reconstructed"}


@EVERY
def test_weights_are_the_published_count(entry: Entry) -> None:
    assert sum(n_weights(m.spec) for m in matrices(entry)) == entry.facts["weights"]


@those_with("published_weights")
def test_a_larger_published_count_adds_biases_or_a_second_matrix(entry: Entry) -> None:
    spare = entry.facts["published_weights"] - entry.facts["weights"]
    biases = {"FT-LSTM speaker": 4 * 768 + 256, "FT-LSTM row-MNI": 4 * 256}
    assert spare == biases.get(entry.name[:15], entry.facts["weights"])


@those_with("weights_dense")
def test_the_dense_count_is_the_product_of_all_modes(entry: Entry) -> None:
    [matrix] = matrices(entry)
    assert matrix.spec.in_size * matrix.spec.out_size == entry.facts["weights_dense"]


@those_with("macs_best")
def test_the_best_order_needs_no_more_macs_than_the_best_one_known(entry: Entry) -> None:
    [matrix] = matrices(entry)
    assert roofline(network_of(matrix.spec), BASE, "x").macs <= entry.facts["macs_best"]


@those_with("macs_naive")
def test_cores_in_their_order_need_the_macs_of_the_naive_order(entry: Entry) -> None:
    [matrix] = matrices(entry)
    network = network_of(matrix.spec)
    assert tree.macs(tree.in_order(network, "x"), network) == entry.facts["macs_naive"]


def test_weights_macs_and_bounds_are_those_of_an_independent_program() -> None:
    found = [
        {
            "name": m.name,
            "format": m.spec.format,
            "weights": n_weights(m.spec),
            "macs": line.macs,
            "bound_cycles": line.cycles,
        }
        for entry in ENTRIES
        for m in matrices(entry)
        for line in [roofline(network_of(m.spec), BASE, "x")]
    ]
    assert found == json.loads(oracle.EXPECTED.read_text())


@pytest.mark.skipif(not oracle.PROGRAM.exists(), reason="the program is not beside the checkout")
def test_the_committed_figures_are_those_of_the_program_today() -> None:
    found = oracle.figures(oracle.PROGRAM, oracle.published())
    assert found == json.loads(oracle.EXPECTED.read_text())
