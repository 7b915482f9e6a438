"""One phase: its buffers, its weights, its operations before, in and after the loop over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from einchip.arch import Architecture
from einchip.mapper import ops as op
from einchip.mapper import shares
from einchip.mapper.cells import CellWork
from einchip.mapper.image import Region
from einchip.mapper.nets import CellNets, Net, Nets
from einchip.mapper.plan import Step, Tensor
from einchip.mapper.ports import (
    MODULUS,
    RECORD_REGISTERS,
    WEIGHTS,
    Field,
    Piece,
    Ports,
    Sink,
    copy_piece,
    elements,
    region,
)
from einchip.mapper.schedule import schedule
from einchip.mapper.shares import Shares, share_name
from einchip.mapper.tokens import copy_name
from einchip.mapper.tree import ONE
from einchip.mapper.vector import Pointwise
from einchip.program import Act


@dataclass(frozen=True)
class Phase:
    """A phase with operations; addresses and scales are still open."""

    nets: Nets
    ports: Ports
    spaces: Mapping[str, int]
    arch: Architecture
    number: int
    order: tuple[int, ...] = ()  # of the scheduled operations of the loop, as they stand if empty
    ahead: bool = False  # the input part runs a time step ahead, its first one before the loop
    shares: Shares | None = None  # of the hidden part and the cell
    serial: bool = False  # network after network, so that the fewest intermediates live at a time
    apart: bool = False  # the state is kept apart from what its cell reads, to be read beside it
    reloads: bool = False  # its weights are loaded before its loop in every run, not by setup
    offsets: Mapping[str, int] = field(default_factory=dict)  # of these, from BASE0

    # --- vectors -----------------------------------------------------------------------------
    @cached_property
    def work(self) -> CellWork | None:
        """The pointwise part of the cell."""
        return CellWork(self.cell, self.spaces, self.arch, self.shares) if self.cell else None

    @property
    def state_name(self) -> str:
        """The buffer of the wide states, "" where there are none."""
        return self.work.state_name if self.work else ""

    @property
    def shared(self) -> tuple[str, ...]:
        """The buffers of which array and vector unit touch different shares."""
        if self.cell is None:
            return ()
        return (self.cell.hidden.part.result, self.cell.h.name, self.state_name)

    def _whole(self, found: Iterable[op.Op]) -> list[op.Op]:
        """Return operations, those on whole buffers with the names of all their shares."""
        if self.shares is None:
            return list(found)
        return [shares.of_all(o, self.shared, self.shares) for o in found]

    @property
    def peepholes(self) -> str:
        """The buffer of the peephole weights, "" where there are none."""
        return self.work.peepholes if self.work else ""

    def pointwise(self) -> list[Pointwise]:
        """Return the instructions of a cell with a wide state."""
        return self.work.pointwise() if self.work else []

    @property
    def cell(self) -> CellNets | None:
        """The cell's networks."""
        return self.nets.cell

    @property
    def prefix(self) -> str:
        """The prefix of the cell's names."""
        return self.nets.asked.prefix

    @property
    def produced(self) -> Tensor:
        """The vector of each time step."""
        behind = self.nets.behind if self.nets.asked.behind_in_loop else ()
        if behind:
            return behind[-1].result
        return self.cell.h if self.cell else self.nets.chain[-1].result

    # --- buffers -----------------------------------------------------------------------------
    @property
    def extra_buffers(self) -> dict[str, int]:
        """Elements of the buffers, beside those of networks, that may be in any scratchpad."""
        arch, found = self.arch, dict[str, int]()
        linear = {s.name for s in (*self.nets.asked.chain, *self.nets.asked.behind)}
        biases = {n: t.layout.extent for n, t in self.nets.biases.items()}
        own = {n: e for n, e in biases.items() if n.rsplit(".", 1)[0] not in linear}
        found |= own
        found |= self.work.buffers if self.work else {}
        found |= {n: e for n, e in biases.items() if n not in own}
        found |= {
            s.staging: s.field.region.n_bytes(arch) // arch.element_bytes
            for s in self.ports.sinks
            if s.piece
        }
        return found

    @property
    def kept(self) -> set[str]:
        """Names of what setup loads or computes, and what is never given up."""
        if self.reloads:
            return set()
        return self.constant | {t.name for t in self.ones}

    @property
    def ones(self) -> list[Tensor]:
        """The scalars 1 that steps with one operand multiply it with."""
        tensors = (t for net in self.nets.all for t in net.part.tensors.values())
        return list({t.name: t for t in tensors if t.name.startswith(ONE)}.values())

    @property
    def constant(self) -> set[str]:
        """Names of weights, and of what depends on them alone."""
        weights = {n for net in self.nets.all for n in net.cuts}
        peepholes = {self.peepholes} if self.peepholes else set[str]()
        constant = {n for net in self.nets.all for n in net.constant}
        return weights | set(self.nets.biases) | peepholes | constant

    @property
    def toggled(self) -> list[str]:
        """The input tensors of which there are two copies."""
        return [t.name for t in self.nets.inputs if not t.sliced]

    @property
    def distance(self) -> int:
        """Elements between the two copies of an input."""
        return max((elements(t, self.arch) for t in self.nets.inputs), default=0)

    def buffers(self) -> list[op.Buffer]:
        """Return all buffers; permanent are those that setup fills."""
        found: dict[str, op.Buffer] = {}
        for net in self.nets.all:
            for b in op.part_buffers(net.part, self.arch):
                found[b.name] = replace(b, permanent=b.name in self.kept)
        for name, size in self.extra_buffers.items():
            keep = name in self.kept
            whole = op.whole_vectors(size, self.arch)
            found[name] = op.Buffer(name, self.spaces.get(name, 0), whole, permanent=keep)
        for name in self.toggled:
            found[name] = replace(found[name], toggled=True, elements=self.distance)
        for final in self.ports.finals:
            name = final.tensor.name
            if name not in found:
                found[name] = op.Buffer(
                    name, final.tensor.space, elements(final.tensor, self.arch), permanent=False
                )
        return list(found.values())

    def _body_intermediates(self) -> set[str]:
        """Return the results that only the array touches."""
        return {s.name for n in self.nets.all for s in n.part.steps[:-1]}

    def lifetimes(self) -> dict[str, tuple[int, int]]:
        """Return for intermediates of the loop the first and last operation that touches them."""
        alone = self._body_intermediates() - self.constant
        return {n: span for n, span in op.touched(self.body).items() if n in alone}

    # --- operations --------------------------------------------------------------------------
    def _load(self, f: Field, number: int, buffer: str) -> op.Op:
        """Return the LOAD of slice `number`, counted from the first of the loop's time step.

        Slices of the next time step are not loaded in the last one, unless the input part runs
        ahead and so takes something.
        """
        n_bytes = f.region.slice_elements(self.arch) * self.arch.element_bytes
        ahead, piece = divmod(number, f.region.sliced[1])
        step = -f.record if self.ports.reverse else f.record
        skipped = 0 if self.ahead else ahead
        offset = (f.region.offset + piece * n_bytes + ahead * step) % MODULUS
        source = op.External(f.base, offset, RECORD_REGISTERS[f.base])
        return op.load(buffer, f.tensor.space, f.tensor.layout.extent, self.arch, source, skipped)

    @cached_property
    def before(self) -> list[op.Op]:
        """What runs before the loop: weights of its own, state 0, the first inputs."""
        found = list(self.fetches(self.offsets)) if self.reloads else list[op.Op]()
        if self.cell:
            h, arch = self.cell.h, self.arch
            found.append(op.fill(h.name, h.space, h.layout.extent, arch, 0))
            if self.state_name:
                space, size = self.spaces[self.state_name], self.extra_buffers[self.state_name]
                found.append(op.fill(self.state_name, space, size, arch, 0))
        for f in self.ports.sources:
            for c in range(f.tensor.slots):
                sliced = f.tensor.sliced
                name = f.tensor.buffer(c) if sliced else copy_name(f.tensor.name, c)
                found.append(self._load(f, c, name))
        if self.ahead:
            found += self._input_part({n: copy_name(n, 0) for n in self.toggled})
        return self._whole(found)

    @property
    def can_run_ahead(self) -> bool:
        """Whether the input part may run a time step ahead: whole inputs, read forward."""
        return bool(self.cell and self.toggled) and not self.ports.reverse

    def _input_part(self, inputs: Mapping[str, str]) -> Iterator[op.Op]:
        """Yield what does not need h, with other names for the phase's inputs."""
        for net in (*self.nets.chain, *([self.cell.inputs] if self.cell else [])):
            yield from self._executions(net.with_names(inputs))

    @cached_property
    def body(self) -> list[op.Op]:
        """One time step, in order."""
        return [self._scheduled[k] for k in self.order] if self.order else self._scheduled

    def in_order(self, order: tuple[int, ...]) -> Phase:
        """Return the same with another order of the loop; the operations are the same ones."""
        found = replace(self, order=order)
        alike = ("_scheduled", "before", "after")
        vars(found).update({name: getattr(self, name) for name in alike})
        return found

    @cached_property
    def _scheduled(self) -> list[op.Op]:
        """One time step in the order of list scheduling."""
        found = [
            self._load(f, 1, f"{f.tensor.name}.next")
            for f in self.ports.sources
            if not f.tensor.sliced
        ]
        cell = self.cell
        if not self.ahead:
            found += self._input_part({})
        found += [
            self._stage(s, op.load) for s in self.ports.sinks if s.piece and s.piece.number > 0
        ]
        ready = dict[str, int]()
        if cell and self.work:
            found += self._cell_ops(cell)
            n_shares = self.shares.n if self.shares else 0
            names = [cell.h.name, *(share_name(cell.h.name, k) for k in range(n_shares))]
            ready |= dict.fromkeys(names, self.work.cycles)
        if self.ahead:
            found += self._input_part({n: f"{n}.next" for n in self.toggled})
        if self.nets.asked.behind_in_loop:
            found += self._behind([cell.h] if cell else [])
        for s in self.ports.sinks:
            if s.piece:
                target = replace(s.field.tensor, space=self.spaces[s.staging])
                found.append(copy_piece(self.produced, target, s.piece, s.staging, self.arch))
            found.append(self._stage(s, op.store))
        return self._whole(found) if self.serial else schedule(self._whole(found), ready)

    def _stage(self, s: Sink, transfer: Callable[..., op.Op]) -> op.Op:
        """Return the LOAD or STORE of the field that a sink puts together."""
        f = s.field
        name = s.staging if s.piece else f.tensor.name
        space = self.spaces[s.staging] if s.piece else f.tensor.space
        size = f.region.n_bytes(self.arch) // self.arch.element_bytes
        place = op.External(f.base, f.region.offset, RECORD_REGISTERS[f.base])
        return transfer(name, space, size, self.arch, place)

    def _executions(self, net: Net) -> Iterator[op.Op]:
        """Yield a network's steps on data; a slice of the input is followed by a load."""
        source = next((f for f in self.ports.sources if f.tensor.sliced), None)
        for step, piece, execution in op.executions(
            net.part, self.arch, self._addend(net), net.act
        ):
            if step.name in net.constant:
                continue
            yield from self._portions(net, step) or [execution]
            if source and source.tensor.name in (step.x, step.y):
                x = source.tensor
                yield self._load(source, piece + x.slots, x.buffer(piece))

    def _portions(self, net: Net, step: Step) -> list[op.Op]:
        """Return an execution of a step in shares, nothing where it is whole."""
        if self.cell is None or net is not self.cell.hidden:
            return []
        last = step is net.part.steps[-1]
        addend, act = (self._addend(net), net.act) if last else (None, Act.NONE)
        buffer = self.shared[0] if last else self.shared[1]
        return [
            shares.of_share(
                op.contract(net.part, step, 0, addend, self.arch, act, p), {buffer}, p.number
            )
            for p in shares.portions(step, self.cell, self.shares)
        ]

    def _addend(self, net: Net) -> op.Addend | None:
        if not net.addend:
            return None
        if net.addend in self.nets.biases:
            return op.Addend(net.addend, self.spaces[net.addend])
        assert self.cell
        given, units = self.cell.inputs.result, self.cell.units
        return op.Addend(given.name, given.space, net.addend_gate * units.gate_stride(given.layout))

    def _cell_ops(self, cell: CellNets) -> Iterator[op.Op]:
        """Yield the recurrent network and the pointwise part."""
        yield from self._executions(cell.hidden)
        if not self.state_name:
            yield from [self.work.copy()] if self.work else []
            return
        if self.shares:
            for k, p in enumerate(self.pointwise()):
                yield shares.of_share(p.op(self.arch), self.shared, k)
            return
        first, *rest = self.pointwise()
        yield first.op(self.arch)
        if cell.candidate:
            yield from self._executions(cell.candidate)
        yield from (p.op(self.arch) for p in rest)

    def _behind(self, states: Sequence[Tensor]) -> Iterator[op.Op]:
        """Yield the stages behind the cell, from copies of the states where these do not fit."""
        if self.nets.asked.copied_in:
            name = next(iter(self.nets.behind[0].operands))
            target = self.nets.behind[0].part.tensors[name]
            for k, h in enumerate(states):
                yield copy_piece(h, target, Piece(k, len(states)), name, self.arch)
        for net in self.nets.behind:
            yield from self._executions(net)

    @cached_property
    def after(self) -> list[op.Op]:
        """What runs after the loop: the stages behind it, or copies of the states; the answer."""
        found: list[op.Op] = []
        states, finals = self.ports.states, self.ports.finals
        if not finals:
            return found
        if self.nets.asked.behind:
            found += self._behind(states)
        else:
            for h, f in zip(states, finals, strict=True):
                found.append(copy_piece(h, f.tensor, Piece(0, 1), f.tensor.name, self.arch))
        for f in finals:
            place = op.External(f.base, f.region.offset)
            t = f.tensor
            found.append(op.store(t.name, t.space, t.layout.extent, self.arch, place))
        return self._whole(found)

    # --- weights -----------------------------------------------------------------------------
    def fetches(self, offsets: Mapping[str, int]) -> Iterator[op.Op]:
        """Yield what brings all that is constant: LOADs, FILLs of scalars 1, steps on weights.

        `offsets`: of the weights from BASE0, in bytes.
        """
        for name, (tensor, _) in self.weights().items():
            source = op.External(WEIGHTS, offsets[name])
            yield op.load(name, tensor.space, tensor.layout.extent, self.arch, source)
        for one in self.ones:
            yield op.fill(one.name, one.space, 1, self.arch, 1)
        yield from self.constants()

    def constants(self) -> Iterator[op.Op]:
        """Yield the steps on weights alone."""
        for net in self.nets.all:
            for e in op.executions(net.part, self.arch, self._addend(net), net.act):
                if e.step.name in net.constant:
                    yield e.op

    def weights(self) -> dict[str, tuple[Tensor, Region]]:
        """Return the weights: tensors, and their places in external memory, each from 0 on."""
        found: dict[str, tuple[Tensor, Region]] = {}
        for net in self.nets.all:
            for name in net.cuts:
                tensor = net.part.tensors[name]
                found[name] = (tensor, region(0, tensor))
        for name, tensor in self.nets.biases.items():
            placed = replace(tensor, space=self.spaces[name])
            found[name] = (placed, region(0, placed))
        if self.work and self.peepholes:
            found[self.peepholes] = self.work.peephole_region()
        return found
