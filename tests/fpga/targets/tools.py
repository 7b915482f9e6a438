"""Tools that only write what Yosys, nextpnr and the packer would, and a small system for boards."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture
from einchip.fpga import synth
from einchip.fpga.host_link.uart import line
from einchip.fpga.targets import boards, flow

Cells = Mapping[str, int]


def netlist_of(cells: Cells) -> dict[str, Any]:
    """Return a netlist as Yosys writes it, of so many cells of each type, without connections."""
    named = {
        f"{kind}_{k}": {"type": kind, "connections": {}, "port_directions": {}}
        for kind, n in cells.items()
        for k in range(n)
    }
    top = {"attributes": {"top": 1}, "ports": {}, "cells": named}
    return {"modules": {"black_box": {"attributes": {}, "cells": {}}, "top": top}}


def fake_tools(
    monkeypatch: pytest.MonkeyPatch, mhz: float, cells: Cells | None = None
) -> list[str]:
    """Let tools write canned files; return the names of those that ran.

    `cells` are those of the netlist, by type.
    """
    ran = list[str]()
    clock = {"from": "posedge clk", "to": "posedge clk", "path": [
        {"delay": 1.0, "from": {"cell": "system.machine.a_TRELLIS_FF_Q"},
         "to": {"cell": "system.machine.b_LUT4_Z"}},
    ]}  # fmt: skip
    kinds = ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D", "DP16KD")
    canned = {
        flow.MAPPED: netlist_of(cells or {}),
        flow.NEXTPNR_REPORT: {
            "fmax": {"clk": {"achieved": mhz}, "slow": {"achieved": mhz + 50}},
            "critical_paths": [clock],
            "utilization": {k: {"used": 10, "available": 100} for k in kinds},
        },
    }

    def run(command: Sequence[str], folder: Path, result: str, log: str, *_: object) -> None:
        ran.append(Path(command[0]).name)
        (folder / result).write_text(json.dumps(canned.get(result, "bits")))

    def plan(target: boards.Target, arch: Architecture) -> dict[str, str]:
        return {flow.DESIGN: "design", target.family.constraints: "constraints"}

    monkeypatch.setattr(synth, "run", run)
    monkeypatch.setattr(synth, "find", lambda names=("yosys",): names[0])
    monkeypatch.setattr(flow, "plan", plan)
    monkeypatch.setattr(flow, "verilog", lambda target, arch: "module system;")
    return ran


class Loopback(wiring.Component):
    """In place of `System`: a board whose line comes back."""

    rx: Signal
    tx: Signal
    irq: Signal

    def __init__(
        self, arch: Architecture, memory_bytes: int, cycles: int, memory_ports: int = 2
    ) -> None:
        super().__init__({"rx": line(In), "tx": line(Out), "irq": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += [self.tx.eq(self.rx), self.irq.eq(~self.irq)]
        return m


class SpiLoopback(wiring.Component):
    """In place of `SpiSystem`: a board whose SPI comes back."""

    sck: Signal
    copi: Signal
    cs: Signal
    cipo: Signal
    driven: Signal
    irq: Signal

    def __init__(self, arch: Architecture, memory_bytes: int, memory_ports: int = 2) -> None:
        pins = {name: In(1) for name in ("sck", "copi", "cs")}
        super().__init__(pins | {name: Out(1) for name in ("cipo", "driven", "irq")})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += [self.cipo.eq(self.copi), self.driven.eq(self.cs), self.irq.eq(self.sck)]
        return m
