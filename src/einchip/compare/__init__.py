"""Baselines of the literature on the same array, ports and simulator.

baselines   what is compared, and what each row models
orders      fixed contraction orders
transposed  folds with fixed layouts and copies in between
analytic    what the instruction set cannot express, as formulas
build       a baseline as programs
measure     cycles, copies, words and energy of one execution
table       all rows of one workload
report      a comparison for the terminal
page        docs/compare.md from committed figures
"""

from einchip.compare.baselines import BASELINES, GAINS, Baseline, Gain
from einchip.compare.table import Comparison, Row, compare

__all__ = ["BASELINES", "GAINS", "Baseline", "Comparison", "Gain", "Row", "compare"]
