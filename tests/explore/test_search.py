"""Which points are evaluated: a grid's, random ones without repeats, Optuna's; and resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from einchip.explore.cache import Cache
from einchip.explore.explorer import Explorer
from einchip.explore.objectives import chosen
from einchip.explore.pareto import front
from einchip.explore.point import Point
from einchip.explore.search import search_of
from tests.explore.helpers import Counted, context, domain, made_up

#: 3 x 3 x 2 combinations of rows, columns and lanes; of 2 lanes only 2 x 2 is a machine.
ARRAYS = {"rows": [2, 4, 8], "cols": [2, 4, 8], "lanes": [2, 8]}
#: The same at 8 depths: 80 machines.
DEEP = {**ARRAYS, "x_depth": {"powers_of_two": [16, 2048]}}


def explorer(
    folder: Path, engine: Counted, budget: int = 1000, parameters: Any = ARRAYS, **search: Any
) -> Explorer:
    found = domain(
        base="nano", parameters=parameters, search=search, derived={"port_bytes": "min(4, lanes)"}
    )
    goals = chosen("cycles,energy,area", False, 0)
    return Explorer(context(), goals, search_of(found, 3), engine, Cache(folder), budget)


def shapes(points: list[Point]) -> list[tuple[int, int, int]]:
    return [(p.arch.rows, p.arch.cols, p.arch.lanes) for p in points]


def test_grid_has_every_machine_once_in_order(tmp_path: Path) -> None:
    """The oracle is the table by hand: 9 of 8 lanes and one of 2, in the order of the file."""
    engine = Counted(made_up)
    run = explorer(tmp_path, engine)
    run.run()
    expected = [(r, c, 8) for r in (2, 4, 8) for c in (2, 4, 8)]
    assert shapes(run.points) == [(2, 2, 2), *expected]
    assert sorted(shapes(engine.given)) == sorted(shapes(run.points))
    assert sum(run.search.skipped.values()) == 18 - 10
    assert [o.status for _, o in run.done].count("infeasible") == 1


def test_values_that_give_the_same_machine_are_one_point(tmp_path: Path) -> None:
    """The oracle is the number of machines: `accumulators` of 0 are 2 of a hybrid fold."""
    run = explorer(tmp_path, Counted(made_up), parameters={"accumulators": [0, 2]})
    run.run()
    assert len(run.points) == 1


def test_budget_ends_a_grid(tmp_path: Path) -> None:
    """The oracle is the budget."""
    run = explorer(tmp_path, Counted(made_up), budget=4)
    run.run()
    assert len(run.done) == 4


def test_random_repeats_nothing_and_follows_its_seed(tmp_path: Path) -> None:
    """The oracle is the grid: the same points, in another order, which only the seed changes."""
    orders = []
    for k, seed in enumerate((5, 5, 6)):
        run = explorer(tmp_path / f"{k}", Counted(made_up), method="random", seed=seed)
        run.run()
        orders.append(shapes(run.points))
    assert orders[0] == orders[1] != orders[2]
    assert len(set(orders[0])) == len(orders[0]) == 10


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
def test_optuna_is_reproducible_whatever_comes_first_or_from_disk(
    tmp_path: Path, method: str
) -> None:
    """The oracle is the first run: the same points by a run that was stopped and gone on with."""
    pytest.importorskip("optuna")
    settings = {"method": method, "seed": 3, "batch": 4, "parameters": DEEP}
    first = explorer(tmp_path / "a", Counted(made_up), 15, **settings)
    first.run()
    assert len(set(first.points)) == len(first.points) == 15
    stopped = explorer(tmp_path / "b", Counted(made_up, stop_after=9), 15, **settings)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert len(stopped.done) == 9
    engine = Counted(made_up)
    again = explorer(tmp_path / "b", engine, 15, **settings)
    again.run()
    assert again.done == first.done
    assert (again.n_cached, again.n_evaluated) == (9, 6)
    assert not set(engine.given) & {p for p, _ in stopped.done}
    other = explorer(tmp_path / "c", Counted(made_up), 15, **settings | {"seed": 4})
    other.run()
    assert other.points != first.points


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
def test_optuna_proposes_every_point_if_the_budget_allows(tmp_path: Path, method: str) -> None:
    """The oracle is the grid: all of its points, none twice, none that is no machine."""
    pytest.importorskip("optuna")
    run = explorer(tmp_path, Counted(made_up), 1000, method=method, batch=4)
    run.run()
    assert len(run.points) == len(set(run.points)) == 10


def test_nsga2_finds_the_front_better_than_chance(tmp_path: Path) -> None:
    """The oracle is the grid's front; as many random points find less of it."""
    pytest.importorskip("optuna")
    rows = {"rows": [2, 4, 8, 16, 32], "cols": [2, 4, 8, 16, 32], "lanes": [32, 64]}
    parameters = {**rows, "x_depth": {"powers_of_two": [16, 8192]}}
    whole = explorer(tmp_path / "all", Counted(made_up), parameters=parameters)
    whole.run()
    values = {p: whole.values(o) or () for p, o in whole.done}
    best = {
        v for v, good in zip(values.values(), front(list(values.values())), strict=True) if good
    }
    shares = {}
    for method in ("nsga2", "random"):
        found = 0
        for seed in range(3):
            run = explorer(
                tmp_path / method / f"{seed}", Counted(made_up), 60,
                method=method, seed=seed, batch=10, parameters=parameters,
            )  # fmt: skip
            run.run()
            found += len(best & {values[p] for p in run.points})
        shares[method] = found
    assert shares["nsga2"] > shares["random"]


def test_second_run_evaluates_nothing(tmp_path: Path) -> None:
    """The oracle is an engine that is given no point."""
    first = explorer(tmp_path, Counted(made_up))
    first.run()
    engine = Counted(made_up)
    second = explorer(tmp_path, engine)
    second.run()
    assert engine.given == []
    assert second.done == first.done
    assert (second.n_cached, second.n_evaluated) == (10, 0)
