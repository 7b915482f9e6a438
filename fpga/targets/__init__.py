"""Boards with open tools: a machine, its memory and its host link as a bitstream."""

from einchip.fpga.targets.boards import TARGETS, Target, TargetError, find
from einchip.fpga.targets.flow import Built, DoesNotFitError, build

__all__ = ["TARGETS", "Built", "DoesNotFitError", "Target", "TargetError", "build", "find"]
