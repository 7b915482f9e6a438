"""Waveforms of docs/timing.md, drawn from the literal machine of `tests/sim/stepped.py`.

`python -m tests.docs.waves` prints them as they stand in the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from einchip.arch import PRESETS
from einchip.program import Contract, Halt, Instruction, Load, Program, Unit
from einchip.reference import Host
from tests.sim.stepped import Stepped

PICO: Final = PRESETS["pico"]
LATENCY: Final = 8
EXTERNAL_BYTES: Final = 1 << 12
#: Four products of two by two, into Y.
CONTRACT: Final = Contract(
    nm0=2, nn0=2, xs_m0=1, ys_n0=1, zs_m0=2, zs_n0=1, z_space=1, z_base=64, n_reduce=1,
    loop_count=(4, 1, 1, 1, 1, 1), loop_x=(2, 0, 0, 0, 0, 0), loop_y=(2, 0, 0, 0, 0, 0),
)  # fmt: skip
#: A LOAD whose last beat gives the token that the CONTRACT takes.
TOKEN: Final = (Load(beats=6, signal=1), Contract(**vars(CONTRACT) | {"wait": 1}))


class Recorder(Stepped):
    """Notes in every cycle what the page's rows show."""

    def __init__(self, program: Sequence[Instruction]) -> None:
        super().__init__(Program((*program, Halt())), PICO, Host(), LATENCY, EXTERNAL_BYTES)
        self.seen: list[dict[str, Any]] = []

    def cycle(self, t: int) -> None:
        """Run one cycle, and note it."""
        before = self.counters.copy()
        state, fronts = self.state, self.fronts
        taken = {
            f"{u.name.lower()} {part}": getattr(fronts[u], part) is not None
            for u in (Unit.LOAD, Unit.ARRAY)
            for part in ("slot", "stage")
        }
        token, n_sent = self.tokens[0], self.load.beats
        super().cycle(t)
        happened = {name: n - before[name] for name, n in self.counters.items()}
        addresses = self.load.beats != n_sent and self.load.beats > 0
        self.seen.append({"sequencer": state, "token": token, "ar": addresses} | taken | happened)

    def record(self) -> list[dict[str, Any]]:
        """Return what was seen, cycle by cycle."""
        self.run(fetch=False, program_address=0)
        return self.seen


def bits(name: str, seen: Iterable[dict[str, Any]], key: str) -> dict[str, str]:
    """Return the row of something that happens or not in a cycle."""
    states = [bool(s.get(key)) for s in seen]
    wave = "".join(
        "." if k and on == states[k - 1] else str(int(on)) for k, on in enumerate(states)
    )
    return {"name": name, "wave": wave}


def values(name: str, seen: Iterable[dict[str, Any]], key: str) -> dict[str, Any]:
    """Return the row of something that has a value in every cycle."""
    runs = [(value, len(list(same))) for value, same in groupby(str(s[key]) for s in seen)]
    return {
        "name": name,
        "wave": "".join("=" + "." * (n - 1) for _, n in runs),
        "data": [value for value, _ in runs],
    }


def diagram(title: str, rows: list[dict[str, Any]]) -> str:
    """Return a diagram, a row a line."""
    n = len(rows[0]["wave"])
    clock = {"name": "cycle", "wave": "=" * n, "data": [str(k) for k in range(n)]}
    lines = ",\n".join(f"    {json.dumps(row)}" for row in [clock, *rows])
    head = json.dumps({"text": title})
    return f'{{\n  "head": {head},\n  "signal": [\n{lines}\n  ]\n}}\n'


def contract() -> str:
    """Return the cycles of a single CONTRACT."""
    seen = Recorder([CONTRACT]).record()
    rows = [
        values("sequencer", seen, "sequencer"),
        bits("slot", seen, "array slot"),
        bits("setup stage", seen, "array stage"),
        bits("issue", seen, "array_issue"),
        bits("reads of X and Y", seen, "x_reads"),
        bits("rows drained", seen, "drained"),
        bits("writes of Y", seen, "y_writes"),
    ]
    return diagram("CONTRACT of 2 x 2 results, 4 products each, alone on pico", rows)


def token() -> str:
    """Return how a token hands on from the load unit to the array."""
    seen = Recorder(TOKEN).record()[:30]
    rows = [
        bits("load: slot", seen, "load slot"),
        bits("load: setup stage", seen, "load stage"),
        bits("address accepted", seen, "ar"),
        bits("beat, written to X", seen, "load_transfer"),
        values("token 0", seen, "token"),
        bits("array: setup stage", seen, "array stage"),
        bits("array: waits", seen, "array_stall_token"),
        bits("array: issue", seen, "array_issue"),
    ]
    return diagram("a LOAD of 6 beats gives token 0, for which a CONTRACT waits (pico)", rows)


DIAGRAMS: Final = {"token": token, "contract": contract}


if __name__ == "__main__":
    for draw in DIAGRAMS.values():
        print(f"```wavedrom\n{draw()}```\n")
