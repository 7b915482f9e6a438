"""The search for one phase: ways to try, and its networks folded in each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from math import inf, prod
from typing import NamedTuple

from einchip.arch import Architecture
from einchip.mapper import tree
from einchip.mapper.choose import Lanes, Naming, Task, fold_tree
from einchip.mapper.errors import MappingError
from einchip.mapper.layout import Layout, restrict, solve
from einchip.mapper.nets import Asked, CellNets, Cut, Net, Nets
from einchip.mapper.network_search import TREES, inner_slicings, slicings, tree_costs
from einchip.mapper.objective import StepCost
from einchip.mapper.phase_networks import CANDIDATE_GATE, PhaseNetworks
from einchip.mapper.plan import Slicing
from einchip.mapper.problem import BATCH, CellKind, Linear
from einchip.mapper.wires import GATE
from einchip.network import Network
from einchip.program import Act
from einchip.roofline import StepCost as Bound

#: Slicings of the sequence that are tried, those with the fewest slices first.
SLICES_TRIED = 24
#: Tensors of a network up to which steps on weights alone are taken to cost nothing, and which part
#: of the scratchpads their results may take.
MAX_STEADY, CONSTANT_SHARE = 8, 8
#: Steps of a phase's first network up to which all ways to swap X and Y are tried.
MAX_FLIPS = 4


class _Ready(NamedTuple):
    """A network with its tree, ready to fold."""

    network: Network
    root: tree.Node
    fixed: Mapping[str, Layout]


@dataclass(frozen=True)
class Attempt:
    """What is varied until everything fits: slices of x, the scratchpad of h, orientations.

    Slices may also be of intermediates alone, of steps that follow `leaf` instead of x.
    `alternate`: operands of linear stages are in X and Y by turns, so their weights in Y and X.
    """

    slicing: Slicing = field(default_factory=Slicing)
    h_space: int = 0
    flips: Mapping[int, bool] = field(default_factory=dict)
    alternate: bool = False
    leaf: str = ""


class Hides(Enum):
    """Where other work is taken to hide the last drain of each step."""

    NOTHING = auto()
    INPUT = auto()  # in the input part of a cell, beside the hidden part
    ALL = auto()


class PhaseSearch:
    """The search for one phase on one machine.

    With `steady` trees are those that are quickest where steps on weights alone, which `setup`
    runs, cost nothing; else those that are quickest where they cost what others do. The last drains
    of the steps of what `hides` says cost nothing.
    """

    def __init__(
        self, asked: Asked, arch: Architecture, sliceable: bool, steady: bool, hides: Hides
    ) -> None:
        self.asked, self.arch, self.steady, self.hides = asked, arch, steady, hides
        self.sliceable = sliceable and len(asked.operands) == 1
        self.shared = PhaseNetworks(asked, arch)
        self.networks, self.first_key = self.shared.networks, self.shared.first_key
        self.units, self.lanes = self.shared.units, self.shared.lanes
        self.ready = {k: self._ready(k) for k in self.networks}

    def _ready(self, key: str) -> _Ready:
        network = self.networks[key]
        root = self._steady_tree(key) if self.steady else None
        if root is None:
            root = tree.search(network, *self._costs(key), keep=TREES)[0].node
        return _Ready(network, root, self.shared.fixed.get(key, {}))

    @property
    def trees(self) -> list[str]:
        """The trees as text."""
        return [ready.root.text() for ready in self.ready.values()]

    def _data(self, key: str) -> set[str]:
        """Return the tensors of a network that are no weights."""
        linear = {s.name: set(s.operands) for s in (*self.asked.chain, *self.asked.behind)}
        return linear.get(key, {"x"} if key == "input" else {"h"})

    def _costs(self, key: str) -> tuple[StepCost, Bound]:
        """Return the cycles of a network's steps, and a lower bound."""
        drains = not (self.hides is Hides.ALL or (self.hides is Hides.INPUT and key == "input"))
        return tree_costs(self.networks[key], self.arch, drains=drains, data=self._padded(key))

    def _padded(self, key: str) -> frozenset[str] | None:
        """Return what is not padded (`choose.Task.data`); None where nothing is.

        Padded vectors drain late, which is no gain where nothing hides it.
        """
        return None if self.hides is Hides.NOTHING else frozenset(self._data(key))

    def _steady_tree(self, key: str) -> tree.Node | None:
        """Return the quickest tree if steps on weights alone, which `setup` runs, cost nothing.

        Each of these multiplies two weights, so that none is rounded more than once more. None
        where their results take too much room, or the network is too large to search with so
        little known of what steps cost.
        """
        network, data = self.networks[key], self._data(key)
        if len(network.tensors) > MAX_STEADY:
            return None
        whole, _ = self._costs(key)

        def cost(a: tree.Node, b: tree.Node, out: tuple[str, ...]) -> float:
            leaves = {*a.leaves(), *b.leaves()}
            if data & leaves:
                return whole(a, b, out)
            return 0.0 if len(leaves) == 2 else inf

        root = tree.search(network, cost, lambda *_: 0.0)[0].node
        constant = [s for s in root.steps() if not data & set(s.leaves())]
        elements = sum(prod(network.sizes[i] for i in s.indices) for s in constant)
        room = (self.arch.capacity(0) + self.arch.capacity(1)) // CONSTANT_SHARE
        return root if elements <= room else None

    # --- what is tried -----------------------------------------------------------------------
    def attempts(self) -> Iterator[Attempt]:
        """Yield what to try, the quickest first; of slices those of sequences side by side."""
        first = self.ready[self.first_key]
        ways = [Slicing()]
        if self.sliceable:
            found = list(slicings(first.network, first.root, self.shared.first_operand))
            alone = [s for s in found if s.index == BATCH]
            ways += alone + [s for s in found if s.index != BATCH][:SLICES_TRIED]
        spaces = (0, 1) if self.asked.layer else (0,)
        for slicing, space in itertools.product(ways, spaces):
            yield Attempt(slicing, space)
        if len(self.asked.chain) + len(self.asked.behind) > 1:
            for space in spaces:
                yield Attempt(h_space=space, alternate=True)
        n_steps = sum(1 for _ in first.root.steps())
        if n_steps <= MAX_FLIPS:
            flips = itertools.product((False, True), repeat=n_steps)
            for slicing, space, way in itertools.product(ways, spaces, flips):
                yield Attempt(slicing, space, dict(enumerate(way)))
        inner = itertools.islice(inner_slicings(first.root, first.network.sizes), SLICES_TRIED)
        flips = itertools.product((False, True), repeat=n_steps if n_steps <= MAX_FLIPS else 0)
        for (leaf, slicing), space, way in itertools.product(inner, spaces, flips):
            yield Attempt(slicing, space, dict(enumerate(way)), leaf=leaf)

    # --- folding -----------------------------------------------------------------------------
    def nets(self, a: Attempt) -> Nets:
        """Fold all networks, what reads a vector before what writes it."""
        behind = self._behind(a)
        inputs = self._inputs(a) if self.asked.layer else None
        cell = self._cell(a, inputs, behind) if inputs else None
        if cell and behind and not self.asked.copied_in:
            behind = (behind[0].with_layout(cell.h.name, self._h_of(behind[0], cell)), *behind[1:])
        chain = self._linears(self.asked.chain, a, cell.inputs if cell else None, "")
        if cell and chain:
            cell = replace(cell, inputs=self._fed(cell.inputs, chain[-1]))
        return Nets(self.asked, chain, cell, behind)

    def _h_of(self, reader: Net, cell: CellNets) -> Layout:
        """Return the layout of h over the indices of its reader behind the cell."""
        return reader.part.tensors[cell.h.name].layout if self.units.flat_hidden else cell.h.layout

    def _fed(self, taker: Net, giver: Net) -> Net:
        """Return a network whose operand has the layout that its producer gave it."""
        name = giver.part.result
        if set(giver.result.indices) != set(taker.part.tensors[name].indices):
            return taker  # flat, over indices of its own
        return taker.with_layout(name, giver.result.layout)

    def _behind(self, a: Attempt) -> tuple[Net, ...]:
        if not self.asked.behind:
            return ()
        given = "" if self.asked.copied_in or not self.asked.layer else f"{self.asked.prefix}.h"
        return self._linears(self.asked.behind, a, None, given)

    def _linears(
        self, stages: Sequence[Linear], a: Attempt, reader: Net | None, given: str
    ) -> tuple[Net, ...]:
        """Fold linear stages from the last one back; `given` names the first one's operand."""
        found: list[Net] = []
        for k in reversed(range(len(stages))):
            name = given if k == 0 and given else ""
            if k > 0:
                name = f"{stages[k - 1].name}.y"
            taker = found[0] if found else reader
            turn = k % 2 if a.alternate else None
            net = self._linear(stages[k], a, taker, name, turn)
            if found:
                found[0] = self._fed(found[0], net)
            found.insert(0, net)
        return tuple(found)

    def _linear(
        self, stage: Linear, a: Attempt, taker: Net | None, given: str, turn: int | None = None
    ) -> Net:
        """Fold one linear stage; `given` names its operand where another network writes it.

        `turn` is the scratchpad of its operand, if that is demanded.
        """
        ready = self.ready[stage.name]
        own = {o: f"{stage.name}.{o}" for o in stage.operands}
        names = {stage.operands[0]: given} if given else own
        result = f"{stage.name}.y"
        accesses: dict[str, tuple[Lanes, ...]] = {}
        if taker is not None and "" not in ready.fixed:
            accesses[""] = (taker.reads(result),)
        flips: Mapping[int, bool] = {}
        slicing, streamed = Slicing(), ""
        if given and given == f"{self.asked.prefix}.h":
            accesses[stage.operands[0]] = (self.units.factors(self.lanes, hidden=True),)
            flips = _flip_of(ready.root, stage.operands[0], a.h_space)
        elif stage.name == self.first_key:
            flips, slicing, streamed = a.flips, a.slicing, a.leaf or stage.operands[0]
        if turn is not None and not flips:
            flips = _flip_of(ready.root, stage.operands[0], turn)
        addend = f"{stage.name}.bias" if stage.bias else ""
        task = Task(
            ready.root, ready.network.sizes, self.arch, Naming(result, f"{stage.name}.", names),
            slicing, streamed, flips, accesses, addend, ready.fixed,
            data=self._padded(stage.name),
        )  # fmt: skip
        operands = {names[o]: own[o] for o in names}
        net = self._net(task, ready.network, operands, addend, stage.act)
        if taker is not None:
            net = net.with_result_in(taker.part.tensors[result].space)
        return net

    def _net(
        self, task: Task, network: Network, operands: Mapping[str, str], addend: str, act: Act
    ) -> Net:
        """Fold a task; its result's indices come in the order of the network's output."""
        part = fold_tree(task)
        result = replace(part.tensors[part.result], indices=network.output)
        part = replace(part, tensors={**part.tensors, part.result: result})
        cuts = {
            task.naming.of(n): Cut(task.naming.of(n), network.shape(n))
            for n in network.tensors
            if task.naming.of(n) not in operands
        }
        return Net(part, operands, addend, act, cuts)

    # --- the cell ----------------------------------------------------------------------------
    def _inputs(self, a: Attempt) -> Net:
        ready, d = self.ready["input"], self.asked.prefix
        x = f"{self.asked.chain[-1].name}.y" if self.asked.chain else f"{d}.x"
        first = not self.asked.chain
        accesses = {"": (self.units.factors(self.lanes),)}
        task = Task(
            ready.root, ready.network.sizes, self.arch,
            Naming(f"{d}.gates_input", f"{d}.input.", {"x": x}),
            a.slicing if first else Slicing(), a.leaf or "x", a.flips if first else {},
            accesses, f"{d}.bias", ready.fixed, data=self._padded("input"),
        )  # fmt: skip
        return self._net(task, ready.network, {x: f"{d}.x"}, f"{d}.bias", Act.NONE)

    def _cell(self, a: Attempt, inputs: Net, behind: tuple[Net, ...]) -> CellNets:
        layer, d = self.asked.layer, self.asked.prefix
        assert layer is not None
        writes = [inputs.part.steps[-1].fold.z_lanes]
        reads = [self.units.factors(self.lanes, hidden=True)]
        if behind and not self.asked.copied_in and not self.units.flat_hidden:
            reads.append(behind[0].reads(f"{d}.h"))
        hidden = self._hidden(a, layer.cell, writes, reads)
        candidate = None
        if layer.cell is CellKind.GRU_BEFORE:
            writes.append(hidden.part.steps[-1].fold.z_lanes)
            candidate = self._candidate(a, writes)
            whole = self._frame_layout([*writes, candidate.part.steps[-1].fold.z_lanes])
            if whole:
                hidden, candidate, inputs = (
                    n.with_layout(n.part.result, restrict(whole, n.result.indices, self._sizes(n)))
                    for n in (hidden, candidate, inputs)
                )
        elif not self.units.flat_gates:
            inputs = inputs.with_layout(inputs.part.result, hidden.result.layout)
        return CellNets(layer.cell, d, inputs, hidden, candidate, self.units, self.lanes)

    def _sizes(self, net: Net) -> dict[str, int]:
        own = {**self.frame(), **net.result.layout.sizes}
        return {i: own.get(i, 1) for i in net.result.indices}

    def frame(self) -> dict[str, int]:
        """Return the indices of all gates with their sizes."""
        units = dict(zip((a.name for a in self.units.gates), self.units.sizes, strict=True))
        return {GATE: self.units.n_gates, **units}

    def _frame_layout(self, accesses: Sequence[Lanes]) -> Layout | None:
        """Return the layout of all gates for all who write and read them, None where it is flat."""
        if self.units.flat_gates:
            return None
        lanes = self.units.factors(self.lanes)
        found = solve(self.frame(), self.frame(), [lanes, *accesses], self.arch.lanes)
        if found is None:
            raise MappingError(
                f"{self.asked.prefix}.gates: no layout is free of bank conflicts for its writes "
                "and reads; change the sizes of the output modes"
            )
        return found

    def _hidden(
        self, a: Attempt, kind: CellKind, writes: Sequence[Lanes], reads: Sequence[Lanes]
    ) -> Net:
        ready, d = self.ready["hidden"], self.asked.prefix
        cut = kind is CellKind.GRU_BEFORE and not self.units.flat_gates
        addend = f"{d}.bias_hidden" if kind is CellKind.GRU else f"{d}.gates_input"
        accesses: dict[str, tuple[Lanes, ...]] = {"h": tuple(reads)}
        if not self.units.flat_gates:
            accesses[""] = (self.units.factors(self.lanes), *writes)
        task = Task(
            ready.root, ready.network.sizes, self.arch,
            Naming(f"{d}.gates", f"{d}.hidden.", {"h": f"{d}.h"}),
            flips=_flip_of(ready.root, "h", a.h_space), accesses=accesses, addend=addend,
            fixed=ready.fixed, frame=self.frame() if cut else {}, data=self._padded("hidden"),
        )  # fmt: skip
        acts = {CellKind.RNN_TANH: Act.TANH, CellKind.RNN_RELU: Act.RELU}
        act = acts.get(kind, Act.NONE)
        net = self._net(task, ready.network, {f"{d}.h": f"{d}.h"}, addend, act)
        if kind is CellKind.GRU_BEFORE and GATE in ready.network.output:
            cuts = self._gate_cuts(net, f"{d}.hidden.", 0, CANDIDATE_GATE)
            return replace(net, cuts=cuts, addend_gates=CANDIDATE_GATE)
        return net

    def _candidate(self, a: Attempt, writes: Sequence[Lanes]) -> Net:
        """Fold the candidate's network, which reads s(r) h."""
        ready, d = self.ready["candidate"], self.asked.prefix
        own = GATE in self.ready["hidden"].network.output
        prefix = f"{d}.candidate." if own else f"{d}.hidden."
        accesses: dict[str, tuple[Lanes, ...]] = {
            "h": (self.units.factors(self.lanes, hidden=True),)
        }
        if not self.units.flat_gates:
            accesses[""] = (self.units.factors(self.lanes), *writes)
        reset, addend = f"{d}.reset", f"{d}.gates_input"
        flips = {} if own else _flip_of(ready.root, "h", a.h_space)  # weights that are shared
        task = Task(
            ready.root, ready.network.sizes, self.arch,
            Naming(f"{d}.candidate", prefix, {"h": reset}, f"{d}.candidate."), flips=flips,
            accesses=accesses, addend=addend,
            fixed=ready.fixed, frame={} if self.units.flat_gates else self.frame(),
        )  # fmt: skip
        net = self._net(task, ready.network, {reset: reset}, addend, Act.NONE)
        if not own:
            return net
        cuts = self._gate_cuts(net, f"{d}.hidden.", CANDIDATE_GATE, CANDIDATE_GATE + 1)
        return replace(net, cuts=cuts, addend_gate=CANDIDATE_GATE, addend_gates=1)

    def _gate_cuts(self, net: Net, prefix: str, start: int, stop: int) -> dict[str, Cut]:
        """Return where the weights of some gates come from."""
        layer = self.asked.layer
        assert layer is not None
        hidden = self.networks["hidden"]
        n_gates = layer.cell.n_gates
        found: dict[str, Cut] = {}
        for mapped in net.cuts:
            tensor = mapped.rsplit(".", 1)[1]
            indices = hidden.tensors[tensor]
            shape = tuple(n_gates if i == GATE else hidden.sizes[i] for i in indices)
            axis = indices.index(GATE) if GATE in indices else -1
            drop = stop - start == 1
            found[mapped] = Cut(prefix + tensor, shape, axis, start, stop, drop)
        return found


def _flip_of(root: tree.Node, leaf: str, space: int) -> dict[int, bool]:
    """Return the flip that puts a leaf into a scratchpad."""
    for k, step in enumerate(root.steps()):
        for right, operand in enumerate(step.operands):
            if operand.tensor == leaf:
                return {k: bool(right) == (space == 0)}
    return {}
