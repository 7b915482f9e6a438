"""Contraction trees as SVG: the result on top, operands below it, as folders are drawn.

One row for each tensor, so that nothing overlaps and nothing is wide, however large the tree. The
line from a tensor to its parent is the bond; beside it stand its indices with their sizes, and it
is the thicker, the more elements there are. Colours are CSS variables of the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from math import log2, prod
from typing import Final, NamedTuple

from einchip.report.data import NetworkFigures, TreeNode
from einchip.report.tables import sizes

#: Sizes in pixels; text is 12 of a font whose letters are 7.3 wide.
ROW: Final = 42
INDENT: Final = 26
LEFT: Final = 18
LETTER: Final = 7.3
RADIUS: Final = 11


class _Placed(NamedTuple):
    """A node with its row and its depth; `parent` is the row of what it goes into."""

    node: TreeNode
    row: int
    depth: int
    parent: int | None


def tree_svg(network: NetworkFigures) -> str:
    """Return the drawing of a contraction tree."""
    placed = list(_places(network.root))
    label = f"contraction tree of {network.name}: {network.tree}"
    width = max(_x(p.depth) + RADIUS + 10 + LETTER * _letters(p.node) for p in placed) + 6
    height = ROW * len(placed)
    parts = [*map(_bond, placed), *map(_node, placed)]
    return (
        f'<svg class="tree" role="img" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escape(label)}</title>{''.join(parts)}</svg>"
    )


def _places(
    node: TreeNode, depth: int = 0, parent: int | None = None, first: int = 0
) -> Iterator[_Placed]:
    """Yield the nodes of a tree row by row, each in front of its operands."""
    yield _Placed(node, first, depth, parent)
    row = first + 1
    for operand in node.operands:
        below = list(_places(operand, depth + 1, first, row))
        yield from below
        row += len(below)


def _letters(node: TreeNode) -> int:
    return max(len(_title(node)), len(_bond_text(node)))


def _title(node: TreeNode) -> str:
    return node.name


def _bond_text(node: TreeNode) -> str:
    summed = f"  Σ {sizes(node.summed)}" if node.summed else ""
    return f"{sizes(node.bond)}{summed}"


def _x(depth: int) -> int:
    return LEFT + INDENT * depth


def _y(row: int) -> int:
    return ROW * row + ROW // 2


def _bond(p: _Placed) -> str:
    """Return the line from a node to its parent."""
    if p.parent is None:
        return ""
    elements = prod(p.node.bond.values())
    width = 1.2 + 0.35 * log2(max(elements, 1))
    x, y = _x(p.depth - 1), _y(p.row)
    text = escape(f"{sizes(p.node.bond)}: {elements:,} elements")
    return (
        f'<path class="bond" d="M{x} {_y(p.parent) + RADIUS}V{y}H{_x(p.depth) - RADIUS}" '
        f'stroke-width="{width:.1f}"><title>{text}</title></path>'
    )


def _node(p: _Placed) -> str:
    """Return a node: a circle with its number, or the mark of a leaf; name and bond beside it."""
    x, y = _x(p.depth), _y(p.row)
    node = p.node
    if node.number:
        mark = (
            f'<circle class="step" cx="{x}" cy="{y}" r="{RADIUS}"/>'
            f'<text class="number" x="{x}" y="{y + 4}">{escape(node.number)}</text>'
        )
    elif node.role == "data":
        mark = f'<path class="data" d="M{x} {y - 9}L{x + 9} {y}L{x} {y + 9}L{x - 9} {y}Z"/>'
    else:
        mark = f'<rect class="weight" x="{x - 8}" y="{y - 8}" width="16" height="16"/>'
    at = x + RADIUS + 8
    return (
        f'<g>{mark}<text class="name" x="{at}" y="{y - 3}">{escape(_title(node))}</text>'
        f'<text class="sizes" x="{at}" y="{y + 12}">{escape(_bond_text(node))}</text></g>'
    )
