"""Writes the register map as SystemRDL, as a C header and as a page, from `einchip.registers`.

`python -m einchip.register_map [FOLDER]` writes the three files of `FILES` into the project whose
top is FOLDER, by default the current one; a test fails when they are stale.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from einchip import registers
from einchip.program import REGISTER_BITS
from einchip.registers import (
    ADDRESS,
    ADDRESS_BITS,
    COUNTERS,
    HOST_REGISTERS,
    ID_VALUE,
    REGISTERS,
    VERSION_VALUE,
    Field,
    Register,
    error_meanings,
)

_NOTICE = "Written from src/einchip/registers.py by `make docs`: do not edit."


def _rules() -> list[str]:
    """Return what holds for all registers, in lines."""
    return textwrap.wrap((inspect.getdoc(registers) or "").split("\n\n", 1)[1], 85)


def _fields(register: Register) -> tuple[Field, ...]:
    """Return the fields of a register; one without any is a field VALUE."""
    return register.fields or (Field("VALUE", 0, REGISTER_BITS, ""),)


def _reset(register: Register, field: Field) -> int:
    """Return a field's part of a register's reset value, 0 where that is not known."""
    return ((register.reset or 0) & field.mask) >> field.lsb


def _text(doc: str) -> str:
    """Return a string of SystemRDL."""
    escaped = doc.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _access(register: Register) -> str:
    """Return who reads and writes a field in SystemRDL: software, hardware, and how."""
    if register.access == "rw":
        return "sw = rw; hw = r;"
    if register.access == "w1":
        return "sw = w; hw = r; onwrite = woset; singlepulse;"
    if register.constant:
        return f"sw = r; hw = {'w' if register.reset is None else 'na'};"
    return "sw = r; hw = rw;"


def _meaning(field: Field) -> str:
    return field.doc + ("; ignored while the machine runs" if field.idle_only else "")


def _rdl_field(register: Register, field: Field) -> Iterator[str]:
    yield "        field {"
    if field.doc:
        yield f"            desc = {_text(_meaning(field))};"
    encoded = " encode = error_code;" if field.enum else ""
    yield f"            {_access(register)}{encoded}"
    place = f"{field.name}[{field.lsb + field.width - 1}:{field.lsb}]"
    start = f" = {field.width}'h{_reset(register, field):x}" if register.reset is not None else ""
    yield f"        }} {place}{start};"


def _rdl_register(register: Register) -> Iterator[str]:
    yield f"    reg {{\n        desc = {_text(register.doc)};"
    for field in _fields(register):
        yield from _rdl_field(register, field)
    yield f"    }} {register.name} @ {register.address:#05x};\n"


def _rdl_errors() -> Iterator[str]:
    yield "    enum error_code {"
    for error, meaning in error_meanings().items():
        yield f"        {error.name} = {error.value} {{"
        yield f"            desc = {_text(meaning)};\n        }};"
    yield "    };\n"


def _rdl_guards() -> Iterator[str]:
    yield "    // Writes are ignored while the machine runs:"
    for register in REGISTERS:
        for field in _fields(register):
            if register.access == "rw" or field.idle_only:
                yield f"    {register.name}.{field.name}->swwel = STATUS.RUNNING;"


def system_rdl() -> str:
    """Return the register map in SystemRDL 2.0.

    A register without fields has one, VALUE; a counter is two registers, NAME_LO and NAME_HI.
    Writes that a running machine ignores have `swwel`, the commands in CONTROL are `singlepulse`.
    """
    rules = "\n        ".join(_rules())
    lines = [
        f"// {_NOTICE}\n",
        "addrmap einchip {",
        '    name = "einchip";',
        f"    desc = {_text(rules)};",
        f"    default regwidth = {REGISTER_BITS};",
        f"    default accesswidth = {REGISTER_BITS};\n",
        *_rdl_errors(),
    ]
    for register in REGISTERS:
        lines.extend(_rdl_register(register))
    return "\n".join([*lines, *_rdl_guards(), "};"]) + "\n"


def _define(name: str, value: int, digits: int) -> str:
    """Return a line of the header: an unsigned number of so many hexadecimal digits."""
    return f"#define EINCHIP_{name} 0x{value:0{digits}x}u"


def _offset(register: Register) -> str:
    return _define(f"{register.name}_OFFSET", register.address, 3)


def _c_register(register: Register) -> Iterator[str]:
    name = register.name
    yield f"\n/* {name}, {register.access}: {register.doc} */"
    yield _offset(register)
    if register.access == "rw":
        yield _define(f"{name}_RESET", register.reset or 0, 8)
    for field in register.fields:
        yield f"/* {field.name}: {_meaning(field)} */"
        yield _define(f"{name}_{field.name}_MASK", field.mask, 8)
        yield f"#define EINCHIP_{name}_{field.name}_SHIFT {field.lsb}"


def _c_errors() -> Iterator[str]:
    yield "\n/* Values of ERROR_CODE: meaning and, behind the colon, what ERROR_ADDRESS holds */"
    for error, meaning in error_meanings().items():
        yield f"/* {meaning} */"
        yield f"#define EINCHIP_ERROR_CODE_{error.name} {error.value}u"


def _c_counters() -> Iterator[str]:
    yield "\n/* Counters, ro: 64 bits, low word first */"
    words = iter(REGISTERS[len(HOST_REGISTERS) :])
    for low, high in zip(words, words, strict=True):
        yield f"/* {low.doc} */\n{_offset(low)}\n{_offset(high)}"


def c_header() -> str:
    """Return the register map as macros for C99 and C++, all named EINCHIP_*.

    A register has NAME_OFFSET and, where the host writes it, NAME_RESET; a field has
    REGISTER_FIELD_MASK and _SHIFT, an error ERROR_CODE_NAME.
    """
    rules = "\n".join(f" * {line}" for line in _rules())
    lines = [
        f"/* {_NOTICE}\n *\n{rules}\n */",
        "#ifndef EINCHIP_REGISTERS_H\n#define EINCHIP_REGISTERS_H\n",
        "/* What ID and VERSION read; the bytes of the address space */",
        _define("ID_VALUE", ID_VALUE, 8),
        _define("VERSION_VALUE", VERSION_VALUE, 8),
        _define("MAP_BYTES", 1 << ADDRESS_BITS, 3),
    ]
    for register in HOST_REGISTERS:
        lines.extend(_c_register(register))
    return "\n".join([*lines, *_c_errors(), *_c_counters(), "\n#endif"]) + "\n"


_PAGE = """# Registers

This page is printed from `einchip.registers` by `make docs`; a test fails when it is stale. So are
`{header}` for C and C++, and `{rdl}` in SystemRDL 2.0,
from which PeakRDL and its like make further headers, pages and models. Programs in Python take
`einchip.registers` itself.

{rules}

## Host registers

| address | name | access | reset | meaning |
|---|---|---|---|---|"""

_FIELDS = """
Their fields; all other bits read 0:

| register | bits | field | meaning |
|---|---|---|---|"""

_COUNTERS = """
## Counters

All are "ro", cleared by a start, and keep their values while the machine is idle; while it runs,
the two words of a counter are of two different cycles. Of those marked with one unit's name exactly
one counts in every running cycle.

| address | counter | meaning |
|---|---|---|"""


def _bits(field: Field) -> str:
    last = field.lsb + field.width - 1
    return f"{field.lsb}" if field.width == 1 else f"{field.lsb} to {last}"


def _page_registers() -> Iterator[str]:
    for r in HOST_REGISTERS:
        reset = "by machine" if r.reset is None else f"{r.reset:#x}"
        yield f"| {r.address:#05x} | `{r.name}` | {r.access} | {reset} | {r.doc} |"


def _page_fields() -> Iterator[str]:
    for r in HOST_REGISTERS:
        for f in r.fields:
            doc = _meaning(f) + (", see [error codes](isa.md#error-codes)" if f.enum else "")
            yield f"| `{r.name}` | {_bits(f)} | `{f.name}` | {doc} |"


def _page_counters() -> Iterator[str]:
    for c in COUNTERS:
        yield f"| {ADDRESS[f'{c.name.upper()}_LO']:#05x} | `{c.name}` | {c.doc} |"


def page() -> str:
    """Return `docs/registers.md`."""
    header, rdl, _ = FILES
    head = _PAGE.format(header=header, rdl=rdl, rules="\n".join(_rules()))
    parts = [head, *_page_registers(), _FIELDS, *_page_fields(), _COUNTERS, *_page_counters()]
    return "\n".join(parts) + "\n"


#: What is written, by its place in the project.
FILES: Final[dict[str, Callable[[], str]]] = {
    "fpga/include/einchip_registers.h": c_header,
    "fpga/include/einchip.rdl": system_rdl,
    "docs/registers.md": page,
}


def write(top: Path) -> None:
    """Write all files into a project.

    Raises
    ------
    FileNotFoundError
        `top` is not the top of the project.
    """
    for folder in sorted({Path(place).parts[0] for place in FILES}):
        if not (top / folder).is_dir():
            raise FileNotFoundError(f"no folder {top / folder}: name the top of the project")
    for place, text in FILES.items():
        (top / place).parent.mkdir(exist_ok=True)
        (top / place).write_text(text())


def main(arguments: list[str]) -> str | None:
    """Write the files, or return what is wrong in one line."""
    if len(arguments) > 1:
        return f"register_map: {len(arguments)} arguments: give one folder or none"
    try:
        write(Path(*arguments))
    except OSError as error:
        return f"register_map: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
