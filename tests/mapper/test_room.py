"""What is known to be missing before anything is folded, against what placing says."""

import pytest

from einchip.arch import PRESETS
from einchip.mapper import MappingError
from einchip.mapper.merge import Merging
from einchip.mapper.network_build import Aim, Builder, Searches
from einchip.mapper.network_search import Attempt, attempts, first_fit
from einchip.network import Network
from tests.system.test_networks import random_network

NANO = PRESETS["nano"]
#: Attempts of a network that are placed.
N_ATTEMPTS = 24


def builder(network: Network, resident: tuple[str, ...] = ()) -> Builder:
    streamed = max(network.tensors, key=lambda n: network.size(network.tensors[n]))
    aim = Aim("cycles", None, 1.0, None)
    return Builder(
        network, NANO, resident, streamed, Searches(network, NANO, Merging.on(NANO, ()), aim)
    )


def some_attempts(build: Builder) -> list[Attempt]:
    """Return attempts of all kinds: every k-th of all that there are."""
    every = list(attempts(build.network, build.searches, build.streamed, build.resident))
    return every[:: max(1, len(every) // N_ATTEMPTS)]


def missing(build: Builder, attempt: Attempt) -> int:
    """Return what is missing when an attempt is placed, 0 where it fits."""
    found = []
    for space in (1, 0):
        try:
            build.placed(attempt, space)
        except MappingError as error:
            found.append(error.excess)
        else:
            return 0
    return min(found)


@pytest.mark.parametrize("resident", [(), ("T0", "T1")], ids=["streamed", "resident"])
@pytest.mark.parametrize("seed", range(2, 14))
def test_no_attempt_misses_by_less(seed: int, resident: tuple[str, ...]) -> None:
    build = builder(random_network(seed), resident)
    for attempt in some_attempts(build):
        assert build.excess(attempt) <= missing(build, attempt), attempt


def test_the_bound_is_near() -> None:
    """Nearly all that does not fit is known not to, and two thirds of what is missing."""
    known, least, actual = [], 0, 0
    for seed in range(2, 14):
        build = builder(random_network(seed))
        for attempt in some_attempts(build):
            if needed := missing(build, attempt):
                excess = build.excess(attempt)
                known.append(excess > 0)
                least, actual = least + excess, actual + needed
    assert len(known) > 40
    assert sum(known) > 0.9 * len(known)
    assert least > actual * 2 / 3


@pytest.mark.parametrize("seed", [2, 3, 4, 6])
def test_the_error_is_that_of_all_attempts(seed: int) -> None:
    """What is not built could not have missed by less."""
    build = builder(random_network(seed))
    found = []
    for excess in (build.excess, lambda attempt: 0):
        tries = attempts(build.network, build.searches, build.streamed, ())
        with pytest.raises(MappingError) as error:
            first_fit(tries, build.placed, excess)
        found.append(error.value.excess)
    assert found[0] == found[1]
