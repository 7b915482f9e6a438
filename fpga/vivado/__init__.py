"""Projects for Vivado: the machine as an IP, and a block design of a board around it.

Nothing here runs Vivado; `docs/vivado.md` says what was checked without it, and what was not.
"""

from einchip.fpga.vivado.boards import BOARDS, Board, VivadoError, find
from einchip.fpga.vivado.estimates import Estimate, estimate
from einchip.fpga.vivado.project import packaged_header, write_project

__all__ = [
    "BOARDS",
    "Board",
    "Estimate",
    "VivadoError",
    "estimate",
    "find",
    "packaged_header",
    "write_project",
]
