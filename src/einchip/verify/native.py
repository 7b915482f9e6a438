"""The RTL at C++ speed: thousands of programs in one process.

`build` compiles a machine and its surroundings into a simulator; `Harness.run` gives it jobs
(`einchip.verify.jobs`): lists of operations on control port, external memory and interrupt.

    harness = build(rtl, Path("build/native"), port_bytes=16)
    [result] = harness.run([Job(memory_bytes=65536, operations=(
        Load(0, program), WriteRegister(CONTROL, 1), WaitIrq(100_000), ReadRegister(CYCLES),
        Dump(0x8000, 256),
    ))])
    n_cycles, output = result.outcomes[3].value, result.outcomes[4].data

The machine
-----------
A module `einchip_top` with `clk`, `rst`, `irq`, an AXI4-Lite slave `s_axil__*` (32-bit data) and an
AXI4 master `m_axi__*` (`port_bytes` wide, INCR bursts only). Other outputs are ignored and other
inputs stay 0, so IDs may be there if they are always 0.

The memory: its timing, stated once
-----------------------------------
A cycle ends with a rising edge. What is *accepted in cycle t* has valid and ready high just before
the edge that ends t. Let L = `latency_cycles` >= 1. Without stalls:

1. `arready`, `awready` and `wready` are always 1.
2. Read bursts are answered strictly in order, one beat at a time. The first beat of a burst
   accepted in cycle t is presented (`rvalid` = 1) from cycle
   max(t + L, cycle after the previous beat was accepted) on; each further beat from the cycle after
   its predecessor was accepted. A beat is held until `rready`. So bursts requested early enough
   follow each other without a gap, at one beat per cycle.
3. A beat carries the bytes that memory holds when it is first presented: after all writes accepted
   in earlier cycles.
4. A write beat reaches memory in the cycle in which both its address and its data have been
   accepted, whichever comes last; data may come before its address.
5. The response to a write is presented (`bvalid` = 1) from cycle
   max(t + L, cycle after the previous response was accepted) on, where t is the cycle in which its
   last beat reached memory; responses come in the order of the addresses.
6. Channels are independent: reads and writes do not slow one another. Any number may be open.
7. A beat that overlaps a range of `faults` is answered with SLVERR, one outside memory with DECERR;
   it writes nothing and reads 0xA5 bytes. A write burst answers with its worst beat.
8. While `rvalid` is 0, `rdata` is 0xA5 bytes.

The inputs of the machine are registers of a module around it, so a cycle is evaluated once.

Cycle 0 is the first cycle with `rst` low; the memory's clock and every cycle in an `Outcome` count
from it. The control port offers address and data of a write together, in the cycle that follows the
previous operation, and takes responses at once.

With `stall` > 0, each channel on both ports closes at random, in runs of 1 to `stall_cycles`
cycles: ready falls, or a valid that was due comes later (once high, it stays). Results must not
change; cycles will.

What is checked on the way, and makes a job fail: valid and payload stay until ready; INCR bursts of
full-width beats inside 4 KiB; `wlast` at the last beat; no response on `s_axil` before its request;
assertions in the RTL. Reads and writes that overlap while both are open are counted as `hazards`:
AXI leaves their order open, so a program that relies on it is wrong.

What is not covered: AXI IDs other than 0; narrow, FIXED and WRAP bursts; exclusive access; a second
clock.
"""

import contextlib
import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from einchip.verify import verilator
from einchip.verify.jobs import Job, Result, decode_results, encode_jobs
from einchip.verify.ports import Port, read_ports
from einchip.verify.probes import Probe, control_file

TOP = "einchip_top"
#: The module around it, which has registers before its inputs.
SURROUNDINGS = "einchip_harness"
#: The machine in Verilator's names of scopes.
SCOPE = f"TOP.{SURROUNDINGS}.{TOP}"
#: Verilator's; one thread, and nothing is public but what `build` is told.
OPTIONS = (
    "--cc", "--exe", "--top-module", SURROUNDINGS, "--prefix", "Vtop", "-o", "simulator",
    "-O3", "--x-assign", "fast", "--x-initial", "fast", "--assert", "--no-timing",
    "-Wno-fatal", "-Wno-lint",
)  # fmt: skip
#: Objects of Verilator's own sources.
RUNTIME = ("verilated.o", "verilated_threads.o")
SOURCES = tuple(
    Path(__file__).with_name(name)
    for name in ("harness.cpp", "harness_jobs.h", "harness_memory.h", "harness_record.h")
)
#: Formats of waves.
WaveFormat = Literal["vcd", "fst", "saif"]


class HarnessError(Exception):
    """The simulator stopped, or the machine broke a rule of its interfaces."""


@dataclass(frozen=True)
class Hook:
    """A way inside the machine, for `Peek` and `Poke`.

    Parameters
    ----------
    header
        C++ that defines two functions, which return false for what they don't know:
        `bool einchip_peek(Vtop& top, uint32_t space, uint64_t address, uint8_t* bytes, uint64_t n)`
        and `bool einchip_poke(...)` with `const uint8_t* bytes`; both `static`.
    control
        A Verilator control file that makes the signals visible that the header reaches through
        `top.rootp` (as `einchip_harness__DOT__einchip_top__DOT__...`), such as
        `public_flat_rw -module "einchip_top.x" -var "bank"`.

    Both meet the machine in the last cycle, before the edge that ends it.
    """

    header: str
    control: str


@dataclass(frozen=True)
class Harness:
    """A compiled machine."""

    executable: Path
    port_bytes: int
    traced: bool

    def run(
        self,
        jobs: Sequence[Job],
        *,
        trace: Path | None = None,
        probes: Sequence[Probe] = (),
        samples: Path | None = None,
        check: bool = True,
    ) -> list[Result]:
        """Run jobs in one process, and return a result for each.

        Parameters
        ----------
        jobs
            Run in this order.
        trace
            Record waves of the only job; needs `build(..., traced=True)`.
        probes, samples
            Record these signals of the only job, among those that are visible, in a file for
            `probes.read_samples`. Both record the whole job, or what its `Record`s say.
        check
            Raise if the machine broke a rule of its interfaces or failed an assertion. A `Status`
            other than OK never raises.

        Raises
        ------
        HarnessError
            Such a violation, or the simulator stopped.
        """
        if any(job.memory_bytes % self.port_bytes for job in jobs):
            raise ValueError(f"memory_bytes must be a multiple of {self.port_bytes}")
        if trace and (not self.traced or len(jobs) != 1):
            raise ValueError("a trace needs build(..., traced=True) and exactly one job")
        if samples and len(jobs) != 1:
            raise ValueError("samples need exactly one job")
        with tempfile.TemporaryDirectory() as directory:
            asked, answered = Path(directory) / "jobs", Path(directory) / "results"
            asked.write_bytes(encode_jobs(jobs))
            command = [self.executable, asked, answered]
            if trace or samples:
                names = Path(directory) / "signals"
                names.write_text("".join(f"{p.scope}\t{p.identifier}\n" for p in probes))
                command += [names, samples or Path("-"), trace or Path("-")]
            process = subprocess.run(command, capture_output=True, text=True, check=False)
            if process.returncode:
                raise HarnessError(
                    f"{self.executable} returned {process.returncode}: {process.stderr.strip()}"
                )
            results = decode_results(answered.read_bytes(), len(jobs))
        if check:
            for index, result in enumerate(results):
                if result.violations:
                    raise HarnessError(
                        f"job {index}: {result.violations} violations, the first in "
                        f"{result.first_violation}\n{result.printed}".strip()
                    )
        return results


def build(
    verilog: str | Path,
    build_dir: Path,
    port_bytes: int,
    *,
    hook: Hook | None = None,
    traced: bool = False,
    waves: WaveFormat = "vcd",
    visible: Sequence[Probe] = (),
    optimize: str = "-O1",
    jobs: int = 2,
) -> Harness:
    """Compile the machine, or find it compiled.

    Parameters
    ----------
    verilog
        The text, or a file, that holds `einchip_top`.
    build_dir
        Holds one folder for each set of inputs ever built; safe to share between processes.
    port_bytes
        Width of the `m_axi` data, a power of two.
    hook
        A way inside the machine.
    traced, waves
        Able to record waves, in this format; three times slower even when it does not.
    visible
        Signals that `Harness.run` can sample.
    optimize
        For the C++ compiler.
    jobs
        Compilers at a time.

    Raises
    ------
    ValueError
        The ports are not those of the machine above.
    VerilatorError
        The build failed; the message holds its output.
    """
    text = verilog.read_text() if isinstance(verilog, Path) else verilog
    text += _surroundings(_check_ports(text, port_bytes))
    tool = verilator.find()
    config = (
        f"#define EINCHIP_PORT_BYTES {port_bytes}\n#define EINCHIP_HOOK {int(hook is not None)}\n"
    )
    controls = {"visible.vlt": control_file(visible)} if visible else {}
    if hook:
        controls["hook.vlt"] = hook.control
    tracing = [f"--trace-{waves}"] if traced else []
    inputs = [text, config, *(path.read_text() for path in SOURCES), optimize, *tracing, *OPTIONS]
    inputs += [tool.wheel, tool.version, *([hook.header] if hook else []), *controls.values()]
    key = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]
    directory = build_dir.resolve() / key
    executable = directory / "simulator"

    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory / "lock"):
        if not executable.exists():
            work = directory / "work"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            files = {f"{TOP}.v": text, "einchip_config.h": config, **controls}
            if hook:
                files["einchip_hook.h"] = hook.header
            for name, content in files.items():
                (work / name).write_text(content)
            _compile(tool, work, [*tracing, *controls], optimize=optimize, jobs=jobs)
            (work / "simulator").rename(executable)
            (work / f"{TOP}.v").rename(directory / f"{TOP}.v")
            shutil.rmtree(work)
    return Harness(executable, port_bytes, traced)


def _compile(
    tool: verilator.Verilator, work: Path, options: Sequence[str], *, optimize: str, jobs: int
) -> None:
    tool.run([*OPTIONS, "--Mdir", work, *options, f"{TOP}.v", SOURCES[0]], cwd=work)
    flags = {"OPT_FAST": optimize, "OPT_GLOBAL": optimize, "OPT_SLOW": "-O0"}
    waves = "".join(o.removeprefix("--trace-") for o in options if o.startswith("--trace")) or "0"
    kept = work.parent.parent / f"runtime_{tool.version}_{tool.wheel}_{optimize}_{waves}"
    for name in RUNTIME:
        if (kept / name).exists():
            shutil.copy2(kept / name, work / name)
    tool.make("Vtop.mk", work, flags, jobs)
    _keep(work, kept)


def _keep(work: Path, kept: Path) -> None:
    """Keep the objects of Verilator's own sources, which are a fourth of a small machine's build.

    They depend on version and flags alone. Whoever comes first puts them there, whole.
    """
    if kept.exists() or not all((work / name).exists() for name in RUNTIME):
        return
    fresh = Path(tempfile.mkdtemp(dir=kept.parent))
    for name in RUNTIME:
        shutil.copy2(work / name, fresh / name)
    try:
        fresh.rename(kept)
    except OSError:  # somebody was quicker
        shutil.rmtree(fresh)


def _surroundings(ports: Mapping[str, Port]) -> str:
    """Return a module of the same ports, in which every input but the clock is a register.

    So nothing follows from an input before the next edge, and the model is evaluated once a cycle.
    """
    lines = [f"\nmodule {SURROUNDINGS}({', '.join(ports)});"]
    for p in ports.values():
        lines.append(f"  {p.direction} [{p.width_bits - 1}:0] {p.name};")
    inputs = [p for p in ports.values() if p.direction == "input" and p.name != "clk"]
    for p in inputs:
        lines.append(f"  reg [{p.width_bits - 1}:0] {p.name}_now;")
        lines.append(f"  always @(posedge clk) {p.name}_now <= {p.name};")
    registered = {p.name for p in inputs}
    wires = [f".{name}({name}{'_now' if name in registered else ''})" for name in ports]
    return "\n".join([*lines, f"  {TOP} {TOP}({', '.join(wires)});", "endmodule", ""])


def _check_ports(verilog: str, port_bytes: int) -> dict[str, Port]:
    if port_bytes < 1 or port_bytes & (port_bytes - 1):
        raise ValueError(f"port_bytes must be a power of two, not {port_bytes}")
    ports = read_ports(verilog, TOP)
    problems = []
    for name, (direction, width_bits) in _expected_ports(port_bytes).items():
        port = ports.get(name)
        if port is None:
            problems.append(f"{name} is missing")
        elif port.direction != direction or width_bits not in (0, port.width_bits):
            problems.append(f"{name} is an {port.direction} of {port.width_bits} bits")
    if problems:
        raise ValueError(f"{TOP} has other ports: " + ", ".join(problems))
    return ports


def _expected_ports(port_bytes: int) -> dict[str, tuple[str, int]]:
    """Return direction and width by name; the width of an address (0) is the machine's choice."""
    slave_in = {"awaddr": 0, "awvalid": 1, "wdata": 32, "wstrb": 4, "wvalid": 1, "bready": 1}
    slave_in |= {"araddr": 0, "arvalid": 1, "rready": 1}
    slave_out = {"awready": 1, "wready": 1, "bresp": 2, "bvalid": 1, "arready": 1}
    slave_out |= {"rdata": 32, "rresp": 2, "rvalid": 1}
    master_out = {"wdata": 8 * port_bytes, "wstrb": port_bytes, "wlast": 1, "wvalid": 1}
    master_out |= {"bready": 1, "rready": 1}
    for channel in ("aw", "ar"):
        master_out |= {f"{channel}addr": 0, f"{channel}len": 8, f"{channel}size": 3}
        master_out |= {f"{channel}burst": 2, f"{channel}valid": 1}
    master_in = {"awready": 1, "wready": 1, "bresp": 2, "bvalid": 1, "arready": 1}
    master_in |= {"rdata": 8 * port_bytes, "rresp": 2, "rlast": 1, "rvalid": 1}
    expected = {"clk": ("input", 1), "rst": ("input", 1), "irq": ("output", 1)}
    for prefix, direction, group in (
        ("s_axil__", "input", slave_in),
        ("s_axil__", "output", slave_out),
        ("m_axi__", "input", master_in),
        ("m_axi__", "output", master_out),
    ):
        expected |= {prefix + name: (direction, width) for name, width in group.items()}
    return expected


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock, a file, against other processes."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
