"""Vectors between networks: factors on which all who write and read one agree, or a flat layout.

A vector that one network writes over modes 16 x 4 and another reads over 8 x 8 is kept over their
common factors 8 x 2 x 4, whose strides may be chosen freely. Modes such as 6 x 4 and 4 x 6 have
none; then the vector is *flat*: row-major without padding, so that its strides are right in any
modes. Or it is *fused*: of 6 x 4 x 8 and 4 x 6 x 8 the last 8 is common, and the others lie behind
one another with any stride, as one index of 24 that each cuts as it likes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product
from math import prod
from typing import NamedTuple

from einchip.arch import Architecture
from einchip.mapper.errors import MappingError
from einchip.mapper.lanes import Factor
from einchip.mapper.layout import Layout, row_major
from einchip.mapper.problem import BATCH
from einchip.network import Network

#: The index of the gates where it is a factor of its own.
GATE = "@gate"

Splits = Mapping[str, tuple[str, ...]]


def cuts(modes: Sequence[int]) -> list[int]:
    """Return 1, the last mode, the product of the last two, and so on."""
    return [prod(modes[k:]) for k in range(len(modes), -1, -1)]


def common_factors(all_modes: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """Return factors of which each list of modes is a row-major grouping, slowest first, or None.

    16 x 4 and 8 x 8 give 8, 2, 4; 6 x 4 and 4 x 6 give None.
    """
    found = sorted({c for modes in all_modes for c in cuts(modes)})
    if any(high % low for low, high in pairwise(found)):
        return None
    return tuple(high // low for low, high in pairwise(found))[::-1]


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


def modes_of(network: Network, indices: Sequence[str]) -> list[int]:
    """Return the sizes of some indices."""
    return [network.sizes[i] for i in indices]


def split_by(
    network: Network, indices: Sequence[str], names: Sequence[str], factors: Sequence[int]
) -> Network:
    """Return the network with `indices`, in order, cut into named factors."""
    splits = split_names(indices, modes_of(network, indices), names, factors)
    return refine(network, splits, dict(zip(names, factors, strict=True)))


class Term(NamedTuple):
    """A factor of a vector as it lies in a scratchpad."""

    size: int
    stride: int


View = tuple[Term, ...]  # slowest first: the elements of a vector in order


def view(indices: Sequence[str], sizes: Mapping[str, int], layout: Layout) -> View:
    """Return a tensor's elements, row-major over its indices, as a vector."""
    return tuple(Term(sizes[i], layout.stride(i)) for i in indices if sizes[i] > 1)


def refined(whole: View, factors: Sequence[int]) -> View:
    """Return a view cut into finer factors; one stride serves a whole term, cut anyhow."""
    rest, found = list(factors), list[Term]()
    for size, stride in whole:
        taken: list[int] = []
        while prod(taken) < size:
            taken.append(rest.pop(0))
        found += [Term(n, stride * prod(taken[k + 1 :])) for k, n in enumerate(taken)]
    return tuple(found)


def factors_of(views: Sequence[View]) -> tuple[int, ...] | None:
    """Return common factors of views, None where there are none. A flat view has every factor."""
    merged = [merge_view(v) for v in views]
    return common_factors([[t.size for t in v] for v in merged])


def merge_view(whole: View) -> View:
    """Return the view with the fewest terms: those that lie behind one another joined."""
    found: list[Term] = []
    for term in whole:
        if found and found[-1].stride == term.size * term.stride:
            found[-1] = Term(found[-1].size * term.size, term.stride)
        else:
            found.append(term)
    return tuple(found)


def part_of(whole: View, number: int, count: int, factors: Sequence[int]) -> tuple[View, int]:
    """Return part `number` of `count` equal parts of a vector, and where it begins.

    Raises ValueError where the parts do not end where factors do.
    """
    terms, outer = refined(whole, factors), 1
    at, inner = 0, list(terms)
    rest = number
    while outer < count:
        term = inner.pop(0)
        outer *= term.size
        if count % outer:
            raise ValueError(f"found factors {tuple(factors)}, expected some that make {count}")
        at += rest // (count // outer) * term.stride
        rest %= count // outer
    return tuple(inner), at


class Along(NamedTuple):
    """A factor as a vector has it: every `step`-th value of indices that are fused, inside out."""

    chain: tuple[str, ...]
    step: int = 1

    @property
    def name(self) -> str:
        """The index that the factor is; "" where it is not one."""
        return self.chain[0] if len(self.chain) == 1 and self.step == 1 else ""

    @property
    def fused(self) -> tuple[Factor, ...]:
        """What is demanded of a layout so that all values of the factor have one stride."""
        return (Factor(self.chain[0], 1, self.chain[1:]),) if len(self.chain) > 1 else ()

    def lanes(self, count: int) -> Factor:
        """Return `count` neighbouring values of the factor."""
        return Factor(self.chain[0], count, self.chain[1:], self.step)

    def stride(self, layout: Layout) -> int:
        """Return the distance of neighbouring values."""
        return self.step * layout.stride(self.chain[0])


#: The gate where it is an index.
GATES = Along((GATE,))


@dataclass(frozen=True)
class Units:
    """The hidden units of a direction as factors, slowest first.

    `gates` are the factors in the pre-activations, `hidden` those in h; each is empty where that
    vector is flat. `gate` is the gate in pre-activations that are not.
    """

    sizes: tuple[int, ...]
    n_gates: int
    gates: tuple[Along, ...] = ()
    hidden: tuple[Along, ...] = ()
    gate: Along = GATES

    @property
    def flat_gates(self) -> bool:
        """Whether pre-activations are flat."""
        return not self.gates

    @property
    def flat_hidden(self) -> bool:
        """Whether h is flat."""
        return not self.hidden

    @property
    def size(self) -> int:
        """Hidden units."""
        return prod(self.sizes)

    def gate_stride(self, layout: Layout) -> int:
        """Return the distance of the gates, 0 of a cell that has one."""
        if self.n_gates == 1:
            return 0
        return self.size if self.flat_gates else self.gate.stride(layout)

    def strides(self, layout: Layout, hidden: bool = False) -> tuple[int, ...]:
        """Return the strides of the units in pre-activations, or in h."""
        found = self.hidden if hidden else self.gates
        return tuple(a.stride(layout) for a in found) if found else self.flat_strides

    @property
    def flat_strides(self) -> tuple[int, ...]:
        """The strides of the units in a vector that is flat."""
        return tuple(cuts(self.sizes)[-2::-1])

    def lanes(self, arch: Architecture) -> tuple[tuple[int, int], ...]:
        """Return which units go on the vector unit's lanes, by position: fewest vectors first.

        Lanes are in different banks of what is flat; beside fused factors they leave as much as
        they can of those that are indices, which can be cut (`shares`).
        """
        indices = [p for p, a in enumerate(self.gates) if a.name]
        spared = indices if len(indices) < len(self.gates) else ()
        return vector_lanes(self.sizes, list(self._joined), arch.lanes, spared)

    @property
    def _joined(self) -> Iterator[dict[int, int]]:
        """Yield factors whose strides are multiples of one another's, by position."""
        if self.flat_gates or self.flat_hidden:
            yield dict(enumerate(self.flat_strides))
        for vector in (self.gates, self.hidden):
            for chain in {a.chain for a in vector}:
                yield {p: a.step for p, a in enumerate(vector) if a.chain == chain}

    def factors(
        self, lanes: tuple[tuple[int, int], ...], hidden: bool = False
    ) -> tuple[Factor, ...]:
        """Return these lanes as factors of pre-activations, or of h; none of what is flat.

        Among them are the demands of the factors that are fused (`Along.fused`).
        """
        found = self.hidden if hidden else self.gates
        if not found:
            return ()
        demanded = (f for a in (*found, *(() if hidden else (self.gate,))) for f in a.fused)
        return (*(found[p].lanes(c) for p, c in lanes), *dict.fromkeys(demanded))


Lanes = tuple[tuple[int, int], ...]  # (position of the factor, count)


def vector_lanes(
    sizes: Sequence[int],
    operands: Sequence[Mapping[int, int]],
    banks: int,
    spared: Sequence[int] = (),
) -> Lanes:
    """Return up to two factors for the vector unit's lanes: fewest vectors, then fewest tails.

    `operands` gives, by position, strides of those whose lanes must be in different banks. Of the
    factors `spared` as much as can be is then left, of the first first.
    """

    def rank(lanes: Lanes) -> tuple[int, int, list[int], int, Lanes]:
        counts = dict(lanes)
        taken = [-(sizes[p] // counts.get(p, 1)) for p in spared]
        vectors = prod(-(-n // counts.get(p, 1)) for p, n in enumerate(sizes))
        tails = sum(sizes[p] % c > 0 for p, c in lanes)
        return vectors, tails, taken, prod(counts.values()), lanes

    ways = sorted(lane_choices(sizes, banks), key=rank)
    return next(w for w in ways if all(apart(w, given, banks) for given in operands))


def lane_choices(sizes: Sequence[int], most: int) -> Iterator[Lanes]:
    """Yield all choices of up to two factors whose counts multiply to at most `most`."""
    yield ()
    for number in (1, 2):
        for where in combinations(range(len(sizes)), number):
            for counts in product(*(range(2, min(sizes[p], most) + 1) for p in where)):
                if prod(counts) <= most:
                    yield tuple(zip(where, counts, strict=True))


def apart(lanes: Lanes, strides: Mapping[int, int], banks: int) -> bool:
    """Tell whether lanes of the factors that have a stride are in different banks."""
    found = [0]
    for stride, count in ((strides[p], n) for p, n in lanes if p in strides):
        found = [(r + k * stride) % banks for k in range(count) for r in found]
    return len(set(found)) == len(found)


def with_gate(network: Network, n_gates: int) -> Network:
    """Return the network with its gate as an output index of its own, where it can be one."""
    if n_gates == 1:
        return network
    first, size = network.output[0], network.sizes[network.output[0]]
    if size % n_gates or size == 0:
        return network
    names = (GATE, first) if size > n_gates else (GATE,)
    factors = (n_gates, size // n_gates)[: len(names)]
    return refine(network, {first: names}, dict(zip(names, factors, strict=True)))


def agree(
    inputs: Network,
    hidden: Network,
    n_gates: int,
    hidden_size: int,
    readers: Sequence[Sequence[int]],
    fuse: bool = False,
) -> tuple[Network, Network, Units]:
    """Return a direction's networks over common factors of the hidden units, and these.

    The data tensor of `hidden` is h; `readers` are the modes of others that read h. With `fuse`
    vectors without common factors are fused, if they can be, instead of flat. Raises MappingError
    where outputs or h have the wrong sizes.
    """
    for what, modes, size in (
        ("input", modes_of(inputs, inputs.output), n_gates * hidden_size),
        ("hidden", modes_of(hidden, hidden.output), n_gates * hidden_size),
        ("h", hidden.shape("h"), hidden_size),
        *(("reader of h", modes, hidden_size) for modes in readers),
    ):
        if prod(modes) != size:
            raise MappingError(f"{what}: found modes {tuple(modes)}, expected a product of {size}")
    outs = [modes_of(n, n.output) for n in (inputs, hidden)]
    states = [hidden.shape("h"), *readers]
    factors = common_factors([*outs, *((n_gates, *s) for s in states)])
    gate = factors[:1] if n_gates > 1 and factors else ()
    if factors is None and fuse:
        crossed = _fused(inputs, hidden, n_gates, common_factors(outs), common_factors(states))
        if crossed:
            return crossed
    if factors is None or hidden_size == 1 or gate not in ((), (n_gates,)):
        units = Units((hidden_size,), n_gates)
        if sizes := common_factors(states):
            units = Units(sizes, n_gates, hidden=_plain(names_of("@v", sizes, hidden)))
        found, other = with_gate(inputs, n_gates), with_gate(hidden, n_gates)
    else:
        sizes = factors[len(gate) :]
        own = [names_of(v, sizes, hidden) for v in ("@u", "@v")]
        units = Units(sizes, n_gates, _plain(own[0]), _plain(own[1]))
        names = (GATE, *own[0])[1 - len(gate) :]
        found, other = (split_by(n, n.output, names, factors) for n in (inputs, hidden))
    if not units.flat_hidden:
        names = tuple(a.name for a in units.hidden)
        other = split_by(other, hidden.tensors["h"], names, units.sizes)
    return found, other, units


def _plain(names: Iterable[str]) -> tuple[Along, ...]:
    """Return factors that are indices."""
    return tuple(Along((name,)) for name in names)


def _fused(
    inputs: Network,
    hidden: Network,
    n_gates: int,
    gates: tuple[int, ...] | None,
    states: tuple[int, ...] | None,
) -> tuple[Network, Network, Units] | None:
    """Return the networks, and units that are fused where the factors of gates and of h cross.

    `gates` and `states` are common factors of pre-activations and of h; None where there are none.
    """
    if gates is None or states is None:
        return None
    size = prod(states)
    units = _refined({1, size}, [c for f in (gates, states) for c in cuts(f)])
    written, kept = _refined(cuts(gates), [*units, n_gates * size]), _refined(cuts(states), units)
    outputs, own = (
        names_of(prefix, _sizes(found), hidden) for prefix, found in (("@u", written), ("@v", kept))
    )
    if size == written[-2]:
        outputs = (GATE, *outputs[1:])
    ends = {*units, n_gates * size}
    begins = units[-2::-1]
    found = Units(
        _sizes(units),
        n_gates,
        tuple(_along(c, written, outputs, ends) for c in begins),
        tuple(_along(c, kept, own, ends) for c in begins),
        _along(size, written, outputs, ends) if n_gates > 1 else GATES,
    )
    inputs, hidden = (split_by(n, n.output, outputs, _sizes(written)) for n in (inputs, hidden))
    return inputs, split_by(hidden, hidden.tensors["h"], own, _sizes(kept)), found


def _refined(own: Collection[int], more: Iterable[int]) -> list[int]:
    """Return cuts, and of `more` all that agree with them and those before: each divides the next.

    None is larger than the largest of `own`.
    """
    found = set(own)
    for cut in more:
        if cut < max(own) and all(c % cut == 0 or cut % c == 0 for c in found):
            found.add(cut)
    return sorted(found)


def _sizes(found: Sequence[int]) -> tuple[int, ...]:
    """Return the factors between cuts, slowest first."""
    return tuple(high // low for low, high in pairwise(found))[::-1]


def _along(cut: int, own: Sequence[int], names: Sequence[str], ends: Collection[int]) -> Along:
    """Return the factor that begins at a cut, of a vector with cuts of its own between indices.

    Indices between two cuts of its own that are among `ends`, too, are fused.
    """
    common = [c for c in own if c in ends]
    first, last = max(c for c in common if c <= cut), min(c for c in common if c > cut)
    inside_out = zip(own, reversed(names), strict=False)
    return Along(tuple(n for c, n in inside_out if first <= c < last), cut // first)


def names_of(prefix: str, factors: Sequence[int], network: Network) -> tuple[str, ...]:
    """Return a name for each factor of a network's vector; sequences side by side keep theirs."""
    names = tuple(f"{prefix}{k}" for k in range(len(factors)))
    return (*names[:-1], BATCH) if BATCH in network.sizes else names


def flat_layout(network: Network, indices: Sequence[str]) -> Layout:
    """Return the flat layout of a vector over some indices of a network."""
    return row_major(indices, network.sizes)
