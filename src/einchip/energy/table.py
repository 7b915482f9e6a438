"""Energy tables: what a source says that one action costs.

A table is a YAML file beside this one, or one of yours of the same form. Every coefficient has a
unit, and a source, a process and a voltage (the table's, or its own), and a note where the source
needed a reading. What a table has no coefficient for cannot be charged: it is an error, never zero.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from einchip.files import YamlError, read_marked
from einchip.mistakes import did_you_mean, first_mistake

_HERE: Final = Path(__file__).parent


class EnergyError(ValueError):
    """An action without a coefficient, or a bad table; one line: table, action, what is there."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Origin(NamedTuple):
    """Where a coefficient comes from; None where the source names no process or no voltage."""

    source: str
    node_nm: float | None
    voltage_v: float | None

    def process(self) -> str:
        """Return process and voltage in words."""
        if self.node_nm is None and self.voltage_v is None:
            return "process and voltage not named"
        node = "process not named" if self.node_nm is None else f"{self.node_nm:g} nm"
        volts = "voltage not named" if self.voltage_v is None else f"{self.voltage_v:g} V"
        return f"{node}, {volts}"


class _Coefficient(_Strict):
    """What all coefficients may say for themselves, where it differs from their table."""

    source: str = ""
    note: str = ""
    node_nm: float | None = Field(default=None, gt=0)
    voltage_v: float | None = Field(default=None, gt=0)


class Arithmetic(_Coefficient):
    """Picojoules of one operation, by width in bits.

    Between and beyond the points, by `rule`: "exact" has none; "linear" (in the width) and
    "quadratic" (in its square) are the line through the two points; "upper" takes the next wider.
    """

    unit: Literal["pJ"]
    points: dict[Annotated[int, Field(gt=0)], Annotated[float, Field(gt=0)]] = Field(min_length=1)
    rule: Literal["exact", "linear", "quadratic", "upper"]

    @model_validator(mode="after")
    def _two_points_make_a_line(self) -> Self:
        if self.rule in ("linear", "quadratic") and len(self.points) != 2:
            raise ValueError(f"a {self.rule} rule needs two points")
        return self

    def at(self, bits: int) -> float | None:
        """Return the energy at a width in pJ; None where the rule gives none."""
        if bits in self.points:
            return self.points[bits]
        if self.rule == "upper":
            wider = [b for b in self.points if b > bits]
            return self.points[min(wider)] if wider else None
        if self.rule == "exact":
            return None
        power = 2 if self.rule == "quadratic" else 1
        (b0, e0), (b1, e1) = sorted(self.points.items())
        return e0 + (e1 - e0) * (bits**power - b0**power) / (b1**power - b0**power)


class SramPoint(_Strict):
    """One memory: its size, the bits of one access, pJ per access."""

    bytes: int = Field(gt=0)
    bits: int = Field(gt=0)
    read: float = Field(gt=0)
    write: float = Field(gt=0)


class Sram(_Coefficient):
    """Memories on the chip, by size.

    Between two sizes the energy per bit lies on the line through both in the logarithms of size and
    energy. A memory below the smallest size is charged as the smallest. Above the largest, `larger`
    says what happens: "line" goes on along the last line, "several" takes it as several memories of
    the largest size, one of which is accessed (the way between them is not charged).
    """

    unit: Literal["pJ per access"]
    points: list[SramPoint] = Field(min_length=1)
    larger: Literal["line", "several"]

    @model_validator(mode="after")
    def _sizes_make_lines(self) -> Self:
        if self.larger == "line" and len(self.points) < 2:
            raise ValueError("larger: a line needs two sizes")
        if len({p.bytes for p in self.points}) < len(self.points):
            raise ValueError("points: found one size twice, expected different ones")
        return self

    def per_bit(self, n_bytes: int, write: bool) -> float:
        """Return pJ per bit of an access to a memory of that size."""
        known = sorted((p.bytes, (p.write if write else p.read) / p.bits) for p in self.points)
        if n_bytes <= known[0][0]:
            return known[0][1]
        if n_bytes >= known[-1][0] and self.larger == "several":
            return known[-1][1]
        lines = list(pairwise(known))
        (b0, e0), (b1, e1) = next((two for two in lines if n_bytes <= two[1][0]), lines[-1])
        return e0 * (e1 / e0) ** (math.log(n_bytes / b0) / math.log(b1 / b0))


class Dram(_Coefficient):
    """Memory off the chip: pJ per access of `bits` bits."""

    unit: Literal["pJ per access"]
    bits: int = Field(gt=0)
    read: float = Field(gt=0)
    write: float = Field(gt=0)


class Leakage(_Coefficient):
    """Power that flows without any action."""

    unit: Literal["mW"]
    power: float = Field(gt=0)
    clock_mhz: float = Field(gt=0)


#: The coefficients of a table, by name.
ACTIONS: Final = ("mac", "multiply", "add", "sram", "dram", "leakage")


class Table(_Strict):
    """One source's coefficients.

    `mac` is one multiply-add; without it, a multiplication and an addition are charged. Leakage is
    charged only where the table has it. `process_note` says what there is to say about process and
    voltage; it must where one of them is null.
    """

    name: str
    node_nm: float | None = Field(gt=0)
    voltage_v: float | None = Field(gt=0)
    process_note: str = ""
    source: str = Field(min_length=1)
    mac: Arithmetic | None = None
    multiply: Arithmetic | None = None
    add: Arithmetic | None = None
    sram: Sram | None = None
    dram: Dram | None = None
    leakage: Leakage | None = None

    @model_validator(mode="after")
    def _what_is_not_named_is_said(self) -> Self:
        if None in (self.node_nm, self.voltage_v) and not self.process_note:
            raise ValueError("process_note: missing, needed where node_nm or voltage_v is null")
        return self

    def actions(self) -> dict[str, _Coefficient]:
        """Return the coefficients that there are, by name."""
        found = {action: getattr(self, action) for action in ACTIONS}
        return {action: c for action, c in found.items() if c is not None}

    def origin(self, action: str | None = None) -> Origin:
        """Return where the table comes from, or one of its `actions`, as far as that differs."""
        own = _Coefficient() if action is None else self.actions()[action]
        node, volts = (
            getattr(own if name in own.model_fields_set else self, name)
            for name in ("node_nm", "voltage_v")
        )
        return Origin(own.source or self.source, node, volts)

    def multiply_pj(self, bits: int) -> float:
        """Return pJ of a multiplication of `bits` by `bits` bits."""
        return self._known(self.multiply, f"multiply of {bits} bit", bits)

    def add_pj(self, bits: int) -> float:
        """Return pJ of an addition."""
        return self._known(self.add, f"add of {bits} bit", bits)

    def mac_pj(self, data_bits: int, acc_bits: int) -> float:
        """Return pJ of a multiply-add."""
        if self.mac is None:
            return self.multiply_pj(data_bits) + self.add_pj(acc_bits)
        return self._known(self.mac, f"mac of {data_bits} bit", data_bits)

    def sram_pj(self, n_bytes: int, bits: int, write: bool = False) -> float:
        """Return pJ of accessing `bits` bits of a memory on the chip of that size."""
        if self.sram is None:
            raise self._missing("sram")
        return bits * self.sram.per_bit(n_bytes, write)

    def dram_pj(self, bits: int, write: bool = False) -> float:
        """Return pJ of moving `bits` bits to or from external memory."""
        if self.dram is None:
            raise self._missing("dram")
        return bits * (self.dram.write if write else self.dram.read) / self.dram.bits

    def notes(self) -> list[str]:
        """Return what has to be said about the coefficients, each with an origin if its own."""
        found = [f"process: {self.process_note}"] if self.process_note else []
        for action, c in self.actions().items():
            own = {"node_nm", "voltage_v"} & c.model_fields_set
            parts = (c.source, self.origin(action).process() if own else "", c.note)
            if any(parts):
                found.append(f"{action}: " + "; ".join(part for part in parts if part))
        return found

    def _known(self, operation: Arithmetic | None, action: str, bits: int) -> float:
        energy = None if operation is None else operation.at(bits)
        if energy is None:
            raise self._missing(action)
        return energy

    def _missing(self, action: str) -> EnergyError:
        return EnergyError(
            f"{self.name}: no coefficient for {action}; choose another table or add it"
        )


def tables() -> list[str]:
    """Return the names of the tables that come with einchip."""
    return sorted(path.stem for path in _HERE.glob("*.yaml"))


def load(name: str) -> Table:
    """Return the table of that name, or of that YAML file. Raises EnergyError."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else _HERE / f"{name}.yaml"
    try:
        file = read_marked(path)
        return Table.model_validate(file.value)
    except OSError as error:
        if path.parent == _HERE:
            raise EnergyError(
                f"energy table: found {name!r}, expected one of {', '.join(tables())} "
                f"or a .yaml file{did_you_mean(name, tables())}"
            ) from None
        raise EnergyError(f"{name}: cannot read the file: {error.strerror}") from None
    except YamlError as error:
        raise EnergyError(f"{error.place(name)}: not a YAML file: found {error.found}") from None
    except ValidationError as error:
        loc, what = first_mistake(error, Table)
        raise EnergyError(f"{file.place(loc)}: {what}") from None
