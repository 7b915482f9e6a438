"""A failing program is reduced to what makes it fail; the oracle is the failure that is made up."""

from einchip.program import Lstm, Store
from tests.system.machines import MACHINES
from tests.system.programs import Case, random_case
from tests.system.recipes import Block, Op
from tests.system.shrink import shrink


def has_both(case: Case) -> bool:
    kinds = {type(i) for i in case.program.instructions}
    return {Lstm, Store} <= kinds


def ops(blocks: tuple[Block, ...]) -> list[Op]:
    return [op for block in blocks for op in (*block.ops, *ops(block.inner))]


def test_a_program_shrinks_to_the_operations_that_matter() -> None:
    cases = (random_case(seed, MACHINES["nano"]) for seed in range(100))
    case = next(case for case in cases if has_both(case) and len(ops(case.recipe.blocks)) > 10)
    small = shrink(case, has_both)
    assert has_both(small)
    assert len(ops(small.recipe.blocks)) <= 2
