"""What a report says, as data: `einchip report --json` writes `Report`; its schema is schema.json.

Cycles are cycles of the machine, energies picojoules, sizes elements or bytes as named. Figures
"of all runs" are sums over the runs in the folder, as `einchip simulate` prints them; figures "as
recorded" are of the runs that `Recorded` names.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from einchip.arch import Architecture

VERSION: Final = 1


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileHash(_Strict):
    """A file of the folder, as it was read."""

    name: str
    n_bytes: int
    sha256: str


class Made(_Strict):
    """What made the report. `config_hash` is the register CONFIG_HASH of the machine."""

    command: str
    folder: str
    versions: dict[str, str]
    config_hash: str
    files: tuple[FileHash, ...]


class RunFigures(_Strict):
    """A run of the folder: one sequence, or several side by side."""

    n_steps: int
    sequences: tuple[int, ...]
    cycles: int
    bound_cycles: int


class Headline(_Strict):
    """The figures of all runs; `ratio` is `cycles` over `bound_cycles`."""

    model: str
    machine: str
    n_runs: int
    batch: int
    n_steps: int
    cycles: int
    cycles_per_step: float
    bound_cycles: int
    ratio: float
    macs: int
    macs_per_cycle: float
    multipliers: int
    multiplier_use: float
    energy_pj: float
    energy_chip_pj: float
    energy_per_step_pj: float
    memory_latency: int
    program_words: int
    weights_bytes: int


class Counter(_Strict):
    """A performance counter, all runs together."""

    name: str
    meaning: str
    value: int


class UnitState(_Strict):
    """Cycles of all runs that a unit was in a state; those of a unit add up to all cycles."""

    unit: str
    state: str
    meaning: str
    cycles: int
    share: float


class Recorded(_Strict):
    """What was gone through cycle by cycle. `whole`: all runs of the folder, every cycle of them.

    `n_steps` of each run, and how often it counts. `rule` says in words what was left out.
    """

    whole: bool
    n_steps: tuple[int, ...]
    times: tuple[int, ...]
    cycles: int
    rule: str


class Loss(_Strict):
    """Cycles of the unit in question by cause; `operation` is where most of them are, if known."""

    name: str
    cause: str
    cycles: float
    share: float
    operation: str


class TokenWait(_Strict):
    """Cycles, as recorded, that a unit waited for another one's last token."""

    unit: str
    operation: str
    for_unit: str
    for_operation: str
    cycles: int


class Bottleneck(_Strict):
    """Why it is not faster: the unit that is busy longest, and what it spends all cycles on.

    `busy_cycles`: cycles with an instruction in execution; `work_cycles`: those in which it did
    something; `floor_cycles`: those that its work would take if nothing held it up. The floor and
    the `losses` add up to all cycles. `cause` is the largest loss; without it `won_cycles` would be
    won at most, since what waits behind it may begin to wait for something else.
    """

    unit: str
    work_cycles: int
    busy_cycles: int
    floor_cycles: float
    floor: str
    cause: str
    won_cycles: float
    sentence: str
    losses: tuple[Loss, ...]
    waits: tuple[TokenWait, ...]


class Lanes(_Strict):
    """A group of factors of a step's fold: index and count of each."""

    group: Literal["m", "n", "k", "b", "h", "q"]
    factors: dict[str, int]


class Contraction(_Strict):
    """What a contraction step computes; elements of the whole tensors.

    `intensity` is MACs per element of the largest tensor; `roof` what the machine could do at that
    intensity, `achieved` what it did while the array executed it, both in MACs per cycle. `limit`
    is what sets the roof: the multipliers, or the scratchpads' ports for that tensor.
    """

    network: int
    einsum: str
    left: str
    right: str
    x_elements: int
    y_elements: int
    result_elements: int
    utilisation: float
    intensity: float
    roof: float
    limit: Literal["multipliers", "reads of X", "reads of Y", "results"]
    achieved: float
    lanes: tuple[Lanes, ...]
    loop_nest: str


class StepFigures(_Strict):
    """An operation of the run program: a contraction step, a cell, a transfer, a fill or a copy.

    `number` is its place in the order of the program; `macs`, `executions` and `energy_pj` are of
    all runs; `recorded_executions` and `cycles` (by state, waiting in front of it included) as
    recorded.
    """

    number: int
    name: str
    kind: str
    unit: str
    parts: tuple[str, ...]
    executions: int
    macs: int
    recorded_executions: int
    cycles: dict[str, int]
    energy_pj: dict[str, float]
    contraction: Contraction | None


class TreeNode(_Strict):
    """A node of a contraction tree: `bond` are the indices, with sizes, of the edge to its parent.

    `number`: of the operation (`StepFigures`), "S1" .. for steps of setup, "" for a leaf.
    """

    name: str
    role: Literal["weight", "data", "result"]
    bond: dict[str, int]
    number: str
    summed: dict[str, int]
    operands: tuple[TreeNode, ...]


class NetworkFigures(_Strict):
    """A network of the mapping; `tree` in words, the `root` as nodes."""

    name: str
    tree: str
    root: TreeNode


class Segment(_Strict):
    """A unit's cycles in one state, from `start` on; `operation` "" where there is none."""

    unit: str
    start: int
    cycles: int
    state: str
    operation: str


class Timeline(_Strict):
    """Every cycle of the first `cycles` cycles of a run of `n_steps`; `run_cycles` has the run.

    `step_start`, `step_end`: cycles of a time step in the steady state, None where there is none.
    """

    n_steps: int
    run_cycles: int
    cycles: int
    rule: str
    step_start: int | None
    step_end: int | None
    segments: tuple[Segment, ...]


class Utilisation(_Strict):
    """Shares over time, bin by bin, of the same run; `multipliers`: MACs over those possible."""

    bin_cycles: int
    units: dict[str, tuple[float, ...]]
    multipliers: tuple[float, ...]


class Life(_Strict):
    """Elements that hold a value from cycle `start` to cycle `end` (not included)."""

    buffer: str
    kind: Literal["constant", "input", "intermediate", "state or output"]
    space: Literal["X", "Y"]
    base: int
    elements: int
    start: int
    end: int


class BufferFigures(_Strict):
    """A buffer's place; `copies` of `elements` each."""

    name: str
    space: Literal["X", "Y"]
    base: int
    elements: int
    copies: int
    constant: bool


class Scratchpad(_Strict):
    """Elements of a scratchpad: there, reserved, and holding a value at most (as drawn)."""

    space: Literal["X", "Y"]
    capacity: int
    placed: int
    peak: int


class MemoryFigures(_Strict):
    """The scratchpads over the time of the timeline."""

    scratchpads: tuple[Scratchpad, ...]
    buffers: tuple[BufferFigures, ...]
    lives: tuple[Life, ...]
    rule: str


class EnergyLine(_Strict):
    """What one kind of action costs in all runs.

    `decides` is the coefficient that this depends on most, with its share where not alone.
    """

    component: str
    action: str
    count: int
    each_pj: float
    total_pj: float
    share: float
    decides: str


class Coefficient(_Strict):
    """An entry of the energy table."""

    name: str
    values: str
    unit: str
    process: str
    source: str
    note: str


class EnergyFigures(_Strict):
    """The energy of all runs.

    `other_pj` is of no operation: instructions of the sequencer alone, program fetch, leakage.
    """

    table: str
    total_pj: float
    by_component_pj: dict[str, float]
    other_pj: dict[str, float]
    lines: tuple[EnergyLine, ...]
    coefficients: tuple[Coefficient, ...]
    notes: tuple[str, ...]


class StepError(_Strict):
    """The error of the answers in one time step, of all sequences that are so long."""

    step: int
    n_sequences: int
    snr_db: float | None
    rms_error: float
    max_error: float


class Accuracy(_Strict):
    """Answers of the folder's program against the float model.

    Accuracies are None where the model is no classifier. `by_step` is of the same model made to
    answer in every time step. `snr_db` is None where there is no error at all.
    """

    model_file: str
    data_file: str
    n_sequences: int
    data_bits: int
    accuracy_float: float | None
    accuracy_fixed: float | None
    snr_db: float | None
    by_step: tuple[StepError, ...]


class FormFigures(_Strict):
    """A model in one form on the machine, over the folder's runs."""

    form: str
    weights: int
    macs_per_step: int
    cycles: int
    bound_cycles: int
    ratio: float
    energy_pj: float
    multiplier_use: float


class DenseComparison(_Strict):
    """The model with dense matrices on the same machine; `forms` has one where it does not fit."""

    sentence: str
    forms: tuple[FormFigures, ...]


class Missing(_Strict):
    """What the report does not have, why, and how to get it."""

    what: str
    why: str


class Report(_Strict):
    """All that a report says."""

    version: Literal[1] = VERSION
    made: Made
    arch: Architecture
    headline: Headline
    bottleneck: Bottleneck
    runs: tuple[RunFigures, ...]
    recorded: Recorded
    units: tuple[UnitState, ...]
    counters: tuple[Counter, ...]
    steps: tuple[StepFigures, ...]
    networks: tuple[NetworkFigures, ...]
    timeline: Timeline
    utilisation: Utilisation
    energy: EnergyFigures
    memory: MemoryFigures
    accuracy: Accuracy | None
    dense: DenseComparison | None
    missing: tuple[Missing, ...]


def percent(share: float) -> str:
    """Return a share as text."""
    return f"{100 * share:.1f} %"
