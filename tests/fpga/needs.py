"""Tools of the extra `fpga`, without which some tests skip."""

from collections.abc import Sequence

import pytest

from einchip.fpga import synth


def is_there(programs: Sequence[str]) -> bool:
    """Tell whether one of some programs is installed."""
    try:
        synth.find(programs)
    except synth.SynthesisError:
        return False
    return True


needs_yosys = pytest.mark.skipif(not is_there(synth.PROGRAMS), reason="needs Yosys: einchip[fpga]")
