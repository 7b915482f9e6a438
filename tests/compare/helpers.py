"""Small matrices of every format, and programs run on integers."""

from __future__ import annotations

from math import prod
from typing import Any, Final

import numpy as np

from einchip import reference
from einchip.arch import PRESETS, Architecture
from einchip.compare.build import Built
from einchip.mapper.image import image
from einchip.mapper.merge import merged_of
from einchip.mapper.network_build import RESULT
from einchip.mapper.network_place import external_regions
from einchip.models import MatrixSpec
from einchip.network import Network
from einchip.sim import simulate

#: The machine that values are checked on: results of these sizes cannot saturate it.
WIDE: Final = PRESETS["small"].override(data_bits=16, x_depth=8192, y_depth=8192)
MODES: Final = {"in_modes": [4, 3, 5], "out_modes": [3, 4, 2]}
SPECS: Final[dict[str, dict[str, Any]]] = {
    "mpo": {**MODES, "ranks": [1, 3, 4, 1]},
    "mps": {**MODES, "ranks": [1, 3, 4, 5, 4, 3, 1]},
    "ht": {**MODES, "ranks": {"leaf": 3, "inner": 4}},
    "tr": {**MODES, "ranks": [2, 3, 2, 2, 3, 2]},
    "bt": {**MODES, "ranks": {"tucker": [2, 3, 2], "blocks": 2}},
    "tucker": {**MODES, "ranks": [3, 2, 4, 2, 3, 2]},
    "cp": {**MODES, "ranks": 5},
}


def spec(form: str) -> MatrixSpec:
    return MatrixSpec.model_validate({"format": form, **SPECS[form]})


def small(network: Network, seed: int) -> dict[str, np.ndarray]:
    """Return arrays of -1, 0, 1, the zeros so many that sums stay small."""
    rng = np.random.default_rng(seed)
    return {n: rng.choice([-1, 0, 1], network.shape(n), p=[0.3, 0.4, 0.3]) for n in network.tensors}


def values(
    built: Built, network: Network, arrays: dict[str, np.ndarray], arch: Architecture
) -> list[np.ndarray]:
    """Return the result by the reference and by the simulator, axes as in the output."""
    regions = external_regions(built.part, network.sizes, arch)
    n_bytes = max(r.offset + r.n_bytes(arch) for r in regions.values())
    merged = {m.name: m for m in merged_of(network, built.node)}
    names = [name for name in regions if name != RESULT]
    stored = {n: merged[n].integers(arrays, 16) if n in merged else arrays[n] for n in names}
    programs = built.cold.programs(None)
    found = []
    for by_simulator in (False, True):
        memory = reference.Memory.empty(arch, n_bytes)
        memory.external[:] = image(regions, stored, n_bytes, arch)
        for program in (programs.setup, programs.run):
            if by_simulator:
                assert simulate(program, arch, memory=memory, fetch=False).error is None
            else:
                reference.run(program, arch, memory, reference.Host())
        region = regions[RESULT]
        order = [region.indices.index(i) for i in network.output]
        found.append(region.unpack(memory.external, arch).transpose(order))
    return found


def expected(network: Network, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return the result by `numpy.einsum`; it must not saturate."""
    result = np.rint(network.contract({k: v.astype(float) for k, v in arrays.items()}))
    assert np.abs(result).max(initial=0) < 1 << 15
    assert prod(result.shape) == network.size(network.output)
    return result.astype(np.int64)
