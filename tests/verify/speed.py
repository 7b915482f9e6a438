"""How fast the witnesses are: the figures of docs/verification.md.

    python -m tests.verify.speed tests/verify/speed.json

Seconds are of the CPU, the least of several tries, so that other work on the machine matters
little. Cycles are the same on every machine; the ratios of two times nearly so.
"""

from __future__ import annotations

import json
import platform
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from einchip import reference
from einchip.arch import PRESETS, Architecture
from einchip.compiler.compiled import Compiled, Places, compile_model, map_model
from einchip.models import load_model
from einchip.reference import Memory
from einchip.sim import simulate
from einchip.verify.machine import RtlMachine, Start, Work
from tests.compiler.helpers import compiled_vowels, labelled

UCF11: Final = Path(__file__).parents[2] / "examples" / "ucf11_tt_lstm.yaml"
CACHE: Final = Path("build") / "rtl"
#: Starts of the program in one job of the RTL.
STARTS: Final = {"nano": 20, "small": 40, "base": 40}
UCF11_STEPS: Final = 1500
VALUE_STEPS: Final = 20
TRIES: Final = 5
T = TypeVar("T")


def measure() -> dict[str, Any]:
    """Return all figures."""
    return {
        "processor": _processor(),
        "rtl": {name: rtl(name) for name in STARTS},
        "values": {
            "ucf11, base": values(*_ucf11_of(VALUE_STEPS)),
            **{f"japanese-vowels-mpo, {name}": values(*_vowels(name)) for name in STARTS},
        },
        "cycles": cycles_only(),
    }


def rtl(name: str) -> dict[str, Any]:
    """Return cycles and speed of the RTL of a preset: a compressed LSTM, again and again."""
    jobs, compiled, memory = starts(name)
    machine = RtlMachine.build(compiled.arch, CACHE)

    def run() -> list[int]:
        [result] = machine.run_all([Work(jobs, memory)])
        return [r.cycles for r in result.runs]

    cycles, seconds = _least(run, resource.RUSAGE_CHILDREN)
    again, seconds_simulated = _least(lambda: simulated(jobs, compiled.arch))
    if cycles != again:
        raise AssertionError(f"{name}: {cycles} cycles in the RTL, {again} in the simulator")
    return {
        "cycles": sum(cycles),
        "cycles_per_second": round(sum(cycles) / seconds),
        "simulator_cycles_per_second": round(sum(cycles) / seconds_simulated),
    }


def starts(name: str) -> tuple[list[Start], Compiled, Memory]:
    """Return what the job of a preset starts, the model, and the memory."""
    compiled, memory, n_steps = _vowels(name)
    programs, host = compiled.programs, compiled.places(n_steps).host(n_steps)
    runs = [Start(programs.run, host, fetch=k == 0) for k in range(STARTS[name])]
    return [Start(programs.setup, host), *runs], compiled, memory


def simulated(starts: list[Start], arch: Architecture) -> list[int]:
    """Return the cycles of each start, every iteration gone through."""
    runs = [simulate(s.program, arch, host=s.host, fetch=s.fetch) for s in starts]
    return [r.cycles for r in runs]


def values(compiled: Compiled, memory: Memory, n_steps: int) -> dict[str, Any]:
    """Return the time of a simulation with values over that of the reference alone."""
    program, arch = compiled.programs.run, compiled.arch
    host = compiled.places(n_steps).host(n_steps)
    _, alone = _least(lambda: reference.run(program, arch, memory.copy(), host))
    run, both = _least(lambda: simulate(program, arch, memory=memory.copy(), host=host))
    return {"steps": n_steps, "cycles": run.cycles, "ratio": round(both / alone, 2)}


def cycles_only() -> dict[str, Any]:
    """Return the time of a long sequence without values, and what skipping makes of it."""
    mapping = map_model(load_model(UCF11).spec, PRESETS["base"])
    program, places = mapping.emit(None).run, Places.of_mapping(mapping, UCF11_STEPS)

    def run(timeline: bool) -> int:
        host = places.host(UCF11_STEPS)
        return simulate(program, PRESETS["base"], host=host, timeline=timeline).cycles

    cycles, seconds = _least(lambda: run(False))
    _, whole = _least(lambda: run(True), tries=1)
    return {
        "model": "ucf11, base", "steps": UCF11_STEPS, "cycles": cycles,
        "seconds": round(seconds, 2), "times_faster": round(whole / seconds, 1),
    }  # fmt: skip


def _vowels(name: str) -> tuple[Compiled, Memory, int]:
    compiled = compiled_vowels("mpo", name, 8)
    return _loaded(compiled, labelled("test").sequences[0])


def _ucf11_of(n_steps: int) -> tuple[Compiled, Memory, int]:
    import numpy as np

    model = load_model(UCF11)
    sequence = np.random.default_rng(0).standard_normal((n_steps, model.spec.input_size))
    return _loaded(compile_model(model, PRESETS["base"], [sequence]), sequence)


def _loaded(compiled: Compiled, sequence: Any) -> tuple[Compiled, Memory, int]:
    """Return a model, memory with its weights resident and a sequence, and the steps of that."""
    packed = compiled.pack(sequence)
    memory, places = compiled.memory(packed.n_steps), compiled.places(packed.n_steps)
    reference.run(compiled.programs.setup, compiled.arch, memory, places.host(packed.n_steps))
    compiled.put(memory, packed, places)
    return compiled, memory, packed.n_steps


def _least(
    work: Callable[[], T], who: int = resource.RUSAGE_SELF, tries: int = TRIES
) -> tuple[T, float]:
    """Return what work gives, and the least seconds of the CPU that it took."""
    found = []
    for _ in range(tries):
        before = resource.getrusage(who)
        given = work()
        after = resource.getrusage(who)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return given, min(found)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(measure(), indent=1) + "\n")
