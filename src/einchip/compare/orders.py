"""Contraction orders: fixed ones of the literature, and the one with the least multiply-adds."""

from __future__ import annotations

from collections.abc import Sequence

from einchip.mapper import tree
from einchip.network import Network, Subsets
from einchip.roofline import Volumes


def chain(network: Network, names: Sequence[str]) -> tree.Node:
    """Return the tree that takes the tensors one after the other."""
    subsets = Subsets(network)
    node = tree.Node(network.tensors[names[0]], names[0])
    done = 1 << subsets.names.index(names[0])
    for name in names[1:]:
        done |= 1 << subsets.names.index(name)
        node = tree.Node(subsets.open(done), "", node, tree.Node(network.tensors[name], name))
    return node


def in_order(network: Network, first: str) -> tree.Node:
    """Return the tree that takes the cores in the order of the format, from the first one on."""
    return tree.in_order(network, first)


def last_core_first(network: Network, first: str) -> tree.Node:
    """Return the tree that takes the cores backward: stage d, d - 1, .. 1.

    Of an MPO the stages of TIE (Deng et al., ISCA 2019); of an MPS, whose last cores hold the
    inputs, the input cores before the output cores as in ETTE (Gong et al., ISCA 2023).
    """
    backward = list(network.tensors)[::-1]
    return chain(network, [first, *(n for n in backward if n != first)])


def least_macs(network: Network) -> tree.Node:
    """Return the tree with the least multiply-adds, by exact search (`einchip.mapper.tree`).

    Trees of connected parts. Raises MappingError where there are too many.
    """
    volumes = Volumes(network)

    def cost(a: tree.Node, b: tree.Node, _: tuple[str, ...]) -> float:
        return tree.step_macs(a, b, network)

    def bound(a: int, b: int, _: int) -> float:
        return volumes.of(a | b)

    return tree.search(network, cost, bound)[0].node
