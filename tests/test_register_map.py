"""The register map's other forms against einchip.registers: SystemRDL, C header, page, RTL."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from systemrdl.compiler import RDLCompiler
from systemrdl.node import AddrmapNode, FieldNode, RegNode
from systemrdl.rdltypes.builtin_enums import AccessType

from einchip import register_map, registers
from einchip.hw.axi import OKAY
from einchip.hw.control import Control
from einchip.program import Error
from einchip.registers import ADDRESS, COUNTERS, HOST_REGISTERS, REGISTERS, Register
from tests.hw.host import HostPort
from tests.hw.test_control import NANO, bench, halt

ROOT = Path(__file__).parents[1]
HEADER = "fpga/include/einchip_registers.h"
RDL = "fpga/include/einchip.rdl"
SOFTWARE = {"ro": AccessType.r, "rw": AccessType.rw, "w1": AccessType.w}
ONES = 0xFFFFFFFF


@pytest.fixture(scope="module")
def compiled() -> AddrmapNode:
    compiler = RDLCompiler()
    compiler.compile_file(str(ROOT / RDL))
    return compiler.elaborate().top


def fields(node: RegNode) -> dict[str, FieldNode]:
    return {f.inst_name: f for f in node.fields()}


def all_fields(top: AddrmapNode) -> dict[str, FieldNode]:
    return {f"{r.inst_name}.{name}": f for r in top.registers() for name, f in fields(r).items()}


@pytest.mark.parametrize("place", register_map.FILES)
def test_committed_file_is_what_the_registers_write(place: str) -> None:
    text = register_map.FILES[place]()
    assert (ROOT / place).read_text() == text, f"{place} is stale: run `make docs`"
    assert max(map(len, text.splitlines())) <= 100


def test_files_are_written_below_the_top_of_a_project_only(tmp_path: Path) -> None:
    assert register_map.main([str(tmp_path)]) == (
        f"register_map: no folder {tmp_path / 'docs'}: name the top of the project"
    )
    for folder in ("docs", "fpga"):
        (tmp_path / folder).mkdir()
    assert register_map.main([str(tmp_path)]) is None
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")}
    assert written == {HEADER, RDL, "docs/registers.md"}
    assert "2 arguments" in str(register_map.main(["a", "b"]))


def test_fields_are_disjoint_and_the_constants_are_their_masks() -> None:
    for register in HOST_REGISTERS:
        bits = [b for f in register.fields for b in range(f.lsb, f.lsb + f.width)]
        assert len(bits) == len(set(bits))
        assert register.mask == (sum(1 << b for b in bits) or ONES)
    masks = {f"{r.name}_{f.name}": f.mask for r in HOST_REGISTERS for f in r.fields}
    commands = {"CONTROL_START": 1, "CONTROL_FETCH": 2, "CONTROL_IRQ_CLEAR": 4}
    states = {"STATUS_RUNNING": 1, "STATUS_DONE": 2, "STATUS_ERROR": 4}
    for name, mask in (commands | states).items():
        assert masks[name] == getattr(registers, name) == mask


def test_rdl_has_every_register_at_its_address(compiled: AddrmapNode) -> None:
    nodes = list(compiled.registers())
    assert {n.inst_name: n.absolute_address for n in nodes} == ADDRESS
    assert [n.get_property("desc") for n in nodes] == [r.doc for r in REGISTERS]
    assert {n.get_property(p) for n in nodes for p in ("regwidth", "accesswidth")} == {32}


@pytest.mark.parametrize("register", REGISTERS, ids=lambda r: r.name)
def test_rdl_has_access_reset_and_fields(compiled: AddrmapNode, register: Register) -> None:
    node = compiled.find_by_path(register.name)
    assert isinstance(node, RegNode)
    found = fields(node)
    expected = {f.name: (f.lsb, f.width) for f in register.fields} or {"VALUE": (0, 32)}
    assert {name: (f.lsb, f.width) for name, f in found.items()} == expected
    assert {f.get_property("sw") for f in found.values()} == {SOFTWARE[register.access]}
    resets: list[tuple[Any, int]] = [(f.get_property("reset"), f.lsb) for f in found.values()]
    if register.reset is None:
        assert resets == [(None, 0)]
    else:
        assert sum(value << lsb for value, lsb in resets) == register.reset
    for f in register.fields:
        assert str(found[f.name].get_property("desc")).startswith(f.doc)


def test_rdl_says_what_is_constant_what_pulses_and_what_a_run_guards(compiled: AddrmapNode) -> None:
    found = all_fields(compiled)
    constant = {n for n, f in found.items() if f.get_property("hw") == AccessType.na}
    assert constant == {"ID.VALUE", "VERSION.MAJOR", "VERSION.MINOR"}
    pulses = {n for n, f in found.items() if f.get_property("singlepulse")}
    assert pulses == {"CONTROL.START", "CONTROL.FETCH", "CONTROL.IRQ_CLEAR"}
    written = {n for n, f in found.items() if f.is_sw_writable}
    for name, field in found.items():
        guard: Any = field.get_property("swwel")
        if name in written - {"CONTROL.IRQ_CLEAR"}:
            assert guard.get_path() == "einchip.STATUS.RUNNING"
        else:
            assert not guard


def test_rdl_encodes_the_error_code(compiled: AddrmapNode) -> None:
    encoded: dict[str, Any] = {n: f.get_property("encode") for n, f in all_fields(compiled).items()}
    (name,) = (n for n, enum in encoded.items() if enum)
    assert name == "ERROR_CODE.CODE"
    members = encoded[name].members
    assert {m: e.value for m, e in members.items()} == {e.name: e.value for e in Error}
    page = (ROOT / "docs" / "isa.md").read_text()
    for name, e in members.items():
        meaning = str(e.rdl_desc).replace("|", "\\|")
        assert f"| {e.value} | {name} | {meaning} |" in page


def macros() -> dict[str, int]:
    """Return what the header has to define, from the constants of Python."""
    found = {
        "ID_VALUE": registers.ID_VALUE,
        "VERSION_VALUE": registers.VERSION_VALUE,
        "MAP_BYTES": 1 << registers.ADDRESS_BITS,
        **{f"{name}_OFFSET": address for name, address in ADDRESS.items()},
        **{f"ERROR_CODE_{e.name}": e.value for e in Error},
    }
    for r in REGISTERS:
        if r.access == "rw":
            found[f"{r.name}_RESET"] = r.reset or 0
        for f in r.fields:
            found[f"{r.name}_{f.name}_MASK"] = (2**f.width - 1) * 2**f.lsb
            found[f"{r.name}_{f.name}_SHIFT"] = f.lsb
    return {f"EINCHIP_{name}": value for name, value in found.items()}


def test_header_defines_these_macros_and_no_other() -> None:
    defined = re.findall(r"^#define (\w+) \S", (ROOT / HEADER).read_text(), re.MULTILINE)
    assert sorted(defined) == sorted(macros())


@pytest.mark.parametrize(
    ("compiler", "standard", "suffix"), [("gcc", "c99", "c"), ("g++", "c++11", "cpp")]
)
def test_header_compiles_and_has_the_numbers_of_python(
    tmp_path: Path, compiler: str, standard: str, suffix: str
) -> None:
    if compiler == "gcc" and not shutil.which("gcc"):
        pytest.skip("no gcc; g++, which is required, compiles it as C++")
    names = macros()
    prints = "\n".join(f'    printf("%lu\\n", (unsigned long){name});' for name in names)
    source = tmp_path / f"main.{suffix}"
    source.write_text(
        '#include "einchip_registers.h"\n#include "einchip_registers.h"\n#include <stdio.h>\n'
        f"int main(void) {{\n{prints}\n    return 0;\n}}\n"
    )
    binary = tmp_path / "main"
    strict = [f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    include = f"-I{ROOT / HEADER.rsplit('/', 1)[0]}"
    subprocess.run([compiler, *strict, include, str(source), "-o", str(binary)], check=True)
    printed = subprocess.run([binary], check=True, capture_output=True, text=True).stdout
    assert dict(zip(names, map(int, printed.split()), strict=True)) == names


def test_page_has_every_register_field_and_counter() -> None:
    page = (ROOT / "docs" / "registers.md").read_text()
    lines = (line.split("|") for line in page.splitlines() if line.startswith("| "))
    rows = {tuple(cell.strip() for cell in line[1:4]) for line in lines}
    assert {(f"{r.address:#05x}", f"`{r.name}`", r.access) for r in HOST_REGISTERS} <= rows
    shown = {(f"{ADDRESS[c.name.upper() + '_LO']:#05x}", f"`{c.name}`", c.doc) for c in COUNTERS}
    assert shown <= rows
    for r in HOST_REGISTERS:
        named = {field for name, _, field in rows if name == f"`{r.name}`"}
        assert named == {f"`{f.name}`" for f in r.fields}


def reset(register: Register) -> int:
    return NANO.config_hash if register.reset is None else register.reset


def test_rtl_reads_the_declared_resets_and_ignores_writes_of_what_is_read_only() -> None:
    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        for _ in range(2):
            assert {r.name: await host.get(r.name) for r in REGISTERS} == {
                r.name: reset(r) for r in REGISTERS
            }
            for r in REGISTERS:
                if r.access == "ro":
                    assert await host.write(r.address, ONES) == OKAY

    bench(test)


def test_rtl_keeps_the_declared_bits_of_what_is_written_while_idle() -> None:
    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        writable = [r for r in REGISTERS if r.access == "rw"]
        assert len(writable) == 12
        for r in writable:
            await host.set(r.name, ONES)
        for r in REGISTERS:
            assert await host.get(r.name) == (r.mask if r in writable else reset(r))
        for r in writable:
            await host.set(r.name, 0)
            assert await host.get(r.name) == 0

    bench(test)


def test_rtl_takes_while_it_runs_only_what_is_not_declared_idle_only() -> None:
    (control,) = (r for r in REGISTERS if r.access == "w1")
    assert [f.name for f in control.fields if not f.idle_only] == ["IRQ_CLEAR"]

    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        await host.set("IRQ_ENABLE", 1)
        for field in control.fields:
            await host.set("CONTROL", registers.CONTROL_START)
            await halt(ctx, dut)
            await host.set("CONTROL", registers.CONTROL_START)
            assert ctx.get(dut.irq)
            ctx.set(dut.events.cycles, 1)
            before = await host.counter("cycles")
            await host.set("CONTROL", field.mask)
            assert await host.get("CONTROL") == 0
            assert ctx.get(dut.irq) == (field.name != "IRQ_CLEAR")
            assert await host.counter("cycles") > before
            for r in REGISTERS:
                if r.access == "rw":
                    await host.set(r.name, 0)
            assert await host.get("IRQ_ENABLE") == 1
            assert await host.get("WATCHDOG") == registers.WATCHDOG_RESET
            await halt(ctx, dut)
            await host.set("CONTROL", registers.CONTROL_IRQ_CLEAR)

    bench(test)
