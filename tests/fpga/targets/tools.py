"""Tools that only write what Yosys, nextpnr and the packer would."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from einchip.fpga import synth
from einchip.fpga.targets import flow


def fake_tools(monkeypatch: pytest.MonkeyPatch, mhz: float) -> list[str]:
    """Let tools write canned files; return the names of those that ran."""
    ran = list[str]()
    clock = {"from": "posedge clk", "to": "posedge clk", "path": [
        {"delay": 1.0, "from": {"cell": "system.machine.a_TRELLIS_FF_Q"},
         "to": {"cell": "system.machine.b_LUT4_Z"}},
    ]}  # fmt: skip
    kinds = ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D", "DP16KD")
    canned = {
        "top.json": {"modules": {"top": {"attributes": {"top": 1}, "ports": {}, "cells": {}}}},
        "nextpnr.json": {
            "fmax": {"clk": {"achieved": mhz}, "slow": {"achieved": mhz + 50}},
            "critical_paths": [clock],
            "utilization": {k: {"used": 10, "available": 100} for k in kinds},
        },
    }

    def run(command: Sequence[str], folder: Path, result: str, log: str) -> None:
        ran.append(Path(command[0]).name)
        (folder / result).write_text(json.dumps(canned.get(result, "bits")))

    monkeypatch.setattr(synth, "run", run)
    monkeypatch.setattr(synth, "find", lambda names=("yosys",): names[0])
    files = {"top.il": "design", "top.lpf": "constraints"}
    monkeypatch.setattr(flow, "plan", lambda target, arch: files)
    monkeypatch.setattr(flow, "rtl_hash", lambda target, arch: "0123")
    return ran
