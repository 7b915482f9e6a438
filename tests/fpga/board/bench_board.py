"""A cocotb bench: a board's system, whose links end in pseudo-terminals of this computer.

`LINKS` has the links of the board. Once it is there, the folder that `BOARD` names holds a file for
each, with the terminal's name. A file `command` in it is carried out and removed:

    reset                reset the system
    pull LINK            take the cable away
    plug LINK            put it back; the terminal may be another one
    errors LINK SEED N   from now on one byte in N is damaged, in either direction; 0: none
    stop                 end
"""

import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock

from tests.fpga.board.wires import CLOCK_NS, LOOK_CYCLES, WIRES, Wires, cycles

FOLDER = Path(os.environ["BOARD"])
RESET_CYCLES = 8


async def reset(dut: Any) -> None:
    """Hold the reset for some cycles."""
    dut.rst.value = 1
    await cycles(RESET_CYCLES)
    dut.rst.value = 0


async def carry_out(dut: Any, wires: dict[str, Wires]) -> None:
    """Carry out commands, until `stop`."""
    command = FOLDER / "command"
    while True:
        await cycles(LOOK_CYCLES)
        if not command.exists():
            continue
        name, *rest = command.read_text().split()
        command.unlink()
        if name == "stop":
            return
        if name == "reset":
            await reset(dut)
        elif name == "errors":
            at, seed, one_in = wires[rest[0]], *map(int, rest[1:])
            at.rng.seed(seed)
            at.one_in = one_in
        else:
            at = wires[rest[0]]
            {"pull": at.pull, "plug": at.plug}[name]()


@cocotb.test()
async def board(dut: Any) -> None:
    """Run until it is told to stop."""
    Clock(dut.clk, CLOCK_NS, "ns").start()
    links = os.environ["LINKS"].split()
    wires = {kind.link: kind(dut, FOLDER) for kind in WIRES if kind.link in links}
    await reset(dut)
    for at in wires.values():
        at.start()
    await carry_out(dut, wires)
