"""Sessions: answers and cycles of compiled models on devices, and what goes wrong in words.

Oracles: `Compiled.evaluate` (the reference), the simulator alone.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from einchip.arch import PRESETS, Architecture
from einchip.compiler import folder
from einchip.compiler.folder import Folder
from einchip.host import Device, DeviceError, Layout, MachineStopError, Session, Status
from einchip.host.emulated import ReferenceDevice, RtlDevice, SimulatorDevice
from einchip.host.session import clearing
from einchip.host.status import error_in_words, read_counter
from einchip.program import Error, Halt, Instruction, Load, Loop, Program, SetRegister
from einchip.registers import (
    CONTROL_START,
    COUNTERS,
    ID_VALUE,
    STATUS_DONE,
    STATUS_ERROR,
    STATUS_RUNNING,
    VERSION_VALUE,
)
from einchip.sim import simulate
from tests.compiler import cases
from tests.compiler.helpers import compiled_small, compiled_vowels, labelled
from tests.host.helpers import MEMORY_BYTES, NANO, Changed, refused, vowels, write, zoo
from tests.system.machines import MACHINES

SMALL = PRESETS["small"]


def made_for(folder: Folder) -> SimulatorDevice:
    """Return a simulator with as much memory as a folder needs."""
    return SimulatorDevice(folder.arch, Layout.of(folder).size)


@pytest.fixture
def device() -> SimulatorDevice:
    return made_for(zoo())


def dirty(device: SimulatorDevice) -> SimulatorDevice:
    """Give a machine what another model may have left."""
    rng = np.random.default_rng(5)
    device.state.external[:] = rng.bytes(device.memory_bytes)
    for space in (0, 1):
        device.state.space(space)[:] = rng.integers(-128, 128, device.arch.capacity(space))
    return device


def test_answers_and_cycles_of_the_example_are_those_of_reference_and_simulator() -> None:
    folder, compiled = vowels(), compiled_vowels("mps", "small", 8)
    shortest = sorted(labelled("test").sequences[:40], key=len)[:3]
    expected = compiled.evaluate(shortest[::-1])
    with dirty(made_for(folder)) as device:
        session = Session(device, SMALL)
        setup = simulate(folder.setup, SMALL, host=folder.host(0), timeline=False)
        assert session.load(folder) == setup.cycles
        for number in (1, 2, 0, 1):
            n_steps = folder.sequences[number][0]
            result = session.run(number)
            assert result.n_steps == n_steps
            answer = compiled.mapping.unpack(result.output, n_steps)
            np.testing.assert_array_equal(answer, expected[number])
            host = folder.host(n_steps)
            timed = simulate(folder.run, SMALL, host=host, fetch=False, timeline=False)
            assert result.counters == timed.counters
            assert result.cycles == timed.cycles


def test_words_are_the_elements_of_the_output() -> None:
    folder = vowels()
    session = Session(made_for(folder), SMALL)
    session.load(folder)
    result = session.run(0)
    signed = [b - 256 if b > 127 else b for b in result.output]
    assert result.words.tolist() == signed
    assert len(result.output) == folder.manifest.output.n_bytes(result.n_steps) > 0


@pytest.mark.parametrize("name", ["mpo lstm", "bidirectional stack"])
def test_simulator_and_rtl_answer_the_same_in_the_same_cycles(
    name: str, native_cache: Path
) -> None:
    folder = zoo(name)
    size = Layout.of(folder).size
    sessions = [
        Session(made, NANO)
        for made in (SimulatorDevice(NANO, size), RtlDevice(NANO, size, native_cache))
    ]
    assert len({session.load(folder) for session in sessions}) == 1
    for number in range(len(folder.sequences)):
        a, b = (session.run(number) for session in sessions)
        assert a.output == b.output
        assert a.counters == b.counters


def test_a_session_uses_what_another_program_left_and_nothing_of_it(
    device: SimulatorDevice,
) -> None:
    """Words behind the answer, which no instruction of the model writes, are the same, too."""
    oracle = Session(ReferenceDevice(NANO, device.memory_bytes), NANO)
    session = Session(dirty(device), NANO)
    for s in (oracle, session):
        s.load(zoo())
    for number in (0, 1, 2):
        assert session.run(number).output == oracle.run(number).output


def test_sequences_that_the_folder_does_not_have(device: SimulatorDevice) -> None:
    folder = zoo()
    session = Session(device, NANO)
    session.load(folder)
    for number, (n_steps, data) in enumerate(folder.sequences):
        assert session.run((n_steps, data)).output == session.run(number).output
    given = np.random.default_rng(1).standard_normal((2, 6))
    packed = compiled_small().pack(given)
    [expected] = compiled_small().evaluate([given])
    result = session.run(packed)
    found = compiled_small().mapping.unpack(result.output, 2)
    np.testing.assert_array_equal(found, expected)
    n_steps, data = folder.sequences[0]
    bad: dict[str, int | tuple[int, bytes]] = {
        "found number 3, expected 0 to 2": 3,
        "found number -1, expected 0 to 2": -1,
        "found 0 time steps, expected 1 to 4": (0, b""),
        "found 5 time steps, expected 1 to 4": (5, data),
        f"found {len(data) - 1} bytes, expected {len(data)}": (n_steps, data[1:]),
    }
    for message, sequence in bad.items():
        with pytest.raises(ValueError, match=f"^sequence: {message}$"):
            session.run(sequence)
    session.run(0)  # which such a mistake does not spoil


def test_answer_of_an_older_run_is_not_taken_for_this_one(
    device: SimulatorDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(device, NANO)
    session.load(zoo())
    assert any(session.run(0).output)
    end = device.execute(fetch=False)
    monkeypatch.setattr(device, "execute", lambda fetch: end)  # a machine that writes nothing
    assert not any(session.run(0).output)


@pytest.mark.parametrize("arch", MACHINES.values(), ids=lambda a: a.name)
def test_clearing_clears_both_scratchpads(arch: Architecture) -> None:
    with dirty(SimulatorDevice(arch, MEMORY_BYTES)) as device:
        program = clearing(arch)
        device.write_memory(0, program.encode())
        write(device, PROGRAM_WORDS=program.n_words, CONTROL=3)
        assert not device.state.x.any()
        assert not device.state.y.any()


IDENTITIES = {
    "another ID": (
        {"ID": 0x12345678},
        "device: found ID 0x12345678, expected 0x65494e43 of einchip: ",
    ),
    "nothing at all": ({"ID": 0, "VERSION": 0}, "device: found ID 0x00000000, expected "),
    "a later version": (
        {"VERSION": 0x0002_0003},
        "device: found version 2.3, expected 1.0: ",
    ),
    "another machine": (
        {"CONFIG_HASH": 0xDEADBEEF},
        f"device: found configuration 0xdeadbeef, expected {NANO.config_hash:#010x} of nano: build "
        "and load its bitstream",
    ),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_other_device(name: str, device: SimulatorDevice) -> None:
    values, expected = IDENTITIES[name]
    message = refused(lambda: Session(Changed(device, **values), NANO))
    assert message.startswith(expected)
    assert (ID_VALUE, VERSION_VALUE) == (0x65494E43, 0x0001_0000)


def test_folder_of_another_machine() -> None:
    session = Session(made_for(vowels()), SMALL)
    assert refused(lambda: session.load(zoo())) == (
        f"mpo lstm: found configuration {NANO.config_hash:#010x}, expected "
        f"{SMALL.config_hash:#010x} of small: compile it for small"
    )


def test_memory_that_is_too_small() -> None:
    size = Layout.of(zoo()).size
    session = Session(SimulatorDevice(NANO, size - 4096), NANO)
    message = refused(lambda: session.load(zoo()))
    assert message.startswith(
        f"mpo lstm: found {size - 4096:,} bytes of memory on the device, expected {size:,}, which "
        "are 4,096 more: "
    )


@pytest.mark.parametrize(("base", "fits"), [(0x100, False), (1 << 32, False), (0xFFFF_0000, True)])
def test_memory_that_the_machine_cannot_address(
    base: int, fits: bool, device: SimulatorDevice
) -> None:
    moved = Changed(device)
    moved.memory_base = base
    if fits:
        Session(moved, NANO)
        return
    message = refused(lambda: Session(moved, NANO))
    assert message.startswith(
        f"device: found {device.memory_bytes:,} bytes of memory from {base:#x}"
    )


def test_what_the_machine_is_told_has_the_base_of_memory_added() -> None:
    """The same machine through a window in the middle of its memory."""
    folder, base = zoo(), 3 * 4096
    whole = SimulatorDevice(NANO, base + Layout.of(folder).size)

    class Window(Changed):
        def read_memory(self, address: int, n_bytes: int) -> bytes:
            return super().read_memory(base + address, n_bytes)

        def write_memory(self, address: int, data: bytes) -> None:
            super().write_memory(base + address, data)

    window = Window(whole)
    window.memory_bytes, window.memory_base = Layout.of(folder).size, base
    moved, plain = Session(window, NANO), Session(made_for(folder), NANO)
    moved.load(folder)
    plain.load(folder)
    for number in range(3):
        a, b = moved.run(number), plain.run(number)
        assert (a.output, a.counters) == (b.output, b.counters)
    assert not any(whole.read_memory(0, base))


def test_machine_that_does_not_stop_is_given_up(device: SimulatorDevice) -> None:
    changed = Changed(device)
    session = Session(changed, NANO, timeout_seconds=0.05)
    session.load(zoo())
    changed.values = {"STATUS": STATUS_RUNNING, "CYCLES_LO": 1234, "CYCLES_HI": 1}
    before = time.monotonic()
    message = refused(lambda: session.run(2))
    assert 0.05 <= time.monotonic() - before < 5
    assert message == (
        "machine: the run of sequence 2 has not stopped within 0.05 s: status RUNNING, no error, "
        "4,294,968,530 cycles; give it more time (timeout_seconds), or reset it"
    )
    # it still runs: another session cannot use it, until it has stopped
    message = refused(lambda: Session(changed, NANO, timeout_seconds=0.01))
    assert message.startswith("machine: what was started before has not stopped within 0.01 s: ")
    changed.values = {}
    again = Session(changed, NANO)
    again.load(zoo())
    assert again.run(2).cycles > 0


def test_start_that_is_lost_is_a_time_out(device: SimulatorDevice) -> None:
    changed = Changed(device, STATUS=0)
    session = Session(changed, NANO, timeout_seconds=0.01)
    message = refused(lambda: session.load(zoo()))
    assert "clearing has not stopped within 0.01 s: status idle, no error, " in message


def test_time_out_names_an_error_that_the_machine_cannot_finish(device: SimulatorDevice) -> None:
    """A stop waits for the bus: RUNNING and ERROR at once."""
    changed = Changed(device)
    session = Session(changed, NANO, timeout_seconds=0.01)
    changed.values = {
        "STATUS": STATUS_RUNNING | STATUS_ERROR, "ERROR_CODE": Error.AXI_WRITE,
        "ERROR_ADDRESS": 0x1000,
    }  # fmt: skip
    message = refused(lambda: session.load(zoo()))
    assert "status RUNNING ERROR, AXI_WRITE: a write answered an error (" in message
    assert "address 0x1000), " in message


def test_session_waits_for_what_still_runs(device: SimulatorDevice) -> None:
    class Slow(Changed):
        left = 3

        def read_register(self, address: int) -> int:
            if address != 0x10:
                return super().read_register(address)
            self.left -= 1
            return STATUS_RUNNING if self.left > 0 else STATUS_DONE | STATUS_ERROR

    slow = Slow(device)
    Session(slow, NANO)
    assert slow.left == 0


def broken(*run: Instruction) -> Folder:
    """Return the folder of a small model whose program of the runs is another one."""
    return replace(zoo(), run=Program(run))


def test_stop_by_an_error_is_said_in_words(device: SimulatorDevice) -> None:
    session = Session(device, NANO)
    folder = broken(SetRegister(reg=1), Load(beats=3, addr=NANO.capacity(0) - 4), Halt())
    with pytest.raises(MachineStopError) as caught:
        session.load(folder)
    status = caught.value.status
    assert str(caught.value) == (
        f"machine: a step of zeros stopped after {status.cycles:,} cycles with ADDRESS: a "
        f"scratchpad address out of range (X {NANO.capacity(0)}); load again, and if it stops "
        "again, compile again"
    )
    assert (status.failed, status.done, status.running) == (True, True, False)
    assert (status.error_code, status.error_address) == (Error.ADDRESS, NANO.capacity(0))
    assert status.cycles > 0


def test_after_an_error_only_a_load_helps(device: SimulatorDevice) -> None:
    session = Session(device, NANO)
    assert refused(lambda: session.run(0)).startswith("session: nothing is loaded")
    session.load(zoo())
    expected = session.run(0).output
    with pytest.raises(
        MachineStopError, match=r"a step of zeros stopped after \d+ cycles with FIELD"
    ):
        session.load(broken(Loop(count=0), Halt()))
    assert refused(lambda: session.run(0)).startswith("session: nothing is loaded")
    session.load(zoo())
    assert session.run(0).output == expected


def accesses(device: Changed, folder: Folder) -> int:
    """Return how many accesses a session makes that loads a folder and runs twice."""
    device.fails_in = many = 1 << 30
    session = Session(device, NANO)
    session.load(folder)
    session.run(0)
    session.run(1)
    return many - device.fails_in


def test_device_that_fails_anywhere_can_be_used_again() -> None:
    """Whatever access is the first that fails, the next session is exact."""
    folder = zoo()
    expected = Session(made_for(folder), NANO)
    expected.load(folder)
    answers = [expected.run(number).output for number in (0, 1)]
    changed = Changed(made_for(folder))
    n = accesses(changed, folder)
    for k in range(0, n, max(1, n // 23)):
        changed.fails_in = k
        with pytest.raises(DeviceError, match="plug it in"):
            use(changed, folder)
        changed.fails_in = None
        again = Session(changed, NANO)
        again.load(folder)
        assert [again.run(number).output for number in (0, 1)] == answers, k


def use(device: Device, folder: Folder) -> None:
    """Load and run; after an error the session says that nothing is loaded."""
    session = Session(device, NANO)
    try:
        session.load(folder)
        session.run(0)
        session.run(1)
    except DeviceError:
        assert refused(lambda: session.run(0)).startswith("session: nothing is loaded")
        raise


def test_every_error_has_words() -> None:
    for error in Error:
        said = error_in_words(error, 77)
        assert said.startswith(f"{error.name}: ")
        assert ("0x4d" if error.name.startswith("AXI") else "77") in said
        assert len(said.splitlines()) == 1
    assert error_in_words(Error.ADDRESS, 1 << 31 | 12).endswith("(Y 12)")
    assert error_in_words(15, 8) == "error 15, which is unknown (0x8)"


def test_counter_whose_low_word_runs_over_while_it_is_read(device: SimulatorDevice) -> None:
    """HIGH 0, LOW after it ran over, HIGH 1: it is read again."""

    class Counting(Changed):
        reads = 0

        def read_register(self, address: int) -> int:
            value = (1 << 32) - 1 + self.reads
            self.reads += 1
            return value >> 32 if address & 4 else value & 0xFFFFFFFF

    assert read_counter(Counting(device), "cycles") == (1 << 32) + 2


def test_status_is_read_from_a_stopped_machine(device: SimulatorDevice) -> None:
    assert str(Status.read(device)) == "status idle, no error, 0 cycles"
    write(device, CONTROL=CONTROL_START)
    said = str(Status.read(device))
    assert said.startswith(
        "status DONE ERROR, NO_HALT: the program ran past its end (word index 0)"
    )


def test_every_counter_is_in_a_result(device: SimulatorDevice) -> None:
    session = Session(device, NANO)
    session.load(zoo())
    result = session.run(0)
    assert list(result.counters) == [c.name for c in COUNTERS]
    assert result.counters["macs"] > 0


def test_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "host.md").read_text()
    [example] = re.findall(r"```python\n(.*?)```", page, re.S)
    monkeypatch.chdir(tmp_path)
    folder.write(compiled_small(), cases.sequences("mpo lstm", (4, 1, 3)), Path("build/mpo"))
    exec(example, {})
    session = Session(made_for(zoo()), NANO)
    session.load(zoo())
    result = session.run(0)
    assert capsys.readouterr().out.split() == [
        *str(result.words).split(), str(result.cycles), str(result.counters["macs"])
    ]  # fmt: skip
