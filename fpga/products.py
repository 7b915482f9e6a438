"""What a machine multiplies in multipliers of their own, each of which takes a DSP block."""

from einchip.arch import Architecture
from einchip.hw.activation import SEGMENT_LAYOUT
from einchip.hw.cell import n_activations, n_products
from einchip.hw.vector_kinds import built_cells
from einchip.numeric import WIDE_BITS


def activations(arch: Architecture) -> dict[str, int]:
    """Return the activations of each unit that has some: of its columns, of its lanes."""
    return {"array": arch.cols, "vector": arch.lanes * n_activations(built_cells(arch))}


def products(arch: Architecture) -> dict[str, dict[int, int]]:
    """Return the products of each unit that has some: how many, by the bits of the wider factor.

    One for each processing element, those of a lane's cells, and what each activation (of a column,
    of a lane) interpolates by. Elements have 8 or 16 bits, activations 10, so that no two coincide.
    A serial machine has one, of 16 bits.
    """
    if arch.serial:
        return {"serial": {WIDE_BITS: 1}}
    n_of_lanes = arch.lanes * n_products(built_cells(arch))
    table_bits, tables = SEGMENT_LAYOUT["rise"].width, activations(arch)
    return {
        "array": {arch.data_bits: arch.n_pes, table_bits: tables["array"]},
        "vector": {WIDE_BITS: n_of_lanes, table_bits: tables["vector"]},
    }
