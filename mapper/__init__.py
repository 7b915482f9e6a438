"""The mapper: from a tensor network and an architecture to a program."""

from einchip.mapper.calibration import Evaluation
from einchip.mapper.errors import MappingError
from einchip.mapper.model import ModelMapping, map_model
from einchip.mapper.network import (
    CompiledNetwork,
    NetworkMapping,
    compile_network,
    map_network,
)
from einchip.mapper.problem import (
    CellKind,
    Direction,
    Linear,
    ModelProblem,
    Recurrent,
)
from einchip.mapper.programs import Programs
from einchip.mapper.report import Contraction

__all__ = [
    "CellKind",
    "CompiledNetwork",
    "Contraction",
    "Direction",
    "Evaluation",
    "Linear",
    "MappingError",
    "ModelMapping",
    "ModelProblem",
    "NetworkMapping",
    "Programs",
    "Recurrent",
    "compile_network",
    "map_model",
    "map_network",
]
