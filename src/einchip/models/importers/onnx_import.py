"""ONNX graphs: a chain of recurrent and linear layers, with the operators that exporters add.

The graph is traced (`onnx_trace`) with small numbers in place of dimensions that are open, twice
with different ones, so that nothing depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Final

import numpy as np

from einchip.models.errors import model_error
from einchip.models.importers.onnx_file import Graph, read_graph
from einchip.models.importers.onnx_moves import UnfitError
from einchip.models.importers.onnx_signals import Ids, Signal
from einchip.models.importers.onnx_trace import Opaque, Trace, Traced, check_operators, spread
from einchip.models.importers.options import Options
from einchip.models.importers.stages import (
    Embedding,
    Imported,
    Linear,
    Stage,
    assemble,
    dense,
)
from einchip.models.spec import MatrixSpec, Output

#: Most output modes whose order is looked for in all orders.
MAX_PERMUTED_MODES: Final = 6


def import_onnx(path: Path, options: Options) -> Imported:
    """Return the model of an .onnx file.

    Its output is the graph's first, or the tensor of `Options.value`.

    Raises:
        ModelError: the file is damaged, or a node is not supported; the message names the node.
    """
    graph = read_graph(path)
    wanted = options.value or graph.outputs[0]
    check_operators(graph, wanted)
    name = _input(graph, wanted)
    found = [_trace(graph, name, wanted, shape, options) for shape in _shapes(graph, name)]
    for other in found[1:]:
        if not _same(found[0], other):
            what = "a graph that is another model for other lengths of time or batch"
            raise model_error(path, wanted, what, "the same for all", "export it for one length")
    return found[0]


def _input(graph: Graph, wanted: str) -> str:
    """Return the name of the only input that a tensor depends on."""
    known = {*graph.constants, *graph.inputs, *graph.producers}
    if wanted not in known:
        raise model_error(
            graph.path, "option value", wanted, f"one of {sorted(graph.producers)}", "correct it"
        )
    read = {name for node in graph.needed(wanted) for name in node.inputs} | {wanted}
    used = [name for name in graph.inputs if name in read]
    if len(used) != 1:
        found = f"{len(used)} inputs ({', '.join(used)})" if used else "no input"
        advice = "export the model with initial states left out or constant 0"
        raise model_error(graph.path, "inputs", found, f"one that {wanted} depends on", advice)
    return used[0]


def _shapes(graph: Graph, name: str) -> Iterator[tuple[int, ...]]:
    """Yield shapes to trace with: one, or two where dimensions are open."""
    dims = graph.inputs[name].dims
    if not dims:
        expected = "a tensor with dimensions, the features last"
        raise model_error(graph.path, name, "no shape", expected, "export it with its shape")
    names = list(dict.fromkeys(d for d in dims if isinstance(d, str)))
    for first in (2, 3) if names else (0,):
        open_sizes = {d: first + k for k, d in enumerate(names)}
        yield tuple(open_sizes[d] if isinstance(d, str) else d for d in dims)


def _trace(
    graph: Graph, name: str, wanted: str, shape: tuple[int, ...], options: Options
) -> Imported:
    try:
        trace = Trace(graph, name, shape)
    except UnfitError as e:
        advice = "export it with open time and batch"
        raise model_error(graph.path, name, e, "a smaller input", advice) from None
    for node in graph.needed(wanted):
        trace.run(node)
    try:
        return _model(trace, wanted, options)
    except UnfitError as e:
        expected = "each step's or the last step's values of one layer"
        raise model_error(graph.path, wanted, e, expected, "take another (--value NAME)") from None


def _model(trace: Trace, wanted: str, options: Options) -> Imported:
    """Return the model whose output is a traced tensor."""
    value = trace.values[wanted]
    if not isinstance(value, Traced):
        raise UnfitError(value.what if isinstance(value, Opaque) else "a constant")
    vectors, _ = trace.features_last(value.ids)
    notes = list(trace.notes)
    stages, embedding = _chain(vectors.signal, notes)
    arranged = _arranged(stages[-1], vectors.order) if stages else None
    if arranged is not None:
        stages[-1] = arranged
    elif not vectors.whole:
        n = len(vectors.order)
        weight = spread(np.eye(n, dtype=np.float32), vectors)
        stages.append(dense(wanted, weight))
        notes.append(f"{wanted}: a part of the last layer: a layer of zeros and ones selects it")
    output: Output = "sequence" if vectors.per_step else "last"
    if options.output not in (None, output):
        found = f"{options.output}, where {wanted} is {output}"
        advice = "take another tensor (--value NAME)"
        raise model_error(trace.path, "option output", found, output, advice)
    others = [name for name in trace.graph.outputs if name != wanted]
    if others:
        notes.append(f"output: {wanted}; left out: {', '.join(others)} (--value NAME)")
    name = options.name or trace.path.stem
    return assemble(trace.path, name, stages, output, notes, embedding)


def _arranged(stage: Stage, order: Ids) -> Linear | None:
    """Return a linear layer with only these elements of its output; None where it cannot be."""
    if not isinstance(stage, Linear):
        return None
    bias = None if stage.bias is None else stage.bias[order]
    if stage.matrix.format == "dense":
        rows = np.ascontiguousarray(stage.weight["W"][order])
        return dense(stage.name, rows, bias, stage.activation)
    modes, names = stage.matrix.out_modes, stage.matrix.outputs or ()
    numbers = np.arange(stage.out_size).reshape(modes)
    axes = permutations(range(len(modes))) if len(modes) <= MAX_PERMUTED_MODES else ()
    for axis in axes:
        if np.array_equal(numbers.transpose(axis).reshape(-1), order):
            outputs = tuple(names[a] for a in axis)
            fields = stage.matrix.model_dump(exclude={"out_modes"}) | {"outputs": outputs}
            return replace(stage, matrix=MatrixSpec(**fields), bias=bias)
    return None


def _chain(signal: Signal, notes: list[str]) -> tuple[list[Stage], Embedding | None]:
    """Return the layers up to a signal, and the embedding in front of them."""
    stages: list[Stage] = []
    while signal.parent is not None:
        stage = signal.stage
        if isinstance(stage, Embedding):
            return stages[::-1], stage
        if stage is None:
            raise UnfitError("a contraction that leaves modes of its input open")
        if signal.reverse_only:
            notes.append(
                f"{stage.name} reads in reverse only: stored with a forward direction of zeros, "
                "at twice its cycles"
            )
        stages.append(stage)
        signal = signal.parent
    return stages[::-1], None


def _same(a: Imported, b: Imported) -> bool:
    return a.spec == b.spec and all(
        np.array_equal(a.tensors[name], b.tensors[name]) for name in a.tensors
    )
