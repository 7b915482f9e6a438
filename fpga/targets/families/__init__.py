"""Part families: what the flow must know of each, one module a family."""

from einchip.fpga.targets.families.ecp5 import ECP5, LFE5U_25F, LFE5U_85F
from einchip.fpga.targets.families.family import KINDS, SPRAM, Family, Part
from einchip.fpga.targets.families.gowin import GOWIN, GW2A_18
from einchip.fpga.targets.families.ice40 import ICE40, UP5K
from einchip.fpga.targets.families.nexus import LIFCL_40, NEXUS

__all__ = [
    "ECP5",
    "GOWIN",
    "GW2A_18",
    "ICE40",
    "KINDS",
    "LFE5U_25F",
    "LFE5U_85F",
    "LIFCL_40",
    "NEXUS",
    "SPRAM",
    "UP5K",
    "Family",
    "Part",
]
