"""Power-of-two scales: for each tensor the fractional bits with the least squared error."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from einchip.numeric import dequantise, quantise

#: Values that decide a scale; more are thinned out evenly.
MAX_SAMPLES: Final = 1 << 16
#: Scales finer than the one that just holds the largest value that are tried, saturating outliers.
FINER: Final = 3


def thin(values: ArrayLike) -> np.ndarray:
    """Return at most `MAX_SAMPLES` of the values, evenly spaced, and always the largest.

    What is thin already stays as it is.
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    if flat.size <= MAX_SAMPLES + 1:
        return flat
    kept = flat[:: -(-flat.size // MAX_SAMPLES)]
    return np.append(kept, flat[np.argmax(np.abs(flat))])


def holding_frac(values: ArrayLike, bits: int) -> int:
    """Return the most fractional bits at which no value saturates (by more than rounding).

    Zeros, which any number of them holds, have as many as values just below 1.
    """
    largest = float(np.max(np.abs(np.asarray(values)), initial=0.0)) or 1 - 2.0**-bits
    return int(np.floor(np.log2(((1 << (bits - 1)) - 0.5) / largest)))


def best_frac(values: ArrayLike, bits: int, most: int | None = None) -> int:
    """Return the fractional bits (at most `most`) with the least mean squared error.

    The error is that of `numeric.quantise`, saturation included. Zeros have `most` of them, so that
    they limit nothing.
    """
    samples = thin(values)
    if most is not None and not np.any(samples):
        return most
    start = holding_frac(samples, bits)
    top = start + FINER if most is None else min(start + FINER, most)
    tried = range(min(start, top), top + 1)
    return min(tried, key=lambda frac: squared_error(samples, frac, bits))


def squared_error(values: ArrayLike, frac: int, bits: int) -> float:
    """Return the mean squared error of quantising `values`."""
    real = np.asarray(values, dtype=np.float64)
    return float(np.mean((dequantise(quantise(real, frac, bits), frac) - real) ** 2))


def snr_db(real: ArrayLike, found: ArrayLike) -> float:
    """Return the signal-to-noise ratio in dB: 10 log10 of sum real**2 / sum (found - real)**2.

    Equal values have infinity; zeros that are found otherwise have minus infinity.
    """
    expected = np.asarray(real, dtype=np.float64)
    noise = float(np.sum((np.asarray(found, dtype=np.float64) - expected) ** 2))
    signal = float(np.sum(expected**2))
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf
