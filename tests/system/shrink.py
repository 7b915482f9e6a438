"""Makes a failing program small: `python -m tests.system.shrink MACHINE SEED [LATENCY]`.

Prints the program of the seed, reduced to what still makes simulator and RTL (or either and the
reference) differ, and the differences.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from einchip.verify.machine import RtlError, RtlMachine
from tests.system.compare import job, machine, rtl_differences, simulator_differences
from tests.system.machines import MACHINES
from tests.system.programs import Case, build, random_case
from tests.system.recipes import Block, Recipe

CACHE = Path("build") / "tests" / "native"


def shrink(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Return a case that still fails, and of which nothing more can be left out."""
    smaller = (build(recipe, case.arch) for recipe in _smaller(case.recipe))
    for candidate in smaller:
        if candidate is not None and fails(candidate):
            return shrink(candidate, fails)
    return case


def _smaller(recipe: Recipe) -> Iterator[Recipe]:
    """Yield recipes with one thing less, the greatest first."""
    for blocks in _without_one(recipe.blocks):
        yield replace(recipe, blocks=blocks)


def _without_one(blocks: tuple[Block, ...]) -> Iterator[tuple[Block, ...]]:
    for k in range(len(blocks)):
        yield blocks[:k] + blocks[k + 1 :]
    for k, block in enumerate(blocks):
        for less in _less(block):
            yield (*blocks[:k], less, *blocks[k + 1 :])


def _less(block: Block) -> Iterator[Block]:
    """Yield blocks with fewer inner blocks, operations or iterations."""
    for inner in _without_one(block.inner):
        yield replace(block, inner=inner)
    for k in range(len(block.ops)):
        yield replace(block, ops=block.ops[:k] + block.ops[k + 1 :])
    if block.count:
        yield replace(block, count=block.count - 1)


def differences(case: Case, latency: int, rtl: RtlMachine) -> list[str]:
    """Return where the witnesses differ on one start of a case."""
    one = job(case, latency=latency)
    try:
        return [*simulator_differences(one), *rtl_differences([one], rtl)]
    except RtlError as error:
        return [str(error)]


def main() -> None:
    arch, seed = MACHINES[sys.argv[1]], int(sys.argv[2])
    latency = int(sys.argv[3]) if len(sys.argv) > 3 else 8
    rtl = machine(arch, CACHE)
    case = shrink(random_case(seed, arch), lambda case: bool(differences(case, latency, rtl)))
    for pc, instruction in case.program.addresses():
        print(f"{pc:4} {instruction}")
    print(case.host, case.recipe, *differences(case, latency, rtl), sep="\n")


if __name__ == "__main__":
    main()
