"""Tensor networks: einsum text in and out, contraction against explicit loops, refusals."""

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip.network import Network, NetworkError

INDICES = "abcdef"


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Return a network of up to four tensors, hyperedges and sums included."""
    some = st.lists(st.sampled_from(INDICES), unique=True, max_size=3)
    terms = draw(st.lists(some, min_size=1, max_size=4))
    used = sorted({i for t in terms for i in t})
    output = draw(st.lists(st.sampled_from(used), unique=True, max_size=3)) if used else []
    sizes = {i: draw(st.integers(1, 3)) for i in used}
    return Network({f"T{k}": tuple(t) for k, t in enumerate(terms)}, sizes, tuple(output))


def contract_by_loops(network: Network, arrays: dict[str, np.ndarray]) -> np.ndarray:
    result = np.zeros([network.sizes[i] for i in network.output])
    names = list(network.sizes)
    for values in itertools.product(*(range(network.sizes[i]) for i in names)):
        at = dict(zip(names, values, strict=True))

        def pick(indices: Iterable[str], at: dict[str, int] = at) -> tuple[int, ...]:
            return tuple(at[i] for i in indices)

        product = 1.0
        for name, indices in network.tensors.items():
            product *= arrays[name][pick(indices)]
        result[pick(network.output)] += product
    return result


@given(networks(), st.integers(0, 2**32 - 1))
def test_contract_is_the_sum_over_all_indices(network: Network, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = {n: rng.integers(-3, 4, network.shape(n)).astype(float) for n in network.tensors}
    assert np.array_equal(network.contract(arrays), contract_by_loops(network, arrays))


@given(networks(), st.integers(0, 2**32 - 1))
def test_einsum_text_keeps_the_network_but_for_names(network: Network, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-3, 4, network.shape(n)).astype(float) for n in network.tensors]
    again = Network.from_einsum(network.einsum(), [a.shape for a in arrays])
    found = again.contract(dict(zip(again.tensors, arrays, strict=True)))
    assert np.array_equal(found, network.contract(dict(zip(network.tensors, arrays, strict=True))))


def test_sizes_and_holders() -> None:
    n = Network.from_einsum("ar,br,cr->abc", [(2, 5), (3, 5), (4, 5)])
    assert n.size("abc") == 24
    assert n.size(()) == 1
    assert n.holders()["r"] == ("T0", "T1", "T2")
    assert n.output == ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        ("ab,bc", [(2, 3), (3, 4)], "found no '->'"),
        ("ab,bc->ac", [(2, 3)], "found 1 shapes, expected 2"),
        ("ab->a", [(2,)], "term ab does not fit shape"),
        ("ab,bc->ac", [(2, 3), (4, 4)], "index b has sizes 3 and 4"),
        ("aa->a", [(2, 2)], "traces are not supported"),
        ("ab->c", [(2, 2)], "output: index c is in no tensor, expected one of a, b"),
        ("a->a", [(0,)], "index a has size 0, expected at least 1"),
    ],
)
def test_senseless_text_is_refused(text: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network.from_einsum(text, shapes)


def test_empty_network_and_lone_output_index_are_refused() -> None:
    with pytest.raises(NetworkError, match="found no tensor"):
        Network({}, {}, ())
    with pytest.raises(NetworkError, match="output: index b is in no tensor"):
        Network({"A": ("a",)}, {"a": 2, "b": 2}, ("b",))


def test_wrong_array_is_named() -> None:
    n = Network.from_einsum("ab->a", [(2, 3)])
    with pytest.raises(NetworkError, match=r"T0: found shape \(3, 2\), expected \(2, 3\)"):
        n.contract({"T0": np.zeros((3, 2))})
