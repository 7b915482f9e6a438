"""The networks of one phase, brought to common factors or flat layouts where they share vectors."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import prod

from einchip.arch import Architecture
from einchip.mapper.errors import MappingError
from einchip.mapper.layout import Layout, restrict
from einchip.mapper.nets import Asked
from einchip.mapper.problem import CellKind, Linear, Recurrent
from einchip.mapper.wires import (
    GATE,
    Units,
    agree,
    common_factors,
    flat_layout,
    modes_of,
    names_of,
    split_by,
)
from einchip.network import Network

#: The gate of a GRU whose weights are those of the candidate, its last one.
CANDIDATE_GATE = 2


class PhaseNetworks:
    """The networks of a phase, over indices that all who write and read a vector agree on.

    Attributes
    ----------
    networks : by key: the names of linear stages; "input", "hidden" and "candidate" of the cell.
    fixed : by key, layouts that are demanded of tensors, under "" of the result.
    units : the factors of the hidden units; `lanes` those that the vector unit reads at once.
    """

    def __init__(self, asked: Asked, arch: Architecture) -> None:
        self.asked, self.arch = asked, arch
        self.networks: dict[str, Network] = {s.name: s.network for s in asked.chain + asked.behind}
        self.fixed: dict[str, dict[str, Layout]] = {}
        self.units = Units((1,), 1)
        self.lanes: tuple[tuple[int, int], ...] = ()
        if asked.layer:
            self._agree(asked.layer)
        self._join_linear()
        self._fix_inputs()

    def _agree(self, layer: Recurrent) -> None:
        """Bring a cell's networks, and the reader behind it, to common factors."""
        asked, d = self.asked, layer.directions[self.asked.direction]
        readers = []
        if asked.behind and not asked.copied_in:
            first = asked.behind[0]
            readers = [first.network.shape(first.operands[0])]
        inputs, hidden, units = agree(
            d.inputs, d.hidden, layer.cell.n_gates, layer.hidden_size, readers, asked.fuse
        )
        self.units, self.lanes = units, units.lanes(self.arch)
        self.networks |= {"input": inputs, "hidden": hidden}
        if units.flat_gates:
            for key, network in (("input", inputs), ("hidden", hidden)):
                self.fix(key, "", flat_layout(network, network.output))
        if units.flat_hidden:
            self.fix("hidden", "h", flat_layout(hidden, hidden.tensors["h"]))
        if readers:
            self._split_reader(asked.behind[0])
        if layer.cell is CellKind.GRU_BEFORE:
            self._split_gates(hidden)

    def fix(self, key: str, tensor: str, layout: Layout) -> None:
        """Demand a layout of a tensor, under "" of the result."""
        self.fixed.setdefault(key, {})[tensor] = layout

    def _split_reader(self, stage: Linear) -> None:
        network, operand = self.networks[stage.name], stage.operands[0]
        if self.units.flat_hidden:
            self.fix(stage.name, operand, flat_layout(network, network.tensors[operand]))
        else:
            h = self.networks["hidden"].tensors["h"]
            sizes = modes_of(self.networks["hidden"], h)
            self.networks[stage.name] = split_by(network, network.tensors[operand], h, sizes)

    def _split_gates(self, hidden: Network) -> None:
        """Cut the recurrent network of a GRU that resets before: gates r and z, and candidate.

        Where the gate is no factor, both are the whole network.
        """
        self.networks["candidate"] = hidden
        if GATE not in hidden.output:
            self.fixed["candidate"] = dict(self.fixed.get("hidden", {}))
            return
        rest = CANDIDATE_GATE
        self.networks["hidden"] = replace(hidden, sizes={**hidden.sizes, GATE: rest})
        tensors = {n: tuple(i for i in t if i != GATE) for n, t in hidden.tensors.items()}
        sizes = {i: n for i, n in hidden.sizes.items() if i != GATE}
        output = tuple(i for i in hidden.output if i != GATE)
        self.networks["candidate"] = Network(tensors, sizes, output)
        if self.units.flat_gates:
            whole = flat_layout(hidden, hidden.output)
            for key in ("hidden", "candidate"):
                network = self.networks[key]
                self.fix(key, "", restrict(whole, network.output, network.sizes))
        if self.units.flat_hidden:
            self.fix("candidate", "h", self.fixed["hidden"]["h"])

    def _join_linear(self) -> None:
        """Bring each linear stage and the network that reads it to common factors, else flat."""
        for stages, last in ((self.asked.chain, "input"), (self.asked.behind, "")):
            keys = [(s.name, s.operands[0]) for s in stages]
            if last and self.asked.layer:
                keys.append((last, "x"))
            for (giver, _), (taker, operand) in itertools.pairwise(keys):
                self._join(giver, taker, operand)

    def _join(self, giver: str, taker: str, operand: str) -> None:
        out, reader = self.networks[giver], self.networks[taker]
        read = reader.tensors[operand]
        written, modes = modes_of(out, out.output), modes_of(reader, read)
        if prod(written) != prod(modes):
            raise MappingError(
                f"{taker}: {operand}: found {prod(modes)} elements, expected the {prod(written)} "
                f"of {giver}"
            )
        factors = common_factors([written, modes])
        if factors is None:
            self.fix(giver, "", flat_layout(out, out.output))
            self.fix(taker, operand, flat_layout(reader, read))
            return
        names = names_of(f"@{giver}.", factors, out)
        self.networks[giver] = split_by(out, out.output, names, factors)
        self.networks[taker] = split_by(reader, read, names, factors)

    def _fix_inputs(self) -> None:
        """Lay the phase's input, or that of what is behind the loop, flat where asked."""
        asked = self.asked
        if asked.flat_in:
            key, operand = self.first_key, self.first_operand
            network = self.networks[key]
            self.fix(key, operand, flat_layout(network, network.tensors[operand]))
        if asked.flat_behind:
            stage = asked.behind[0]
            network, operand = self.networks[stage.name], stage.operands[0]
            self.fix(stage.name, operand, flat_layout(network, network.tensors[operand]))

    @property
    def produced(self) -> tuple[int, ...]:
        """Factors of the vector of each time step, slowest first."""
        asked = self.asked
        stages = asked.behind if asked.behind_in_loop else () if asked.layer else asked.chain
        if not stages:
            hidden = self.networks["hidden"]
            return self.units.sizes if self.units.flat_hidden else hidden.shape("h")
        network = self.networks[stages[-1].name]
        return tuple(modes_of(network, network.output))

    @property
    def first_key(self) -> str:
        """The network that reads the phase's input."""
        return self.asked.chain[0].name if self.asked.chain else "input"

    @property
    def first_operand(self) -> str:
        """The operand of that network that is the phase's input."""
        return self.asked.chain[0].operands[0] if self.asked.chain else "x"
