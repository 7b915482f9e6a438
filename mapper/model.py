"""Whole models: phases over a sequence, one after another, in one program.

A phase is a loop over the time steps. It loads its input, contracts it with the linear stages
before a recurrent layer and with that layer's two matrices, updates the states in the vector unit,
and hands its vector on. Loads run ahead of the array by a time step or by slices of x; the input
part of a step does not need h and fills the array while the vector unit works. Each direction of a
recurrent layer is a phase; what lies between phases goes through external memory, every time step a
record in which each reader has a field in its own layout.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from einchip import reference
from einchip.arch import Architecture
from einchip.mapper import ops as op
from einchip.mapper import report, tree
from einchip.mapper.allocate import allocate
from einchip.mapper.errors import MappingError, nearest
from einchip.mapper.image import Region, image
from einchip.mapper.nets import Asked, Cut, Net, Nets, PhaseSearch
from einchip.mapper.network import Programs, check_words
from einchip.mapper.phase import (
    INPUT,
    OUTPUT,
    WEIGHTS,
    WORKSPACE,
    Field,
    Phase,
    Piece,
    Ports,
    Sink,
    elements,
    region,
)
from einchip.mapper.plan import Part, Tensor
from einchip.mapper.problem import Linear, ModelProblem, Recurrent
from einchip.mapper.timeline import predict
from einchip.mapper.tree import ONE
from einchip.mapper.vector import MAX_FRAC
from einchip.mapper.wires import common_factors, modes_of
from einchip.network import Network, NetworkError
from einchip.numeric import Ints
from einchip.program import Act, Halt, Instruction, Program
from einchip.reference import Host
from einchip.roofline import roofline

#: Time steps before the steady state is measured, and those measured.
WARM, MEASURED = 2, 4
#: Operations of one phase, so that lifetimes of different phases are apart.
SPAN = 1 << 16
#: Ways in which a model of several phases that does not fit is tried.
MAX_TRIES = 200


class Evaluation(NamedTuple):
    """A network's values over recorded time steps, for a calibrator.

    Contracting `part` with its weights and, for each tensor in `operands`, the rows of that wire,
    plus `addend` (row-major; elements `addend_from` to `addend_to`, or all if `addend_to` is 0),
    gives `result` before `act`. The result's axes are those of the network's output.
    """

    part: Part
    operands: Mapping[str, str]
    addend: str
    act: Act
    result: str
    addend_from: int = 0
    addend_to: int = 0


def divide(problem: ModelProblem) -> list[Asked]:
    """Return the phases of a model. Raises MappingError for one that makes no sense."""
    found: list[Asked] = []
    pending: tuple[Linear, ...] = ()
    group = 0
    for stage in problem.stages:
        if isinstance(stage, Linear):
            pending = (*pending, stage)
            continue
        if len(stage.directions) > 1 and pending:
            found.append(Asked(chain=pending, group=group))
            pending, group = (), group + 1
        found += [
            Asked(chain=pending, layer=stage, direction=d, group=group)
            for d in range(len(stage.directions))
        ]
        pending, group = (), group + 1
    return _with_end(found, pending, problem, group)


def _with_end(
    found: list[Asked], pending: tuple[Linear, ...], problem: ModelProblem, group: int
) -> list[Asked]:
    """Return the phases with the linear stages behind the last recurrent layer."""
    sequence = problem.output == "sequence"
    if not any(a.layer for a in found) and not sequence:
        raise MappingError('output: found "last" without a recurrent layer, expected "sequence"')
    if not pending:
        return found
    last = found[-1] if found else None
    if last is None or (sequence and last.direction > 0):
        return [*found, Asked(chain=pending, group=group)]
    copied = last.direction > 0 or not _joins(last, pending[0])
    end = replace(last, behind=pending, behind_in_loop=sequence, copied_in=copied)
    return [*found[:-1], end]


def _joins(asked: Asked, reader: Linear) -> bool:
    """Tell whether a stage can read h where the cell writes it."""
    layer = asked.layer
    assert layer is not None
    d, n = layer.directions[asked.direction], layer.cell.n_gates
    own = [modes_of(x, x.output) for x in (d.inputs, d.hidden)]
    own.append([n, *d.hidden.shape("h")])
    together = common_factors([*own, [n, *reader.network.shape(reader.operands[0])]])
    return together is not None or common_factors(own) is None


def _read_modes(network: Network, operand: str) -> list[int]:
    return list(network.shape(operand))


class ModelSearch:
    """The search for a model on a machine."""

    def __init__(self, problem: ModelProblem, arch: Architecture) -> None:
        self.problem, self.arch = problem, arch
        self.searches: list[PhaseSearch] = []
        for asked in divide(problem):
            self.searches.append(PhaseSearch(self._laid(asked), arch, asked.group == 0))
        self.ways = [list(s.attempts()) for s in self.searches]
        self.folded: dict[tuple[int, int], Nets] = {}
        self.failures: list[MappingError] = []

    def _laid(self, asked: Asked) -> Asked:
        """Return a phase that reads flat vectors where it has no factors in common with writers."""
        stage = asked.chain[0] if asked.chain else None
        if asked.group > 0:
            before = [s for s in self.searches if s.asked.group == asked.group - 1]
            if stage:
                modes = _read_modes(stage.network, stage.operands[0])
            else:
                assert asked.layer
                modes = _read_modes(asked.layer.directions[asked.direction].inputs, "x")
            what = f"{stage.name if stage else asked.prefix}.x"
            asked = replace(asked, flat_in=not _fits(what, modes, [s.produced for s in before]))
        if asked.copied_in:
            first = asked.behind[0]
            modes = _read_modes(first.network, first.operands[0])
            own = PhaseSearch(replace(asked, behind=()), self.arch, False).produced
            others = [s.produced for s in self.searches if s.asked.group == asked.group]
            writers = [own] if asked.behind_in_loop else [*others, own]
            asked = replace(asked, flat_behind=not _fits(f"{first.name}.x", modes, writers))
        return asked

    def run(self) -> Mapped:
        """Return the quickest model that fits. Raises MappingError where none does."""
        for chosen in self._choices():
            found = self._try(chosen)
            if found:
                check_words(found.programs(None, self.arch).run, self.arch)
                return found
        raise nearest(self.failures)

    def _choices(self) -> Iterator[tuple[int, ...]]:
        """Yield an attempt for each phase: all alike, then one phase changed at a time.

        Of these changes those stay that miss by less.
        """
        lengths = [len(w) for w in self.ways]
        for k in range(max(lengths)):
            yield tuple(min(k, n - 1) for n in lengths)
        if len(lengths) == 1:
            return
        chosen, least = (0,) * len(lengths), self.failures[0].excess
        for p, n in itertools.islice(itertools.cycle(enumerate(lengths)), MAX_TRIES):
            for k in range(n):
                trial = (*chosen[:p], k, *chosen[p + 1 :])
                if len(self.failures) > MAX_TRIES:
                    return
                yield trial
                if self.failures[-1].excess < least:
                    chosen, least = trial, self.failures[-1].excess

    def _try(self, chosen: tuple[int, ...]) -> Mapped | None:
        try:
            nets = [self._nets(p, k) for p, k in enumerate(chosen)]
            return assemble(nets, self.problem, self.arch)
        except MappingError as error:
            self.failures.append(error)
            return None

    def _nets(self, p: int, k: int) -> Nets:
        """Return the networks of a phase, folded in its k-th way."""
        if (p, k) not in self.folded:
            self.folded[p, k] = self.searches[p].nets(self.ways[p][k])
        return self.folded[p, k]


def _fits(what: str, modes: Sequence[int], writers: Sequence[Sequence[int]]) -> bool:
    """Tell whether every writer's vector, behind one another, has factors in common with modes.

    Raises MappingError where the sizes differ.
    """
    count = len(writers)
    given = sum(prod(w) for w in writers)
    if prod(modes) != given:
        raise MappingError(f"{what}: found modes {tuple(modes)}, expected a product of {given}")
    return all(common_factors([modes, ([count] if count > 1 else []) + list(w)]) for w in writers)


@dataclass(frozen=True)
class Mapped:
    """A model with operations and addresses; its scales are still open."""

    phases: tuple[Phase, ...]
    bases: Mapping[str, int]
    weights: Mapping[str, tuple[Tensor, Region]]
    records: Mapping[int, int]  # bytes of a record of each host register

    def programs(self, fracs: Mapping[str, int] | None, arch: Architecture) -> Programs:
        """Return the programs of setup and run.

        Raises MappingError for scales that a shift cannot reach.
        """
        registers: dict[str, int] = {}
        for phase in self.phases:
            registers |= phase.registers
        place = op.Place(self.bases, registers, fracs)
        setup = [i for o in self._setup(arch) for i in o.build(place)]
        run: list[Instruction] = []
        for phase in self.phases:
            run += phase.instructions(place)
        return Programs(Program((*setup, Halt())), Program((*run, Halt())))

    def _setup(self, arch: Architecture) -> Iterator[op.Op]:
        """Yield the LOADs of all weights, and the FILLs of the scalars 1."""
        for name, (tensor, place) in self.weights.items():
            source = op.External(WEIGHTS, place.offset)
            yield op.load(name, tensor.space, tensor.layout.extent, arch, source)
        ones = {
            t.name: t
            for phase in self.phases
            for net in phase.nets.all
            for t in net.part.tensors.values()
            if t.name.startswith(ONE)
        }
        for t in ones.values():
            yield op.fill(t.name, t.space, 1, arch, 1)


def assemble(nets: Sequence[Nets], problem: ModelProblem, arch: Architecture) -> Mapped:
    """Return the model's phases, placed. Raises MappingError when it does not fit."""
    trial = _phases(nets, {}, problem, arch)
    spaces = _balanced(trial, arch)
    phases = _phases([n.in_spaces(spaces) for n in nets], spaces, problem, arch)
    bases = allocate(*_lifetimes(phases, problem), arch)
    for phase in phases:
        bases |= phase.aliases(bases)
    records: dict[int, int] = {}
    for phase in phases:
        records |= phase.records
    return Mapped(tuple(phases), bases, _weights(phases, arch), records)


def _weights(phases: Sequence[Phase], arch: Architecture) -> dict[str, tuple[Tensor, Region]]:
    found: dict[str, tuple[Tensor, Region]] = {}
    at = 0
    for phase in phases:
        for name, (tensor, place) in phase.weights().items():
            if name not in found:
                found[name] = (tensor, replace(place, offset=at))
                at += place.n_bytes(arch)
    return found


# --- what phases hand to one another -----------------------------------------------------------
def _phases(
    nets: Sequence[Nets], spaces: Mapping[str, int], problem: ModelProblem, arch: Architecture
) -> list[Phase]:
    """Return the phases with what they read and write."""
    sources, work = _sources(nets, arch)
    n_groups = nets[-1].asked.group + 1
    found = []
    for number, own in enumerate(nets):
        group = [n for n in nets if n.asked.group == own.asked.group]
        piece = Piece(own.asked.direction, len(group))
        readers = [
            f
            for n, fields in zip(nets, sources, strict=True)
            if n.asked.group == own.asked.group + 1
            for f in fields
        ]
        sinks = tuple(Sink(f, piece) for f in readers)
        reverse = own.asked.direction > 0
        ports = Ports(sources[number], sinks, reverse=reverse)
        phase = Phase(own, ports, spaces, arch, number)
        if own.asked.group == n_groups - 1:
            ports = _end(phase, group, problem)
        found.append(Phase(own, ports, spaces, arch, number))
    del work
    return found


def _sources(nets: Sequence[Nets], arch: Architecture) -> tuple[list[tuple[Field, ...]], int]:
    """Return the fields of every phase's input; the records of each base hold all of them."""
    at = {INPUT: 0, WORKSPACE: 0}
    regions: list[list[tuple[Tensor, Region, int]]] = []
    for own in nets:
        base = WORKSPACE if own.asked.group else INPUT
        regions.append([])
        for tensor in own.inputs:
            place = _input_region(own, tensor, at[base])
            regions[-1].append((tensor, place, base))
            at[base] += place.n_bytes(arch)
    fields = [tuple(Field(t, r, b, at[b]) for t, r, b in found) for found in regions]
    return fields, at[WORKSPACE]


def _input_region(nets: Nets, tensor: Tensor, offset: int) -> Region:
    found = region(offset, tensor)
    s = nets.first.part.slicing
    if not tensor.sliced:
        return found
    sizes = {**found.sizes, s.index: found.sizes[s.index] * s.count}
    return replace(found, sizes=sizes, sliced=(s.index, s.count))


def _end(phase: Phase, group: Sequence[Nets], problem: ModelProblem) -> Ports:
    """Return the ports of a phase of the last group: its sinks, or the answer behind its loop."""
    arch, own = phase.arch, phase.nets
    if problem.output == "sequence":
        made = [replace(phase, nets=n).produced for n in group]
        sizes = [region(0, t).n_bytes(arch) for t in made]
        d = own.asked.direction
        place = region(sum(sizes[:d]), made[d])
        sink = Sink(Field(made[d], place, OUTPUT, sum(sizes)), None)
        return replace(phase.ports, sinks=(sink,))
    if own is not group[-1]:
        return phase.ports
    states = tuple(n.cell.h for n in group if n.cell)
    answers = (
        [own.behind[-1].result]
        if own.behind
        else [replace(h, name=f"{h.name}.out") for h in states]
    )
    finals, at = [], 0
    for t in answers:
        finals.append(Field(t, region(at, t), OUTPUT, 0))
        at += finals[-1].region.n_bytes(arch)
    return replace(phase.ports, finals=tuple(finals), states=states)


# --- scratchpads -------------------------------------------------------------------------------
class _Free(NamedTuple):
    """A buffer that may be in any scratchpad."""

    name: str
    size: int
    phase: int
    kept: bool


def _balanced(phases: Sequence[Phase], arch: Architecture) -> dict[str, int]:
    """Return the scratchpads of results, biases, states and staging: where there is most room."""
    free = []
    for phase in phases:
        sizes = {t.name: t.layout.extent for t in phase.nets.free_results} | phase.extra_buffers
        free += [_Free(n, size, phase.number, n in phase.kept) for n, size in sizes.items()]
    names = {f.name for f in free}
    kept = {b.name: b for p in phases for b in p.buffers() if b.permanent and b.name not in names}
    room = []
    for phase in phases:
        own = [b for b in phase.buffers() if b.name not in names and b.name not in kept]
        fixed = [*own, *kept.values()]
        room.append([arch.capacity(s) - _total(fixed, s) for s in (0, 1)])
    spaces: dict[str, int] = {}
    for f in sorted(free, key=lambda f: -f.size):
        touched = room if f.kept else [room[f.phase]]
        space = int(min(r[1] for r in touched) > min(r[0] for r in touched))
        spaces[f.name] = space
        for r in touched:
            r[space] -= op.whole_vectors(f.size, arch)
    return spaces


def _total(buffers: Iterable[op.Buffer], space: int) -> int:
    return sum(b.elements * (1 + b.toggled) for b in buffers if b.space == space)


def _lifetimes(
    phases: Sequence[Phase], problem: ModelProblem
) -> tuple[list[op.Buffer], dict[str, tuple[int, int]]]:
    """Return all buffers, and when they must hold their data: phases follow one another."""
    buffers: dict[str, op.Buffer] = {}
    spans: dict[str, tuple[int, int]] = {}
    for phase in phases:
        start = phase.number * SPAN
        inside = phase.lifetimes()
        for b in phase.buffers():
            buffers[b.name] = b
            first, last = inside.get(b.name, (0, SPAN - 2))
            spans[b.name] = (start + first, start + last)
        for state in phase.ports.states:
            spans[state.name] = (spans[state.name][0], start + SPAN - 2)
    return list(buffers.values()), spans


@dataclass(frozen=True)
class ModelMapping:
    """How a model runs on a machine.

    Names of tensors and results, for scales and weights, are those of `einchip.mapper.problem`.
    """

    problem: ModelProblem
    arch: Architecture
    mapped: Mapped

    searched = (
        "the quickest tree of each matrix alone, of all trees of connected parts, with the best "
        "folds that share the layouts of gates and h; slices of x, the fewest first, only where "
        "memory is short; not proved optimal for the model as a whole"
    )

    def emit(self, fracs: Mapping[str, int] | None = None) -> Programs:
        """Return the programs with these fractional bits for every name (None: all 0).

        Raises MappingError for scales that a shift cannot reach.
        """
        return self.mapped.programs(fracs, self.arch)

    def host(
        self, n_steps: int, weights: int, sequence: int, output: int, workspace: int = 0
    ) -> Host:
        """Return the host registers for a run: external addresses and the number of steps."""
        return Host((weights, sequence, output, workspace), (n_steps, 0, 0, 0))

    # --- what a calibrator needs -------------------------------------------------------------
    @cached_property
    def nets(self) -> list[Net]:
        """All mapped networks in the order in which they run."""
        return [net for phase in self.mapped.phases for net in phase.nets.all]

    @cached_property
    def evaluations(self) -> list[Evaluation]:
        """What a calibrator must evaluate, in order."""
        found = []
        for phase in self.mapped.phases:
            size = phase.cell.units.size if phase.cell else 0
            for n in phase.nets.all:
                low = n.addend_gate * size
                found.append(
                    Evaluation(
                        n.part, n.operands, n.addend, n.act, n.part.result, low,
                        low + n.addend_gates * size,
                    )
                )  # fmt: skip
        return found

    @property
    def steps(self) -> list[report.Contraction]:
        """All contractions of a time step, then what is behind the loops."""
        return [c for net in self.nets for c in report.contractions(net.part)]

    @cached_property
    def same_scale(self) -> tuple[tuple[str, ...], ...]:
        """Groups of names whose fractional bits must be equal: copies of one another."""
        return _merged(_copies(self.mapped.phases))

    @property
    def wide(self) -> tuple[str, ...]:
        """Names of the states that are kept in 16 bits."""
        return tuple(p.state_name for p in self.mapped.phases if p.state_name)

    @property
    def limits(self) -> dict[str, tuple[int, int]]:
        """Bounds of the fractional bits that instructions demand."""
        cells = {n for p in self.mapped.phases for w in p.pointwise() for n in w.scales}
        acts = {n.part.result for n in self.nets if n.act in (Act.SIGMOID, Act.TANH)}
        return dict.fromkeys(sorted(cells | acts), (0, MAX_FRAC))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the vectors that make up the answer, of equal scales."""
        last = self.mapped.phases[-1]
        if last.ports.finals and not last.nets.behind:
            return tuple(h.name for h in last.ports.states)
        fields = last.ports.finals or tuple(
            s.field for p in self.mapped.phases for s in p.ports.sinks if s.piece is None
        )
        return tuple(f.tensor.name for f in fields)

    # --- figures -----------------------------------------------------------------------------
    @property
    def macs(self) -> int:
        """Multiply-adds of one time step, in the chosen order."""
        return sum(s.macs for net in self._looped() for s in net.part.steps)

    def _looped(self) -> Iterator[Net]:
        for phase in self.mapped.phases:
            once = phase.nets.behind if not phase.nets.asked.behind_in_loop else ()
            yield from (n for n in phase.nets.all if n not in once)

    def _networks(self) -> Iterator[tuple[Network, str]]:
        """Yield the problem's networks of one time step, each with its data tensor."""
        stages = list(self.problem.stages)
        if self.problem.output == "last":
            while isinstance(stages[-1], Linear):
                stages.pop()
        for stage in stages:
            if isinstance(stage, Linear):
                yield stage.network, stage.operands[0]
            else:
                yield from _matrices(stage)

    @property
    def macs_naive(self) -> int:
        """Multiply-adds of one time step with the tensors in their order, the data first."""
        return sum(tree.macs(tree.in_order(n, first), n) for n, first in self._networks())

    @property
    def bound(self) -> int | None:
        """The roofline of one time step: all its matrices, and its input over the memory port."""
        try:
            lines = [roofline(n, self.arch, first) for n, first in self._networks()]
        except NetworkError:
            return None
        port = self.input_size * self.arch.element_bytes / self.arch.port_bytes
        return ceil(max(sum(r.compute_cycles for r in lines), port))

    def cycles(self, n_steps: int) -> int:
        """Predicted cycles of a run over a sequence, program fetch left out."""
        return predict(self.emit().run, self.arch, n_steps)

    @property
    def step_cycles(self) -> float:
        """Predicted cycles of one time step in the steady state."""
        return (self.cycles(WARM + MEASURED) - self.cycles(WARM)) / MEASURED

    def to_json(self) -> dict[str, Any]:
        """Return the mapping as plain data."""
        return {
            "arch": self.arch.name,
            "optimal": False,
            "searched": self.searched,
            "macs_per_step": self.macs,
            "macs_naive_per_step": self.macs_naive,
            "cycles_per_step": self.step_cycles,
            "bound_cycles_per_step": self.bound,
            "slices": self.mapped.phases[0].nets.first.part.slicing.count,
            "phases": [
                {"order": [o.name for o in p.body], "after": [o.name for o in p.after]}
                for p in self.mapped.phases
            ],
            "networks": [
                {
                    "tree": net.part.tree,
                    "steps": report.describe(net.part, self.arch),
                    "tensors": report.layouts(net.part),
                    "padding": net.part.padding,
                }
                for net in self.nets
            ],
        }

    def explain(self) -> str:
        """Return the loop nests as text."""
        return "\n".join(report.explain(net.part, self.arch) for net in self.nets)

    # --- external memory ---------------------------------------------------------------------
    @cached_property
    def _inputs(self) -> list[Field]:
        """The fields of the input sequence's records."""
        return [f for p in self.mapped.phases for f in p.ports.sources if f.base == INPUT]

    @cached_property
    def _outputs(self) -> list[Field]:
        """The fields of the output."""
        phases = self.mapped.phases
        sinks = [s.field for p in phases for s in p.ports.sinks if s.field.base == OUTPUT]
        return sinks or [f for p in phases for f in p.ports.finals]

    @property
    def input_size(self) -> int:
        """Elements of one time step's input."""
        own = self.mapped.phases[0].ports.sources
        return sum(int(np.prod(f.region.shape)) for f in own)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all weights in external memory, at BASE0."""
        return max(
            (r.offset + r.n_bytes(self.arch) for _, r in self.mapped.weights.values()), default=0
        )

    def sequence_bytes(self, n_steps: int) -> int:
        """Bytes that a run reads at BASE1."""
        return n_steps * self._inputs[0].record

    def output_bytes(self, n_steps: int) -> int:
        """Bytes that a run writes at BASE2."""
        fields = self._outputs
        once = max(f.region.offset + f.region.n_bytes(self.arch) for f in fields)
        return n_steps * fields[0].record if fields[0].record else once

    def workspace_bytes(self, n_steps: int) -> int:
        """Bytes that a run writes and reads at BASE3."""
        return n_steps * self.mapped.records.get(WORKSPACE, 0)

    @cached_property
    def cuts(self) -> dict[str, Cut]:
        """Where every mapped weight comes from."""
        found = {name: cut for net in self.nets for name, cut in net.cuts.items()}
        for name, (_, place) in self.mapped.weights.items():
            found.setdefault(name, Cut(name, place.shape))
        return found

    def weight_arrays(self, arrays: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        """Return the problem's arrays as the mapped steps see them, reshaped and cut by gate.

        Raises ValueError for an array that is missing or has another size.
        """
        return {name: _cut(cut, arrays) for name, cut in self.cuts.items()}

    def pack_weights(self, arrays: Mapping[str, ArrayLike]) -> bytes:
        """Return the external memory of all weights and biases, integers under mapped names.

        Raises ValueError for an array that is missing or has another size.
        """
        regions = {n: r for n, (_, r) in self.mapped.weights.items()}
        missing = sorted(set(regions) - set(arrays))
        if missing:
            raise ValueError(
                f"{missing[0]}: found no array, expected shape {regions[missing[0]].shape}"
            )
        shaped = {n: np.asarray(arrays[n]).reshape(r.shape) for n, r in regions.items()}
        return image(regions, shaped, self.weights_bytes, self.arch)

    def pack_sequence(self, steps: ArrayLike | Mapping[str, ArrayLike]) -> bytes:
        """Return the external memory of a sequence.

        `steps` is an array of integers [n_steps, input size]; or, for several operands, one for
        each by name.
        """
        n = 0
        rows: list[tuple[Field, Ints]] = []
        for f in self._inputs:
            key = f.tensor.name.rsplit(".", 1)[1]
            given = np.asarray(steps[key] if isinstance(steps, Mapping) else steps, dtype=np.int64)
            n = len(given)
            rows.append((f, given.reshape(n, *f.region.shape)))
        out = np.zeros((n, self._inputs[0].record // self.arch.element_bytes), dtype=np.int64)
        for f, values in rows:
            out[:, self._places(f)] = values
        return reference.to_bytes(out.ravel(), self.arch)

    def unpack(self, output: bytes | bytearray, n_steps: int = 1) -> Ints:
        """Return the answer from what a run wrote at BASE2: [n_out], or [n_steps, n_out]."""
        fields = self._outputs
        n = n_steps if fields[0].record else 1
        data = reference.from_bytes(bytes(output[: self.output_bytes(n)]), self.arch).reshape(n, -1)
        rows = np.concatenate([data[:, self._places(f)].reshape(n, -1) for f in fields], axis=1)
        return rows if fields[0].record else rows[0]

    def _places(self, f: Field) -> Ints:
        """Return the element numbers of a field within its record."""
        return f.region.offset // self.arch.element_bytes + f.region.addresses(self.arch)


def _cut(cut: Cut, arrays: Mapping[str, ArrayLike]) -> np.ndarray:
    if cut.source not in arrays:
        raise ValueError(f"{cut.source}: found no array, expected shape {cut.shape}")
    whole = np.asarray(arrays[cut.source])
    if whole.size != int(np.prod(cut.shape)):
        raise ValueError(f"{cut.source}: found shape {whole.shape}, expected {cut.shape}")
    whole = whole.reshape(cut.shape)
    if cut.axis < 0:
        return whole
    part = np.take(whole, range(cut.start, cut.stop), axis=cut.axis)
    return part.squeeze(cut.axis) if cut.drop else part


def _matrices(stage: Recurrent) -> Iterator[tuple[Network, str]]:
    for d in stage.directions:
        yield d.inputs, "x"
        yield d.hidden, "h"


def _copies(phases: Sequence[Phase]) -> Iterator[tuple[str, ...]]:
    """Yield names that are copies of one another."""
    inputs = [f.tensor.name for p in phases for f in p.ports.sources if f.base == INPUT]
    if len({p.number for p in phases if not p.nets.asked.group}) > 1:
        yield tuple(inputs)
    for phase in phases:
        cell = phase.cell
        if cell and not phase.state_name:
            yield cell.hidden.part.result, cell.h.name
        for sink in phase.ports.sinks:
            yield phase.produced.name, sink.field.tensor.name
        if phase.nets.asked.copied_in:
            states = phase.ports.states or ((cell.h,) if cell else ())
            yield (next(iter(phase.nets.behind[0].operands)), *(h.name for h in states))
        elif phase.ports.finals and not phase.nets.behind:
            yield tuple(h.name for h in phase.ports.states)
    yield tuple(s.field.tensor.name for p in phases for s in p.ports.sinks if s.piece is None)


def _merged(groups: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return disjoint groups of more than one name."""
    found: list[list[str]] = []
    for group in groups:
        touched = [g for g in found if not set(g).isdisjoint(group)]
        merged = list(dict.fromkeys([n for g in touched for n in g] + list(group)))
        found = [g for g in found if g not in touched] + [merged]
    return tuple(tuple(g) for g in found if len(g) > 1)


def map_model(problem: ModelProblem, arch: Architecture) -> ModelMapping:
    """Search the quickest mapping of a model.

    Raises MappingError when nothing fits: what is too small, and the least change that helps.
    """
    return ModelMapping(problem, arch, ModelSearch(problem, arch).run())


__all__ = ["Evaluation", "ModelMapping", "elements", "map_model"]
