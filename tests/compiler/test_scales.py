"""Scales against a search over all of them."""

import numpy as np
import pytest

from einchip.compiler.scales import MAX_SAMPLES, best_frac, holding_frac, squared_error, thin


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("scale", [1e-3, 0.7, 1.0, 3.9, 4.0, 250.0])
def test_best_scale_is_that_of_a_search_over_all(bits: int, scale: float) -> None:
    values = np.random.default_rng(1).uniform(-scale, scale, 2000)
    errors = {frac: squared_error(values, frac, bits) for frac in range(-12, 40)}
    assert errors[best_frac(values, bits)] == min(errors.values())


def test_largest_value_fits_at_the_holding_scale_and_not_at_the_next() -> None:
    assert holding_frac([0.99], 8) == 7
    assert holding_frac([1.0], 8) == 6
    assert holding_frac([-3.0, 0.1], 8) == 5


def test_outlier_is_saturated_when_that_helps_the_others() -> None:
    values = np.append(np.random.default_rng(2).uniform(-1, 1, 100_000), 1.05)
    assert best_frac(values, 8) == 7


def test_limit_is_kept() -> None:
    assert best_frac([0.001], 8, most=3) == 3


def test_zeros_have_the_scale_of_values_below_one_or_the_limit() -> None:
    assert best_frac([0.0, 0.0], 8) == best_frac([0.99], 8)
    assert best_frac([], 8, most=20) == 20


def test_thinning_keeps_the_largest() -> None:
    values = np.zeros(3 * MAX_SAMPLES)
    values[12345] = -9.0
    assert np.min(thin(values)) == -9.0
    assert thin(values).size <= MAX_SAMPLES + 1
