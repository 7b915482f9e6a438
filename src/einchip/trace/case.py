"""What is traced of a compiled folder: one run on a machine that has been set up."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from einchip.arch import Architecture
from einchip.compiler.folder import Folder
from einchip.program import Program
from einchip.reference import Host, Memory
from einchip.sim import simulate
from einchip.trace.model import Trace, TraceError
from einchip.trace.rtl import from_rtl
from einchip.trace.simulator import from_simulator
from einchip.verify.machine import RtlMachine, RtlRun, Start, Work


@dataclass(frozen=True)
class Case:
    """A run: its name, the programs that set the machine up and run, what they find in memory."""

    name: str
    arch: Architecture
    setup: Program
    run: Program
    host: Host
    memory: Memory
    latency: int

    def cycles(self) -> int:
        """Return how long the run takes, quickly.

        Raises TraceError where the machine stops with an error.
        """
        run = simulate(
            self.run, self.arch, host=self.host, external_bytes=len(self.memory.external),
            latency=self.latency, timeline=False,
        )  # fmt: skip
        if run.error is not None:
            raise TraceError(f"the machine stopped with {run.error[0].name}")
        return run.cycles

    def simulated(self) -> Trace:
        """Return the simulator's trace."""
        return from_simulator(
            self.run, self.arch, self.host, external_bytes=len(self.memory.external),
            latency=self.latency,
        )  # fmt: skip

    @property
    def work(self) -> Work:
        """The job for the RTL."""
        starts = [Start(self.setup, self.host), Start(self.run, self.host)]
        return Work(starts, self.memory.copy(), latency=self.latency)

    def on_rtl(self, machine: RtlMachine) -> Trace:
        """Return the RTL's trace. Raises RtlError, TraceError."""
        return from_rtl(machine, self.work)[0]

    def waves(self, machine: RtlMachine, path: Path) -> RtlRun:
        """Let the RTL record waves, a whole file or none; return what its registers said.

        Raises RtlError.
        """
        with tempfile.TemporaryDirectory(dir=path.parent) as directory:
            file = Path(directory) / path.name
            run = machine.record(self.work, waves=file).runs[-1]
            file.replace(path)
        return run


def of_sequence(folder: Folder, number: int, latency: int) -> Case:
    """Return the run of a sequence of the folder."""
    n_steps, _ = folder.sequences[number]
    return Case(
        f"{folder.manifest.model}, sequence {number}, {n_steps} steps", folder.arch, folder.setup,
        folder.run, folder.host(n_steps), folder.memory(number), latency,
    )  # fmt: skip


def of_length(folder: Folder, n_steps: int, latency: int) -> Case:
    """Return the run of a sequence of zeros, of any length."""
    places = folder.places_for(n_steps)
    memory = Memory.empty(folder.arch, places.size)
    memory.external[: len(folder.weights)] = folder.weights
    return Case(
        f"{folder.manifest.model}, zeros, {n_steps} steps", folder.arch, folder.setup, folder.run,
        places.host(n_steps), memory, latency,
    )  # fmt: skip
