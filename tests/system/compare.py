"""Runs cases on the three witnesses and says where they differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from einchip import reference
from einchip.arch import Architecture
from einchip.reference import Memory
from einchip.sim import Run, simulate
from einchip.verify.machine import RtlMachine, RtlResult, Start, Work, words_that_differ
from tests.system.programs import Case

#: Far more than any random program takes, with stalls.
MAX_CYCLES: Final = 1_000_000


@dataclass(frozen=True)
class Job:
    """Starts of cases, one after the other in the memory of the first; `work` has how."""

    cases: tuple[Case, ...]
    work: Work

    @property
    def timed(self) -> bool:
        """Whether the memory keeps the latency that timing.md speaks of."""
        return not self.work.stall

    def __repr__(self) -> str:
        w = self.work
        seeds = [case.recipe.seed for case in self.cases]
        fetches = [start.fetch for start in w.starts]
        return (
            f"{self.cases[0].arch.name}, seeds {seeds}, fetch {fetches}, latency {w.latency}, "
            f"stall {w.stall} x {w.stall_cycles}"
        )


def job(*cases: Case, latency: int = 8, resident: bool = False, **how: object) -> Job:
    """Return a job that starts each case; `resident`: starts the last once more, not fetched.

    Programs lie at different offsets, so that fetches meet page boundaries elsewhere.
    """
    starts = [
        Start(case.program, case.host, program_offset=16 * (case.recipe.seed % 256))
        for case in cases
    ]
    if resident:
        starts.append(replace(starts[-1], fetch=False))
        cases = (*cases, cases[-1])
    return Job(cases, Work(starts, cases[0].memory, latency=latency, **how))  # type: ignore[arg-type]


@lru_cache
def machine(arch: Architecture, cache: Path) -> RtlMachine:
    """Return the compiled RTL of a machine."""
    return RtlMachine.build(arch, cache)


def simulated(job: Job) -> tuple[list[Run], Memory]:
    """Return what the simulator says of a job."""
    memory = job.work.memory.copy()
    runs = [
        simulate(
            start.program,
            case.arch,
            memory=memory,
            host=start.host,
            latency=job.work.latency,
            fetch=start.fetch,
            program_address=start.program_offset,
            check_races=True,
        )
        for start, case in zip(job.work.starts, job.cases, strict=True)
    ]
    return runs, memory


def expected_memory(job: Job) -> Memory:
    """Return what the reference leaves of a job."""
    memory = job.work.memory.copy()
    for start, case in zip(job.work.starts, job.cases, strict=True):
        reference.run(start.program, case.arch, memory, start.host)
    return memory


def memory_differences(job: Job, found: Memory, who: str) -> Iterator[str]:
    """Yield a line for each memory in which `found` is not what the reference leaves."""
    for name, addresses in words_that_differ(expected_memory(job), found).items():
        if addresses:
            yield f"{job}: {who}: {name} differs at {len(addresses)} places, first {addresses[0]}"


def simulator_differences(job: Job) -> Iterator[str]:
    """Yield a line for each difference between simulator and reference."""
    runs, memory = simulated(job)
    yield from memory_differences(job, memory, "simulator")
    yield from (f"{job}: simulator: stops with {run.error}" for run in runs if run.error)


def rtl_differences(jobs: Sequence[Job], rtl: RtlMachine) -> list[str]:
    """Run jobs on the RTL; return a line for each difference from reference or simulator."""
    results = rtl.run_all([job.work for job in jobs], MAX_CYCLES)
    pairs = zip(jobs, results, strict=True)
    return [line for job, result in pairs for line in _differences(job, result)]


def _differences(job: Job, result: RtlResult) -> Iterator[str]:
    yield from memory_differences(job, result.memory, "RTL")
    if result.hazards:
        yield f"{job}: RTL: {result.hazards} hazards"
    yield from (f"{job}: RTL: stops with {run.error}" for run in result.runs if run.error)
    if not job.timed:
        return
    runs, _ = simulated(job)
    for n, (run, found) in enumerate(zip(runs, result.runs, strict=True)):
        for name, count in run.counters.items():
            if found.counters[name] != count:
                yield (
                    f"{job}: start {n}: {name}: {count} in simulator, {found.counters[name]} in RTL"
                )
