"""Published workloads on the RTL of `base`, against reference and simulator.

    python -m tests.workloads.rtl [TEXT ..]

runs all workloads, or those whose names contain one of the texts, each with random weights and a
random input, and prints what differs. The exit status is 1 if anything does.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from einchip import reference
from einchip.arch import PRESETS, Architecture
from einchip.compiler.contraction import Contracted, contract
from einchip.sim import simulate
from einchip.verify.machine import DEFAULT_CACHE, RtlMachine, Start, words_that_differ
from einchip.workloads import Workload, network_of, published

BASE: Final = PRESETS["base"]


def workloads(texts: list[str]) -> list[Workload]:
    """Return the published matrices whose names contain one of the texts (all, without texts)."""
    found = [m for e in published() for m in e.matrices if isinstance(m, Workload)]
    return [m for m in found if not texts or any(t in m.name for t in texts)]


def random_case(workload: Workload, arch: Architecture) -> Contracted:
    """Return a workload with standard normal weights and input; the weights are resident."""
    network = network_of(workload.spec)
    rng = np.random.default_rng(len(network.tensors))
    arrays = {n: rng.standard_normal(network.shape(n)) for n in network.tensors}
    return contract(network, arrays, arch, [n for n in network.tensors if n != "x"])


def differences(made: Contracted, rtl: RtlMachine) -> Iterator[str]:
    """Yield a line for each difference of reference, simulator and RTL, counters included."""
    arch, memory, wanted = made.mapping.arch, made.memory(), made.memory()
    programs = (made.programs.setup, made.programs.run)
    result = rtl.run([Start(p) for p in programs], made.memory())
    for program, found in zip(programs, result.runs, strict=True):
        run = simulate(program, arch, memory=memory)
        reference.run(program, arch, wanted)
        if run.error or found.error:
            yield f"stops with {run.error} in the simulator, {found.error} in the RTL"
        for name, value in run.counters.items():
            if found.counters[name] != value:
                yield f"{name}: {value} in the simulator, {found.counters[name]} in the RTL"
    for who, left in (("simulator", memory), ("RTL", result.memory)):
        for space, places in words_that_differ(wanted, left).items():
            if places:
                yield f"{len(places)} words of {space} differ in the {who}, first {places[0]}"
    if not made.result(wanted).any():
        yield "the result is all zeros: nothing was compared"


def main(texts: list[str], cache: Path) -> int:
    """Check workloads one after the other; return how many differ."""
    rtl, n_bad = RtlMachine.build(BASE, cache), 0
    for workload in workloads(texts):
        found = list(differences(random_case(workload, BASE), rtl))
        n_bad += bool(found)
        print(f"{workload.name}: {'; '.join(found) or 'equal'}", flush=True)
    return n_bad


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:], DEFAULT_CACHE) else 0)
