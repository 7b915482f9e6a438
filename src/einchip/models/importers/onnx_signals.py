"""Where every element of a traced tensor comes from.

A graph is run on numbers in place of values: every element of the input, and of the output of every
layer, has a number of its own. Transposes, reshapes, slices and concatenations then move numbers,
exactly as they would move values, and a layer sees from the numbers which elements of which signal
it is given, in which order, and whether of every time step or of the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from einchip.models.importers.onnx_moves import UnfitError, bounded
from einchip.models.importers.stages import Embedding, Float32, Linear, Recurrent

Ids = NDArray[np.int64]
#: Most elements of one signal, so that no graph takes more than seconds.
MAX_SIGNAL_ELEMENTS: Final = 2**22
FORWARD: Final = 1
REVERSE: Final = -1


@dataclass(frozen=True)
class Network:
    """An einsum chain that is not yet a matrix: `legs` index the elements of its signal.

    Attributes:
        inputs: indices over the parent's elements, row-major.
        legs: indices over the signal's elements, row-major; those of `inputs` among them are still
            to be contracted.
        sizes: size of every index.
        tensors: arrays with their indices.
    """

    inputs: tuple[str, ...]
    legs: tuple[str, ...]
    sizes: dict[str, int]
    tensors: tuple[tuple[tuple[str, ...], Float32], ...]


@dataclass(frozen=True, eq=False)
class Signal:
    """The elements that one layer gives, or the input.

    Element (row, feature) has number ``base + row * n_features + feature``. A row is a time step
    of one sequence, or one sequence where `per_step` is False.

    Attributes:
        stage: the layer; None for the input and for a `network`.
        ends: per feature, the direction in time in which its last value is final; None where
            nothing recurrent is before.
        reverse_only: a layer that reads backwards only, its forward half added as zeros.
    """

    base: int
    n_rows: int
    n_features: int
    stage: Recurrent | Linear | Embedding | None = None
    parent: Signal | None = None
    per_step: bool = True
    ends: NDArray[np.int64] | None = None
    reverse_only: bool = False
    network: Network | None = None
    name: str = "input"

    def ids(self, rows: Ids, features: Ids) -> Ids:
        """Return the numbers of elements."""
        return self.base + rows * self.n_features + features


@dataclass(frozen=True)
class Vectors:
    """Rows of a traced tensor, recognised: row k holds elements `order` of the signal's row.

    `rows[k]` is a row of the signal (`per_step`), or the sequence whose last step it is.
    """

    signal: Signal
    per_step: bool
    rows: Ids
    order: Ids

    @property
    def whole(self) -> bool:
        """Whether every element of the signal is there, in its order."""
        return np.array_equal(self.order, np.arange(self.signal.n_features))


@dataclass
class Signals:
    """All signals of a trace, and what is known about its rows.

    Attributes:
        input_shape: shape of the graph's input; its elements have the numbers from 0.
        time, batch: step and sequence of every row, once a recurrent layer has told.
    """

    input_shape: tuple[int, ...]
    known: list[Signal] = field(default_factory=list)
    time: Ids | None = None
    batch: Ids | None = None
    _places: tuple[Ids, Ids] | None = None
    _next: int = 0
    _merged: dict[tuple[int, int], Signal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bounded(*self.input_shape, limit=MAX_SIGNAL_ELEMENTS)
        self._next = prod(self.input_shape)

    def add(self, signal: Signal) -> Signal:
        """Give a signal its numbers."""
        bounded(signal.n_rows, signal.n_features, limit=MAX_SIGNAL_ELEMENTS)
        signal = replace(signal, base=self._next)
        self._next += signal.n_rows * signal.n_features
        self.known.append(signal)
        return signal

    def input_ids(self) -> Ids:
        """Return the numbers of the graph's input."""
        return np.arange(prod(self.input_shape)).reshape(self.input_shape)

    def resolve_input(self, rows: Ids) -> None:
        """Learn from the first layer's rows ``[n, k]`` which elements of the input make a step."""
        if self._places is not None or rows.min() >= prod(self.input_shape):
            return
        n = prod(self.input_shape)
        first = rows.min(axis=1, keepdims=True)
        offsets = rows - first
        if not _complete(rows.reshape(-1), n) or (offsets != offsets[:1]).any():
            raise UnfitError("the input is cut, repeated or mixed before the first layer")
        features = np.empty(rows.shape[1], dtype=np.int64)
        features[np.argsort(offsets[0])] = np.arange(rows.shape[1])
        places = np.empty((2, n), dtype=np.int64)
        places[0, rows] = np.arange(len(rows))[:, None]
        places[1, rows] = features[None, :]
        self._places = (places[0], places[1])
        self.known.insert(0, Signal(0, rows.shape[0], rows.shape[1]))

    def decode(self, ids: Ids) -> tuple[Signal, Ids, Ids]:
        """Return the signal of elements, their rows and features."""
        low, high = int(ids.min()), int(ids.max())
        within = [
            s for s in self.known if s.base <= high and low < s.base + s.n_rows * s.n_features
        ]
        used = [s for s in within if _uses(s, ids)]
        if len(used) == 2:
            return self._decode_pair(ids, used)
        if len(used) != 1:
            raise UnfitError("elements of several layers side by side")
        signal = used[0]
        local = ids - signal.base
        if signal.stage is None and signal.network is None and self._places is not None:
            return signal, self._places[0][local], self._places[1][local]
        return signal, local // signal.n_features, local % signal.n_features

    def _decode_pair(self, ids: Ids, pair: Sequence[Signal]) -> tuple[Signal, Ids, Ids]:
        """Decode elements of a forward and a reverse layer as those of one in both directions."""
        forward, reverse = sorted(pair, key=lambda s: s.reverse_only)
        merged = self._merge(forward, reverse)
        hidden = forward.n_features
        in_reverse = _mask(reverse, ids)
        local = ids - np.where(in_reverse, reverse.base, forward.base)
        width = np.where(in_reverse, reverse.n_features, hidden)
        return merged, local // width, local % width

    def _merge(self, forward: Signal, reverse: Signal) -> Signal:
        key = (forward.base, reverse.base)
        if key not in self._merged:
            a, b = forward.stage, reverse.stage
            if (
                not (isinstance(a, Recurrent) and isinstance(b, Recurrent))
                or forward.parent is not reverse.parent
                or (forward.reverse_only, reverse.reverse_only) != (False, True)
                or len(a.directions) != 1
                or (a.cell, a.reset, a.activation) != (b.cell, b.reset, b.activation)
                or a.directions[0].hidden.shape != b.directions[1].hidden.shape
                or a.directions[0].arrays().keys() != b.directions[1].arrays().keys()
            ):
                raise UnfitError("elements of several layers side by side")
            stage = replace(a, directions=(a.directions[0], b.directions[1]))
            self._merged[key] = self.add(
                replace(
                    forward,
                    stage=stage,
                    n_features=stage.out_size,
                    ends=np.repeat([FORWARD, REVERSE], stage.hidden_size),
                )
            )
        return self._merged[key]

    def vectors(self, rows: Ids) -> Vectors:
        """Recognise the rows of ``[n, k]`` numbers.

        Raises:
            UnfitError: they are not whole rows of one signal, of every step or of the last one.
        """
        self.resolve_input(rows)
        signal, row, feature = self.decode(rows)
        if (feature != feature[:1]).any():
            raise UnfitError("rows that hold different elements of a layer's output")
        order = feature[0]
        if (row == row[:, :1]).all() and _complete(row[:, 0], signal.n_rows):
            return Vectors(signal, signal.per_step, row[:, 0], order)
        if signal.per_step and self.time is not None and self.batch is not None:
            self._require_last(signal, row, order)
            batch = self.batch[row]
            if (batch == batch[:, :1]).all() and _complete(batch[:, 0], self.n_sequences):
                return Vectors(signal, False, batch[:, 0], order)
        raise UnfitError("a part of the steps that is neither every step nor the last one")

    @property
    def n_sequences(self) -> int:
        """Sequences in the batch of the trace."""
        return 1 if self.batch is None else int(self.batch.max()) + 1

    def _require_last(self, signal: Signal, row: Ids, order: Ids) -> None:
        """Raise UnfitError unless every element has its final value."""
        if self.time is None or signal.ends is None:
            raise UnfitError("a part of the steps, with no recurrent layer before")
        ends = signal.ends[order]
        if (ends == 0).any():
            raise UnfitError("one step of a layer behind both directions: none is final in both")
        final = np.where(ends == FORWARD, self.time.max(), 0)
        wrong = self.time[row] != final
        if not wrong.any():
            return
        found = "a step that is not the last one"
        if wrong[:, ends == REVERSE].any() and not wrong[:, ends == FORWARD].any():
            found = "the last step of the reverse direction, which is the first that it reads"
        raise UnfitError(f"{found}; supported: every step, or each direction's final state")

    def learn_time(self, rows: Ids) -> bool:
        """Learn which rows ``[T, B]`` are which step of which sequence.

        Returns:
            Whether time runs backwards in `rows`.

        Raises:
            UnfitError: an earlier layer has told otherwise.
        """
        grid = np.indices(rows.shape)
        steps, sequences = grid[0], grid[1]
        if self.time is None or self.batch is None:
            self.time = np.empty(rows.size, dtype=np.int64)
            self.batch = np.empty(rows.size, dtype=np.int64)
            self.time[rows], self.batch[rows] = steps, sequences
        time, batch = self.time[rows], self.batch[rows]
        if (batch != batch[:1]).any() or len(rows) != int(self.time.max()) + 1:
            raise UnfitError("another axis is time than in the layer before")
        if (time == steps).all():
            return False
        if (time == steps[::-1]).all():
            return True
        raise UnfitError("time steps in another order")


def _mask(signal: Signal, ids: Ids) -> NDArray[np.bool_]:
    return (signal.base <= ids) & (ids < signal.base + signal.n_rows * signal.n_features)


def _uses(signal: Signal, ids: Ids) -> bool:
    return bool(_mask(signal, ids).any())


def _complete(values: Ids, n: int) -> bool:
    """Whether every number below n is there once."""
    if len(values) != n or values.min() < 0 or values.max() >= n:
        return False
    seen = np.zeros(n, dtype=np.bool_)
    seen[values] = True
    return bool(seen.all())
