"""What a phase reads and writes outside, and copies between layouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from einchip.arch import Architecture
from einchip.mapper import ops as op
from einchip.mapper.errors import MappingError
from einchip.mapper.image import Region
from einchip.mapper.plan import Tensor
from einchip.mapper.vector import (
    Operand,
    copy_op,
    copy_sweeps,
)
from einchip.mapper.wires import (
    Term,
    View,
    factors_of,
    merge_view,
    part_of,
    refined,
    view,
)
from einchip.program import REGISTER_BITS

#: Host registers: weights, the input sequence, the output, sequences between phases.
WEIGHTS, INPUT, OUTPUT, WORKSPACE = range(4)
#: The sequencer register that counts the records of a host register.
RECORD_REGISTERS = {INPUT: 1, OUTPUT: 4, WORKSPACE: 5}
#: Registers and offsets wrap here.
MODULUS = 1 << REGISTER_BITS


def elements(tensor: Tensor, arch: Architecture) -> int:
    """Return the elements of a tensor's buffer."""
    return op.whole_vectors(tensor.layout.extent, arch)


def region(offset: int, tensor: Tensor) -> Region:
    """Return the place of a whole tensor in external memory."""
    sizes = {i: tensor.layout.sizes.get(i, 1) for i in tensor.indices}
    return Region(offset, tensor.indices, sizes, tensor.layout)


def tensor_view(tensor: Tensor) -> View:
    """Return a tensor as a vector, row-major over its indices."""
    return view(
        tensor.indices, {i: tensor.layout.sizes.get(i, 1) for i in tensor.indices}, tensor.layout
    )


class Piece(NamedTuple):
    """Part `number` of so many equal parts of a vector."""

    number: int
    parts: int


def copy_piece(
    source: Tensor, target: Tensor, piece: Piece, name: str, arch: Architecture
) -> op.Op:
    """Return the COPY of a tensor into a part of another one.

    Raises MappingError where the two have no common factors; one of them must then be flat.
    """
    given, taken = merge_view(tensor_view(source)), merge_view(tensor_view(target))
    outer = (Term(piece.parts, -1),) if piece.parts > 1 else ()
    factors = factors_of([(*outer, *given), taken])
    if factors is None:
        raise MappingError(f"{name}: found no common factors of {source.name} and {target.name}")
    inside, at = part_of(taken, piece.number, piece.parts, factors)
    inner = factors[len(factors) - len(inside) :]
    found = copy_sweeps(refined(given, inner), inside, arch)
    return copy_op(
        f"copy {name}", found, Operand(source.name, source.space),
        Operand(name, target.space, at), arch,
    )  # fmt: skip


class Field(NamedTuple):
    """A tensor's place in the records of a host register; `record` bytes from step to step."""

    tensor: Tensor
    region: Region
    base: int
    record: int


class Sink(NamedTuple):
    """Where a phase's vector goes at each step: into a part of a field, or, alone, as it is."""

    field: Field
    piece: Piece | None

    @property
    def staging(self) -> str:
        """The buffer in which the field is put together."""
        return f"to {self.field.tensor.name}.{self.piece.number if self.piece else 0}"


@dataclass(frozen=True)
class Ports:
    """What a phase reads and writes outside: sources at each step, sinks, and the final answer."""

    sources: tuple[Field, ...]
    sinks: tuple[Sink, ...] = ()
    finals: tuple[Field, ...] = ()
    states: tuple[Tensor, ...] = ()  # whose last values the stages behind the loop read
    reverse: bool = False
