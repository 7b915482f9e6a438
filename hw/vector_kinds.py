"""What the vector unit's parts derive from the classes of its instructions."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from amaranth import Cat, Value

from einchip.arch import Architecture
from einchip.hw.pipeline import one_hot
from einchip.program import INSTRUCTIONS, Read, Unit, is_built

#: The classes of the vector unit's instructions, and those that keep a state.
KINDS: Final[tuple[Any, ...]] = tuple(k for k in INSTRUCTIONS if k.UNIT == Unit.VECTOR)
CELLS: Final = tuple(k for k in KINDS if Read("state") in k.READS)

#: Activations of a lane, of the kind that has the most.
MOST_ACTIVATIONS: Final = max(kind.ACTIVATIONS for kind in KINDS)


class Operation(NamedTuple):
    """A micro-operation of a vector: its read, and of the state which plane."""

    read: Read
    plane: int = 0


def built_cells(arch: Architecture) -> tuple[Any, ...]:
    """Return those of CELLS that a machine executes."""
    return tuple(kind for kind in CELLS if is_built(kind, arch))


def operations(kind: Any, planes: int) -> list[Operation]:
    """Return the micro-operations of one vector that read, in order: one for each plane."""
    return [
        Operation(read, plane)
        for read in kind.READS
        for plane in range(planes if read.source == "state" else 1)
    ]


def most_operations(planes: int) -> int:
    """Return the micro-operations of the longest vector."""
    return max(len(operations(kind, planes)) for kind in KINDS)


def reads(kind: Any, *sources: str) -> bool:
    """Return whether a vector of this kind reads one of these sources."""
    return any(read.source in sources for read in kind.READS)


def n_writes(kind: Any, planes: int) -> int:
    """Return the writes of one vector."""
    return planes + 1 if kind.WRITES_STATE else 1


def decode(opcode: Value, arch: Architecture) -> Value:
    """Return which of KINDS an opcode stands for, one bit each.

    The bit of a cell that the machine lacks is always 0: so synthesis drops all that is for it.
    """
    return Cat(opcode == kind.OPCODE if is_built(kind, arch) else 0 for kind in KINDS)


def is_kind(decoded: Value, kind: Any) -> Value:
    """Return whether a decoded opcode is that of a class."""
    return decoded[KINDS.index(kind)]


def is_any(decoded: Value, kinds: Iterable[Any]) -> Value:
    """Return whether a decoded opcode is that of one of these classes."""
    return Cat(is_kind(decoded, kind) for kind in kinds).any()


def by_kind(decoded: Value, values: dict[Any, int]) -> Value:
    """Return values[kind] of the instruction's kind, 0 where it is not among them."""
    return one_hot((is_kind(decoded, kind), value) for kind, value in values.items())
