"""Random networks in volume, outside of pytest, with a result to commit.

`python -m tests.system.volume N FILE.json` runs N networks on each preset and writes what was run
and what differed; `make volume` does that for 700. With names of presets behind it, only these are
run, and the others' rows stay. `test_volume.py` checks the committed file.
"""

import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

from einchip.arch import PRESETS, Architecture
from einchip.files import write_text
from tests.conftest import BUILD
from tests.system.compare import machine
from tests.system.test_networks import Case, all_differences, case

#: Networks that share one simulator process.
CHUNK = 35


def run(arch: Architecture, n: int) -> dict[str, object]:
    """Run the first `n` networks that fit a machine; return counts and differences."""
    rtl = machine(arch, BUILD / "native")
    chunk: list[Case] = []
    found: list[str] = []
    n_run, n_refused, seed, macs = 0, 0, 0, 0
    while n_run < n:
        made = case(seed, arch)
        seed += 1
        if made is None:
            n_refused += 1
            continue
        n_run += 1
        macs += made.compiled.mapping.macs
        chunk.append(made)
        if len(chunk) == CHUNK or n_run == n:
            found += all_differences(chunk, rtl)
            chunk = []
            print(f"{arch.name}: {n_run} of {n} networks, {len(found)} differences", flush=True)
    return {
        "arch": arch.name,
        "config_hash": f"{arch.config_hash:08x}",
        "networks": n_run,
        "refused": n_refused,
        "first_seed": 0,
        "last_seed": seed - 1,
        "macs": macs,
        "differences": found,
    }


def main(n: int, target: Path, presets: Sequence[str]) -> int:
    """Run presets side by side; return 1 when something differed."""
    old = json.loads(target.read_text()) if target.exists() else []
    rows = {r["arch"]: r for r in old}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(run, (PRESETS[name] for name in presets), repeat(n)):
            rows[str(result["arch"])] = result
    results = [rows[name] for name in PRESETS if name in rows]
    write_text(target, json.dumps(results, indent=1) + "\n")
    return int(any(r["differences"] for r in results))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or list(PRESETS)))
