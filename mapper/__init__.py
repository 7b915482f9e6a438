"""The mapper: from a tensor network and an architecture to a program."""

from einchip.mapper.errors import MappingError
from einchip.mapper.lstm import LstmMapping, map_lstm
from einchip.mapper.network import (
    CompiledNetwork,
    NetworkMapping,
    Programs,
    compile_network,
    map_network,
)
from einchip.mapper.parts import LstmProblem
from einchip.mapper.report import Contraction

__all__ = [
    "CompiledNetwork",
    "Contraction",
    "LstmMapping",
    "LstmProblem",
    "MappingError",
    "NetworkMapping",
    "Programs",
    "compile_network",
    "map_lstm",
    "map_network",
]
