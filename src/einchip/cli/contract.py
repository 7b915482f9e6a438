"""`einchip contract`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from einchip.cli.common import (
    FAILED,
    OUTPUT,
    Arch,
    Budget,
    EnergyTable,
    Json,
    Latency,
    NoMerge,
    Objective,
    Overrides,
    architecture,
    command,
    console,
    energy_table,
    fail,
    not_one_of,
    objective_name,
    require_writable,
    say,
    write_json,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from einchip.compiler.contraction import Contracted
    from einchip.reference import Memory
    from einchip.sim import Run

    Arrays = dict[str, NDArray[np.float64]]

#: Most elements of all operands together.
MAX_ELEMENTS: Final = 1 << 24
#: Seed of the values that stand in without a file.
SEED: Final = 0


def load_arrays(path: Path) -> Arrays:
    """Return the arrays of an .npz file in its order, as float64."""
    import numpy as np

    from einchip.models.npz import read_npz

    found = read_npz(path)
    for name, array in found.items():
        if array.dtype.kind not in "iuf":
            fail(f"{path}: {name}: found {array.dtype} values, expected real numbers")
    check_elements(str(path), sum(array.size for array in found.values()))
    return {name: array.astype(np.float64) for name, array in found.items()}


def check_elements(source: str, n_elements: float) -> None:
    """Fail where operands have more elements together than any machine could use."""
    if n_elements > MAX_ELEMENTS:
        fail(f"{source}: found more than {MAX_ELEMENTS} elements, expected at most these")


def random_arrays(shapes: str) -> Arrays:
    """Return standard normal values for shapes such as "4x5,5x6"; "" is a scalar."""
    import numpy as np

    found_shapes = []
    for text in shapes.replace(" ", "").split(","):
        sizes = text.split("x") if text else []
        if not all(s.isascii() and s.isdigit() and len(s) < 20 and int(s) > 0 for s in sizes):
            fail(f"--shapes: found {text!r}, expected sizes such as 4x5")
        found_shapes.append(tuple(int(s) for s in sizes))
    check_elements("--shapes", sum(np.prod(shape, dtype=float) for shape in found_shapes))
    rng = np.random.default_rng(SEED)
    return {f"T{k}": rng.standard_normal(shape) for k, shape in enumerate(found_shapes)}


def simulated(made: Contracted, latency: int) -> tuple[Run, Memory]:
    """Run setup and run on the simulator; return the run and the memory it left."""
    from einchip.sim import simulate

    memory = made.memory()
    arch = made.mapping.arch
    simulate(made.programs.setup, arch, memory=memory, latency=latency)
    run = simulate(made.programs.run, arch, memory=memory, latency=latency, fetch=False)
    if run.error:
        fail(f"the machine stopped with {run.error[0].name}", FAILED)
    return run, memory


def check_on_rtl(made: Contracted, run: Run, memory: Memory, latency: int) -> None:
    """Run the RTL under Verilator; fail where it differs from the simulator."""
    from einchip.reference import Host
    from einchip.verify.machine import DEFAULT_CACHE, RtlError, RtlMachine, Start, words_that_differ
    from einchip.verify.verilator import VerilatorError

    starts = [Start(p, Host()) for p in (made.programs.setup, made.programs.run)]
    try:
        with console.status("RTL under Verilator"):
            rtl = RtlMachine.build(made.mapping.arch, DEFAULT_CACHE)
            found = rtl.run(starts, made.memory(), latency=latency)
    except (RtlError, VerilatorError) as error:
        fail(error, FAILED)
    except OSError as error:
        fail(f"{DEFAULT_CACHE}: cannot build the simulator there: {error.strerror}")
    words = sum(len(places) for places in words_that_differ(memory, found.memory).values())
    say(f"RTL: {words} differing words")
    if words or found.runs[-1].error:
        fail("the RTL differs from the simulator", FAILED)


def save(path: Path, values: NDArray[np.float64]) -> None:
    """Write the result as an .npz file."""
    import io

    import numpy as np

    from einchip.files import write_bytes

    buffer = io.BytesIO()
    np.savez(buffer, result=values)
    try:
        write_bytes(path, buffer.getvalue())
    except OSError as error:
        fail(f"{path}: cannot write: {error.strerror}")


def operands(einsum: str, tensors: Path | None, shapes: str | None) -> Arrays:
    """Return the operands from the one or the other source."""
    if (tensors is None) == (shapes is None):
        fail("TENSORS: expected a file of tensors or --shapes, one of them")
    found = load_arrays(tensors) if tensors is not None else random_arrays(shapes or "")
    n_terms = einsum.split("->")[0].count(",") + 1
    if len(found) != n_terms:
        fail(f"{tensors or '--shapes'}: found {len(found)} tensors, expected {n_terms}")
    return found


@command
def contract(
    einsum: Annotated[str, typer.Argument(metavar="EINSUM", help='such as "ab,bc,cd->ad"')],
    tensors: Annotated[
        Path | None, typer.Argument(metavar="TENSORS", help="operands in their order (.npz)")
    ] = None,
    shapes: Annotated[
        str | None, typer.Option(metavar="AxB,..", help="random operands of these shapes")
    ] = None,
    arch: Arch = "base",
    overrides: Overrides = None,
    resident: Annotated[
        list[str] | None,
        typer.Option(metavar="T0", help="operand on the chip before (T0, T1, .. by place)"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="the result (.npz)", rich_help_panel=OUTPUT
        ),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="run the RTL, too")] = False,
    no_merge: NoMerge = False,
    objective: Objective = "cycles",
    budget: Budget = 10.0,
    prices: EnergyTable = "horowitz45",
    latency: Latency = 8,
    json_file: Json = None,
) -> None:
    """Contract any tensors: quantised, mapped, simulated, and compared with float64.

    Examples
    --------
    einchip contract "ab,bc,cd->ad" --shapes 4x5,5x6,6x3
    einchip contract "ab,bc,cd->ad" TENSORS.npz -o result.npz
    """
    from einchip import energy
    from einchip.compiler.contraction import contract as contract_network
    from einchip.network import Network, NetworkError

    machine, table = architecture(arch, overrides), energy_table(prices)
    aim = objective_name(objective)
    require_writable(json_file)
    require_writable(output)
    found = list(operands(einsum, tensors, shapes).values())
    try:
        network = Network.from_einsum(einsum, [a.shape for a in found])
        arrays = dict(zip(network.tensors, found, strict=True))
        for name in resident or []:
            if name not in arrays:
                fail(not_one_of("--resident", name, arrays))
        with console.status("mapping") as status:
            made = contract_network(
                network,
                arrays,
                machine,
                resident or [],
                merge=not no_merge,
                objective=aim,
                table=table,
                budget=budget,
                progress=lambda done: status.update(done.text()),
            )
            bound = made.roofline.cycles if not made.mapping.large else None
            run, memory = simulated(made, latency)
        expected = network.contract(arrays)
    except NetworkError as error:
        fail(error)
    spent = energy.energy(run.counters, machine, table)
    result = made.result(memory)
    figures = figures_of(made, run.cycles, bound, expected, result)
    figures["energy_pj"] = spent.total_pj
    report(figures, machine.name, machine.data_bits)
    if verify:
        check_on_rtl(made, run, memory, latency)
    if output is not None:
        save(output, result)
    write_json(json_file, {**figures, "counters": run.counters, "fracs": dict(made.fracs)})


def figures_of(
    made: Contracted, cycles: int, bound: int | None, expected: NDArray[np.float64], found: Any
) -> dict[str, Any]:
    """Return the figures of a run; a signal-to-noise ratio that is not finite is null."""
    import math

    from einchip.compiler.scales import snr_db

    snr = snr_db(expected, found)
    return {
        "einsum": made.mapping.network.einsum(),
        "tree": made.mapping.part.tree,
        "merged": {m.name: list(m.parts) for m in made.mapping.merged},
        "macs": made.mapping.macs,
        "macs_naive": made.mapping.macs_naive,
        "exact": snr == math.inf,
        "snr_db": snr if math.isfinite(snr) else None,
        "cycles": cycles,
        "bound_cycles": bound,
        "ratio": cycles / bound if bound else None,
        "objective": made.mapping.objective,
        "scores": dict(made.mapping.scores),
        "searched": made.mapping.searched,
    }


def report(figures: dict[str, Any], name: str, data_bits: int) -> None:
    """Print the figures."""
    ratio = figures["snr_db"]
    snr = "exact" if figures["exact"] else "none" if ratio is None else f"{ratio:.1f} dB"
    say(f"{figures['tree']} on {name}, {data_bits} bit: {figures['macs']:,} MACs")
    for name, parts in figures["merged"].items():
        say(f"  merged beforehand                 {name} of {', '.join(parts)}")
    say(f"  signal to noise, against float64  {snr}")
    bound = "too many contraction trees for a bound"
    if figures["ratio"] is not None:
        bound = f"{figures['ratio']:.2f} x the bound of {figures['bound_cycles']:,}"
    say(f"  cycles                            {figures['cycles']:,} ({bound})")
    say(f"  energy                            {figures['energy_pj'] / 1000:,.2f} nJ")
    costs = ", ".join(f"{name} {value:,.0f}" for name, value in figures["scores"].items())
    say(f"  tree, by {figures['objective']:<25}{costs}")
    say(f"  {figures['searched']}")
