"""Hidden units as factors that the outputs of both matrices and the input h agree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod

from einchip.mapper.cell import GATE, N_GATES, Units
from einchip.mapper.errors import MappingError
from einchip.network import Network

Splits = Mapping[str, tuple[str, ...]]


def suffix_products(modes: Sequence[int]) -> list[int]:
    """Return 1, the last mode, the product of the last two, and so on."""
    return [prod(modes[k:]) for k in range(len(modes), -1, -1)]


def common_factors(all_modes: Sequence[Sequence[int]], what: str) -> tuple[int, ...]:
    """Return factors of which each list of modes is a row-major grouping, slowest first.

    16 x 4 and 8 x 8 give 8, 2, 4. Raises MappingError where there are none, as for 6 x 4 and 4 x 6.
    """
    cuts = sorted({c for modes in all_modes for c in suffix_products(modes)})
    for low, high in pairwise(cuts):
        if high % low:
            texts = " and ".join("x".join(map(str, m)) for m in all_modes)
            raise MappingError(
                f"{what}: found hidden modes {texts}, expected modes with common factors; "
                "choose modes whose products from the right divide one another"
            )
    return tuple(high // low for low, high in pairwise(cuts))[::-1]


def unit_modes(modes: Sequence[int], hidden_size: int, what: str) -> tuple[int, ...]:
    """Return output modes without the gate, which is the slowest part of the first one."""
    if not modes or modes[0] % N_GATES or prod(modes) != N_GATES * hidden_size:
        raise MappingError(
            f"{what}: found output modes {tuple(modes)}, expected the first a multiple of "
            f"{N_GATES} and a product of {N_GATES * hidden_size}"
        )
    return (modes[0] // N_GATES, *modes[1:])


def split_names(
    indices: Sequence[str], modes: Sequence[int], names: Sequence[str], factors: Sequence[int]
) -> dict[str, tuple[str, ...]]:
    """Return for each index the factors that make it up."""
    rest = list(zip(names, factors, strict=True))
    found: dict[str, tuple[str, ...]] = {}
    for index, size in zip(indices, modes, strict=True):
        taken: list[str] = []
        while size > 1:
            name, factor = rest.pop(0)
            taken.append(name)
            size //= factor
        found[index] = tuple(taken)
    return found


def refine(network: Network, splits: Splits, sizes: Mapping[str, int]) -> Network:
    """Return the network with some indices split; arrays keep their order of elements."""

    def split(indices: Sequence[str]) -> tuple[str, ...]:
        return tuple(n for i in indices for n in splits.get(i, (i,)))

    kept = {i: n for i, n in network.sizes.items() if i not in splits}
    new = {n: sizes[n] for names in splits.values() for n in names}
    tensors = {name: split(t) for name, t in network.tensors.items()}
    return Network(tensors, {**kept, **new}, split(network.output))


def refine_layer(
    inputs: Network, hidden: Network, h: str, hidden_size: int
) -> tuple[Network, Network, Units]:
    """Return both networks over common factors of the hidden units, and these.

    Raises MappingError where the modes have no common factors, or no gate factor.
    """
    modes = [[n.sizes[i] for i in n.output] for n in (inputs, hidden)]
    outs = [unit_modes(m, hidden_size, w) for m, w in zip(modes, ("input", "hidden"), strict=True)]
    h_modes = hidden.shape(h)
    if prod(h_modes) != hidden_size:
        raise MappingError(
            f"{h}: found modes {h_modes}, expected a product of {hidden_size} (the hidden size)"
        )
    factors = common_factors([*outs, h_modes], "lstm")
    numbers = range(len(factors))
    units = Units(tuple(f"@u{k}" for k in numbers), tuple(f"@v{k}" for k in numbers), factors)
    found = []
    for network, out in zip((inputs, hidden), outs, strict=True):
        splits = split_names(network.output, out, units.gates, factors)
        splits[network.output[0]] = (GATE, *splits[network.output[0]])
        if network is hidden:
            splits |= split_names(hidden.tensors[h], h_modes, units.hidden, factors)
        found.append(refine(network, splits, units.all_sizes))
    return found[0], found[1], units
