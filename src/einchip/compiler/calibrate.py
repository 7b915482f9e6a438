"""The power-of-two scales that a mapped model's values call for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from einchip.arch import Architecture
from einchip.compiler.evaluate import Float
from einchip.compiler.problem import input_names
from einchip.compiler.scales import best_frac, snr_db
from einchip.mapper import MappingError
from einchip.mapper.calibration import Evaluation
from einchip.mapper.model import ModelMapping
from einchip.mapper.plan import Step
from einchip.mapper.tree import ONE
from einchip.numeric import ACT_IN_FRAC, ACT_OUT_FRAC, WIDE_BITS, dequantise, quantise
from einchip.program import Act, Contract, Program

#: Greatest shift of a product or of an addend.
MAX_SHIFT: Final = 63
#: Activations that the drain path computes from a table, in a format of its own.
TABLES: Final = (Act.SIGMOID, Act.TANH)
#: What the values of a state are called after a step, where its own name has those before it.
AFTER: Final = "_after"
#: Signal-to-noise ratio that an operand keeps which has more fractional bits than are best.
LEAST_DB: Final = 15.0


def choose_fracs(
    mapping: ModelMapping,
    values: Mapping[str, Float],
    arch: Architecture,
    given: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Return the fractional bits of every name: the least error that the machine allows.

    * A result has no more of them than its product, nor has what is added to that product.
    * A product has at most `MAX_SHIFT` more than its result, and no more than the accumulator can
      add up with the addend: beyond that, an operand has fewer than would be best for it alone.
    * A product that goes through a sigmoid or tanh has at least `ACT_IN_FRAC`, its result at most
      `ACT_OUT_FRAC`. Where the product would have fewer, the operand that bears it best has more
      and saturates, if `LEAST_DB` of signal to noise are left to it.
    * What instructions name in fields of their own keeps to the mapping's `limits`.
    * Copies of one another have the same.
    * What is `given` is kept.

    Raises MappingError where there are none: values too large, or not finite, or given ones that
    break a rule.
    """
    for name, array in values.items():
        if not np.all(np.isfinite(array)):
            raise MappingError(
                f"{name}: found values beyond float64, expected finite ones; scale the weights down"
            )
    return _Chooser(mapping, values, arch, given or {}).choose()


class _Chooser:
    """Chooses what is best for each tensor alone, then what shifts and accumulators reach."""

    def __init__(
        self,
        mapping: ModelMapping,
        values: Mapping[str, Float],
        arch: Architecture,
        given: Mapping[str, int],
    ) -> None:
        self.mapping, self.values, self.arch = mapping, values, arch
        self.evaluations = tuple(mapping.evaluations)
        self.addend_shift = addend_shift(mapping.emit(None).run, arch)
        self.steps = {s.name: s for e in self.evaluations for s in e.part.steps}
        self.of_step = {s.name: e for e in self.evaluations for s in e.part.steps}
        self.groups = _groups(mapping)
        self.fracs = {n: 0 for e in self.evaluations for n in e.part.tensors if n.startswith(ONE)}
        self.kept: set[str] = set()
        for name, frac in given.items():
            self.keep(name, frac)

    def keep(self, name: str, frac: int) -> None:
        """Take a scale that is given."""
        if name not in self.names():
            raise MappingError(f"scales: {name}: found no tensor of that name; remove it")
        low, high = self.limits(name)
        if frac < low or (high is not None and frac > high):
            raise MappingError(f"scales: {name}: found {frac}, expected {low} to {high}; change it")
        if self.fracs.get(name, frac) != frac:
            raise MappingError(
                f"scales: {name}: found {frac}, expected {self.fracs[name]} as of its copies "
                f"{', '.join(self.group(name))}; change it"
            )
        self.put(name, frac)
        self.kept |= {*self.group(name)}

    def choose(self) -> dict[str, int]:
        """Return the fractional bits: of data and weights, of results in order, of addends back."""
        later = {*self.steps, *(e.addend for e in self.evaluations)}
        for name in self.names():
            group = self.group(name)
            state = any(n + AFTER in self.values for n in group)
            if name not in self.fracs and (state or later.isdisjoint(group)):
                self.put(name, self.best(name, self.limits(name)[1]))
        for step in self.steps.values():
            self.choose_result(step)
        for addend, readers in self.addends():
            self.choose_addend(addend, readers)
        for e in reversed(self.evaluations):
            for step in reversed(e.part.steps):
                self.lower(e, step, self.input_frac(step) + MAX_SHIFT)
        return self.fracs

    def names(self) -> Iterator[str]:
        """Yield every name that has a scale."""
        yield from (n for n in self.values if not n.endswith(AFTER))

    def group(self, name: str) -> tuple[str, ...]:
        return self.groups.get(name, (name,))

    def put(self, name: str, frac: int) -> None:
        self.fracs |= dict.fromkeys(self.group(name), frac)

    def limits(self, name: str) -> tuple[int, int | None]:
        """Return the least and the greatest fractional bits of a name and its copies."""
        found = [self.mapping.limits[n] for n in self.group(name) if n in self.mapping.limits]
        if not found:
            return -(1 << 16), None
        return max(low for low, _ in found), min(high for _, high in found)

    def best(self, name: str, most: int | None) -> int:
        """Return the best fractional bits of a name and its copies, at least the lower limit."""
        bits = WIDE_BITS if name in self.mapping.wide else self.arch.data_bits
        return max(self.limits(name)[0], best_frac(self.samples(name), bits, most))

    def samples(self, name: str) -> Float:
        """Return the values that a scale is for: those of all that write them, not of copies."""
        group = self.group(name)
        sources = [n for n in group if n in self.steps or n + AFTER in self.values] or group
        return np.concatenate([self.values.get(n + AFTER, self.values[n]) for n in sources])

    def product(self, step: Step) -> int:
        return self.fracs[step.left] + self.fracs[step.right]

    def input_frac(self, step: Step) -> int:
        """Return the fractional bits to which a product is shifted first."""
        through_table = self.act(step) in TABLES
        return ACT_IN_FRAC if through_table else self.fracs[step.name]

    def act(self, step: Step) -> Act:
        e = self.of_step[step.name]
        return e.act if step.name == e.part.result else Act.NONE

    def choose_result(self, step: Step) -> None:
        """Choose a result's scale, no finer than that of what it is a copy of."""
        through_table = self.act(step) in TABLES
        if through_table and self.product(step) < ACT_IN_FRAC:
            self.raise_operand(step, ACT_IN_FRAC - self.product(step))
        high = self.limits(step.name)[1]
        most = [ACT_OUT_FRAC if through_table else self.product(step)]
        most += [high] if high is not None else []
        most += [self.fracs[step.name]] if step.name in self.fracs else []
        if step.name not in self.kept:
            self.put(step.name, self.best(step.name, min(most)))
        product, expected = self.product(step), self.input_frac(step)
        if product < expected:
            bits = self.arch.data_bits
            wider = "" if bits == WIDE_BITS else f"set data_bits to {WIDE_BITS}, or "
            raise MappingError(
                f"{step.name}: found products of {product} fractional bits, expected at least "
                f"{expected}; {wider}scale the weights down"
            )

    def raise_operand(self, step: Step, excess: int) -> None:
        """Give the operand that bears it best `excess` more fractional bits, where one does."""
        found = [
            (self.ratio(n, self.fracs[n] + excess), n)
            for n in (step.left, step.right)
            if self.may_raise(n, excess)
        ]
        ratio, name = max(found, default=(-math.inf, ""))
        if ratio >= LEAST_DB:
            self.put(name, self.fracs[name] + excess)

    def may_raise(self, name: str, excess: int) -> bool:
        """Tell whether a name may have more fractional bits: no state, no more than its product."""
        if name.startswith(ONE) or name in self.groups or name in self.kept:
            return False
        return name not in self.steps or self.fracs[name] + excess <= self.product(self.steps[name])

    def ratio(self, name: str, frac: int) -> float:
        """Return the signal-to-noise ratio of a name's values with these fractional bits."""
        values = self.samples(name)
        return snr_db(values, dequantise(quantise(values, frac, self.arch.data_bits), frac))

    def addends(self) -> list[tuple[str, list[Evaluation]]]:
        """Return the addends with what adds them, the last first."""
        found: dict[str, list[Evaluation]] = {}
        for e in reversed(self.evaluations):
            if e.addend:
                found.setdefault(e.addend, []).append(e)
        return list(found.items())

    def choose_addend(self, addend: str, readers: list[Evaluation]) -> None:
        """Choose an addend's scale, then lower the products to which it is added."""
        lasts = [self.steps[e.part.result] for e in readers]
        most = [self.product(s) for s in lasts]
        most += [self.input_frac(s) + MAX_SHIFT for s in lasts]
        most += [self.product(self.steps[addend])] if addend in self.steps else []
        high = self.limits(addend)[1]
        if addend not in self.kept:
            self.put(addend, self.best(addend, min([*most, *([] if high is None else [high])])))
        elif self.fracs[addend] > min(most):
            raise MappingError(
                f"scales: {addend}: found {self.fracs[addend]}, expected at most {min(most)}, "
                "those of the product to which it is added; change it"
            )
        for e, last in zip(readers, lasts, strict=True):
            self.lower(e, last, self.fracs[addend] + self.addend_shift)

    def lower(self, e: Evaluation, step: Step, most: int) -> None:
        """Bring a product down to `most` fractional bits; data have other readers."""
        free = [
            n
            for n in (step.left, step.right)
            if n not in e.operands
            and n not in self.groups
            and n not in self.kept
            and not n.startswith(ONE)
        ]
        excess = self.product(step) - most
        if excess > 0 and free:
            self.fracs[max(free, key=lambda n: self.fracs[n])] -= excess


def _groups(mapping: ModelMapping) -> dict[str, tuple[str, ...]]:
    """Return for each name that has copies all of them: the mapper's, and those of the input."""
    groups: list[set[str]] = []
    first = input_names(mapping.problem)
    for copies in (*mapping.same_scale, *([first] if first[0].endswith(".x") else [])):
        met = [g for g in groups if not g.isdisjoint(copies)]
        groups = [g for g in groups if g.isdisjoint(copies)] + [set(copies).union(*met)]
    return {n: tuple(sorted(g)) for g in groups for n in g if len(g) > 1}


def addend_shift(program: Program, arch: Architecture) -> int:
    """Return by how much an addend may be shifted left so that no accumulator can overflow."""
    terms = max(i.tile_iterations * i.n_k for i in program.instructions if isinstance(i, Contract))
    left = (1 << arch.acc_bits - 1) - (terms << 2 * (arch.data_bits - 1))
    return min(MAX_SHIFT, max(0, (left - 1).bit_length() - arch.data_bits))
