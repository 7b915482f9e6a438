"""How long the search of contraction trees takes.

    python -m tests.mapper.bench_search tests/mapper/bench_search.json

searches, with cold caches, networks of 3 to 30 tensors, and the published ones of 6 and more; it
writes CPU seconds and costs of each. The limits are 1 s for 6 tensors and 10 s for 12. The exit
status is 1 where one is broken.
"""

from __future__ import annotations

import gc
import json
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from einchip.arch import PRESETS
from einchip.mapper import lanes, layout, options
from einchip.mapper.large import best_trees
from einchip.mapper.merge import Merging
from einchip.mapper.network_search import TREES
from einchip.mapper.objectives import objective_of
from einchip.network import Network
from einchip.workloads import Workload, network_of, published
from tests.mapper.cases import mpo, mps
from tests.mapper.test_large import random_network

BASE: Final = PRESETS["base"]
#: CPU seconds that a search of so many tensors may take.
LIMITS: Final = {6: 1.0, 12: 10.0}


def star(n_tensors: int) -> Network:
    """Return tensors that all share one index: every set of them hangs together."""
    tensors = {f"T{k}": (f"i{k}", "r") for k in range(n_tensors)}
    sizes = {f"i{k}": 2 + k % 3 for k in range(n_tensors)} | {"r": 5}
    return Network(tensors, sizes, ("i0", "i1", "i2"))


def cases() -> Iterator[tuple[str, Network]]:
    """Yield networks with their names."""
    for n in (3, 6, 9, 12, 15, 20, 30):
        yield f"random {n}", random_network(n, n)
    for n in (6, 12):
        yield f"star {n}", star(n)
    yield "mpo 6", mpo("x", (4, 5, 8, 8, 4), (8, 8, 4, 4, 4), 6)
    yield "mps 12", mps("x", (4, 4, 4, 4, 4), (4, 4, 4, 4, 4, 4), 6)
    for entry in published():
        for matrix in entry.matrices:
            if isinstance(matrix, Workload) and len(network_of(matrix.spec).tensors) >= 6:
                yield matrix.name, network_of(matrix.spec)


def measured(network: Network) -> dict[str, Any]:
    """Return what a search costs and finds, everything but `x` a weight."""
    for cached in (options.laned, options.ways, lanes._least, lanes._choices, layout._solve):
        cached.cache_clear()
    gc.collect()
    weights = [n for n in network.tensors if n != "x"] if "x" in network.tensors else []
    start = time.process_time()
    objective = objective_of("cycles", network, BASE)
    found = best_trees(network, objective, TREES, Merging.on(BASE, weights))
    seconds = time.process_time() - start
    return {
        "tensors": len(network.tensors),
        "cpu_seconds": round(seconds, 2),
        "cycles": found.trees[0].cost,
        "exact": found.exact,
        "method": found.method,
    }


def main(path: Path) -> int:
    """Measure all cases, write them, and return the exit status."""
    rows = []
    for name, network in cases():
        rows.append({"name": name, **measured(network)})
        print(json.dumps(rows[-1]), flush=True)
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    path.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    late = [
        row["name"]
        for row in rows
        for n, most in LIMITS.items()
        if row["tensors"] <= n and row["cpu_seconds"] > most
    ]
    print(f"over the limit: {', '.join(late) or 'none'}")
    return int(bool(late))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
