"""Devices against the reference; the oracles are machines that are wrong on purpose."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from einchip import energy
from einchip.compiler.folder import Folder
from einchip.host import Layout, Session
from einchip.host.compare import Report, compare, table
from einchip.host.emulated import SimulatorDevice
from einchip.sim import simulate
from tests.compiler import cases
from tests.compiler.helpers import machine
from tests.host.helpers import NANO, Changed, folder_of, zoo

PRICES = energy.load("horowitz45")


class Flips(Changed):
    """A device that answers one bit wrong, of the byte at an address."""

    at = -1

    def read_memory(self, address: int, n_bytes: int) -> bytes:
        data = bytearray(super().read_memory(address, n_bytes))
        if address <= self.at < address + n_bytes:
            data[self.at - address] ^= 4
        return bytes(data)


def compared(folder: Folder, flipped: int = -1, n_runs: int | None = None) -> Report:
    """Compare a simulator, of which a byte of the answer is read wrong."""
    device = Flips(SimulatorDevice(folder.arch, Layout.of(folder).size))
    device.at = folder.places.output + flipped if flipped >= 0 else -1
    return compare(Session(device, folder.arch), folder, n_runs)


def printed(reports: list[Report]) -> dict[str, list[str]]:
    """Return the rows of the table."""
    file = io.StringIO()
    Console(file=file, width=100).print(table(reports, PRICES, "simulator"))
    rows = [line.strip("│ ").split("│") for line in file.getvalue().splitlines() if "│" in line]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_simulator_differs_in_no_word() -> None:
    folder = zoo()
    report = compared(folder)
    assert (report.n_differing, [r.difference for r in report.runs]) == (0, [""] * 3)
    assert report.n_words == sum(folder.manifest.output.n_bytes(n) for n, _ in folder.sequences)
    assert (report.n_sequences, report.n_steps) == (3, 4 + 1 + 3)
    cycles = [
        simulate(folder.run, NANO, host=folder.host(n), fetch=False).cycles
        for n, _ in folder.sequences
    ]
    assert [r.result.cycles for r in report.runs] == cycles
    rows = printed([report])
    assert rows["words that differ"] == ["0"]
    assert rows["cycles per sequence"] == [f"{sum(cycles) / 3:,.0f}"]
    assert rows["cycles per time step"] == [f"{sum(cycles) / 8:,.1f}"]
    assert "accuracy" not in rows


def test_word_that_differs_is_found_and_named() -> None:
    report = compared(zoo(), flipped=1, n_runs=2)
    assert [r.differing for r in report.runs] == [[1], [1]]
    assert report.n_differing == 2
    first = report.runs[0]
    assert first.difference == (
        f"run 0: word 1 of the answer: device {first.expected[1] ^ 4}, reference "
        f"{first.expected[1]}"
    )
    assert printed([report])["words that differ"] == ["2"]


def test_figures_go_to_json_and_are_sums() -> None:
    report = compared(zoo(), n_runs=2)
    content = json.loads(json.dumps(report.to_json(PRICES)))
    assert content["n_sequences"] == len(content["runs"]) == 2
    assert content["counters"]["cycles"] == sum(r["cycles"] for r in content["runs"])
    program = report.folder.run
    spent = energy.energy(report.counters, NANO, PRICES, program).by_component
    assert content["energy_pj"] == spent
    assert "accuracy" not in content


def test_progress_is_told_of_each_run() -> None:
    told: list[int] = []
    device = SimulatorDevice(NANO, Layout.of(zoo()).size)
    compare(Session(device, NANO), zoo(), 2, lambda: told.append(1))
    assert len(told) == 2


def test_sequences_side_by_side_are_counted_one_by_one() -> None:
    """Five sequences in runs of two, of which one is filled up."""
    from einchip.compiler.compiled import compile_model

    name = "mpo lstm"
    model, given = cases.model(name), cases.sequences(name, (2, 3, 2, 2, 3))
    folder = folder_of(compile_model(model, machine("nano"), given, batch=2), given)
    report = compared(folder)
    assert (len(report.runs), report.n_sequences, report.n_differing) == (3, 5, 0)
    assert compared(folder, n_runs=1).n_sequences == 2


def test_columns_of_several_models_share_what_their_names_begin_with() -> None:
    reports = [compared(zoo(name), n_runs=1) for name in ("mpo lstm", "mpo gru")]
    rows = printed([reports[0], Report(reports[1].folder, 1, reports[1].runs, accuracy=0.5)])
    assert rows["accuracy"] == ["-", "50.00 %"]
    assert rows["cycles to load weights"] == [f"{reports[0].setup_cycles:,}", "1"]


@pytest.mark.parametrize("name", ["modes without common factors", "sequence"])
def test_words_behind_the_answer_are_compared_too(name: str) -> None:
    """They are what was there before: the same, since a session clears it."""
    folder = zoo(name)
    device = SimulatorDevice(NANO, Layout.of(folder).size)
    rng = np.random.default_rng(1)
    device.state.x[:], device.state.y[:] = rng.integers(-128, 128, (2, len(device.state.x)))
    report = compare(Session(device, NANO), folder)
    assert report.n_differing == 0
