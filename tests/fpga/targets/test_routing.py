"""fpga.targets.routing: when nextpnr is told to stop, by logs like its own."""

from collections.abc import Sequence

from einchip.fpga.targets.routing import PATIENCE, SEEDS, stuck, with_seed


def log(taken: Sequence[int]) -> str:
    lines = ["Info: Running router2...", "Info: Running main router loop..."]
    lines += [
        f"Info:     iter={k} wires={1000 + k} overused={n} overuse={n + 1} archfail=NA"
        for k, n in enumerate(taken, 1)
    ]
    return "\n".join(lines)


def test_a_router_that_gets_on_is_left_alone() -> None:
    assert stuck("") == ""
    assert stuck(log(range(500, 0, -1))) == ""
    assert stuck("Info: Running router1...\n" + "Info:   1000 | 900\n" * 500) == ""


def test_it_may_get_worse_for_a_while() -> None:
    falling = list(range(90, 10, -1))
    assert stuck(log([*falling, *range(11, 10 + PATIENCE), 9])) == ""
    assert stuck(log([*falling, *[11] * (PATIENCE - 1)])) == ""


def test_a_router_that_gets_nowhere_is_stopped() -> None:
    taken = [*range(90, 10, -1), *range(11, 11 + PATIENCE)]
    found = stuck(log(taken))
    assert f"found {taken[-1]} wires taken twice after {len(taken)} iterations" in found
    assert "11 at best" in found


def test_the_first_seed_is_that_of_nextpnr() -> None:
    assert with_seed(("--a", "b"), SEEDS[0]) == ("--a", "b")
    assert with_seed(("--a", "b"), SEEDS[1]) == ("--a", "b", "--seed", str(SEEDS[1]))
