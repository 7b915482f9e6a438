"""Signals inside the machine that the harness can sample: found by name in the generated Verilog.

Amaranth keeps the names of components and signals, and puts `$` and a number behind one that is
there twice. So a component is looked for among the instances of the module that holds it, by its
name with or without such a number, and a signal by exactly its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MODULE = re.compile(r"^module (\\?\S+) ?\(.*?^endmodule", re.MULTILINE | re.DOTALL)
_INSTANCE = re.compile(r"^  (\\\S+|[A-Za-z_]\w*) +(\\\S+|[A-Za-z_]\w*) +\($", re.MULTILINE)
_SIGNAL = re.compile(
    r"^  (?:wire|reg) (?:\[(\d+):(\d+)\] )?(\\\S+|[A-Za-z_]\w*) ?(?:;| =)", re.MULTILINE
)


class ProbeError(ValueError):
    """The Verilog has no such component or signal; one line."""


@dataclass(frozen=True)
class Probe:
    """A signal: its module, the scope in which Verilator knows it, its name, its bits."""

    module: str
    scope: str
    name: str
    width_bits: int

    @property
    def identifier(self) -> str:
        """The name as Verilog writes it, which is how Verilator's scopes know it."""
        return self.name if self.name.isidentifier() else f"\\{self.name} "


class Netlist:
    """The modules of a Verilog text, by name."""

    def __init__(self, verilog: str, top: str, scope: str) -> None:
        self._bodies = {_plain(m[1]): m[0] for m in _MODULE.finditer(verilog)}
        if top not in self._bodies:
            raise ProbeError(f"no module {top} in the Verilog")
        self._top, self._scope = top, scope

    def probe(self, place: str) -> Probe:
        """Return the signal at a place such as `array/front/launch`.

        Raises ProbeError: which part is not there, or twice.
        """
        *components, name = place.split("/")
        module, scope = self._top, self._scope
        for component in components:
            found = self._instances(module, component)
            if len(found) != 1:
                raise ProbeError(
                    f"signal {place}: {len(found)} components {component} in {module}, expected 1"
                )
            [(module, instance)] = found
            scope = f"{scope}.{instance}"
        for signal in _SIGNAL.finditer(self._bodies[module]):
            if _plain(signal[3]) == name:
                width = int(signal[1]) - int(signal[2]) + 1 if signal[1] else 1
                return Probe(module, scope, name, width)
        raise ProbeError(f"signal {place}: no {name} in {module}")

    def _instances(self, module: str, component: str) -> list[tuple[str, str]]:
        """Return module and name of the instances of that name, or of it and a number."""
        found = [(_plain(m[1]), _plain(m[2])) for m in _INSTANCE.finditer(self._bodies[module])]
        name = re.compile(re.escape(component) + r"(\$\d+)?")
        return [(m, i) for m, i in found if m in self._bodies and name.fullmatch(i)]


def control_file(probes: Iterable[Probe]) -> str:
    """Return the Verilator control file that makes signals visible."""
    lines = [f'public_flat_rd -module "{p.module}" -var "{p.name}"\n' for p in probes]
    return "".join(["`verilator_config\n", *lines])


def read_samples(path: Path, probes: Sequence[Probe]) -> dict[Probe, NDArray[np.uint8]]:
    """Return the little-endian bytes of each signal in each recorded cycle: (cycles, bytes).

    Raises ProbeError where the file holds other signals.
    """
    content = np.fromfile(path, dtype=np.uint8)
    head = content[: 4 * (len(probes) + 1)].view("<u4").tolist()
    sizes = head[1:]
    if head[:1] != [len(probes)] or any(
        8 * n < p.width_bits for n, p in zip(sizes, probes, strict=True)
    ):
        raise ProbeError(f"{path}: found samples of other signals")
    rows = content[4 * len(head) :].reshape(-1, sum(sizes))
    ends = np.cumsum(sizes).tolist()
    return {p: rows[:, e - n : e] for p, n, e in zip(probes, sizes, ends, strict=True)}


def _plain(name: str) -> str:
    return name.removeprefix("\\")
