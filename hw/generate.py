"""The machine as Verilog."""

import json
import textwrap

from amaranth.back import verilog as amaranth_verilog

import einchip
from einchip.arch import Architecture
from einchip.hw.top import Top

#: Name of the top module.
TOP = "einchip_top"


def verilog(arch: Architecture) -> str:
    """Return one self-contained Verilog file; its top module is TOP.

    Ports are `clk`, `rst` (synchronous, active high) and the members of `Top`, a member of an
    interface with two underscores before it: `m_axi__awaddr`. The text depends on nothing but the
    architecture and the versions of einchip and Amaranth.
    """
    return _header(arch) + amaranth_verilog.convert(
        Top(arch), name=TOP, emit_src=False, strip_internal_attrs=True
    )


def _header(arch: Architecture) -> str:
    """Return comments that say which machine this is."""
    description = textwrap.wrap(json.dumps(arch.model_dump()), 96)
    lines = [
        f"einchip {einchip.__version__}: {TOP}",
        "SPDX-License-Identifier: Apache-2.0",
        "Written by einchip.hw.generate; do not edit.",
        f"Configuration hash (register CONFIG_HASH): {arch.config_hash:#010x}",
        "Architecture:",
        *description,
    ]
    return "".join(f"// {line}\n" for line in lines) + "\n"
