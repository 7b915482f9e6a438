"""The Architecture: one frozen, validated description of a machine, with named presets.

Everything that the mapper, the simulator and the RTL must agree on about a machine's shape and its
pipeline depths is stated or derived here, once. `docs/timing.md` says what the depths mean.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from einchip.files import YamlError, read_marked
from einchip.mistakes import did_you_mean, first_mistake

#: Elements of a scratchpad that an instruction can address.
ADDRESSABLE: Final = 1 << 20
#: Cycles from a read's grant to the cycle in which its data stand in the port's output register:
#: lane addresses, bank, crossbar.
READ_LATENCY: Final = 3
#: Cycles from a write's grant to the clock edge that writes the banks: lane addresses, bank.
WRITE_LATENCY: Final = 2
#: Cycles of the multiplier.
MULTIPLY_LATENCY: Final = 1
#: Cycles of the register that holds a row operand, on machines whose fold holds operands.
HOLD_LATENCY: Final = 1
#: Cycles of a requantiser: shift, then round and saturate.
REQUANTISE_LATENCY: Final = 2
#: Cycles of an activation: table address, table, interpolation, sign.
ACTIVATION_LATENCY: Final = 4
#: Cycles from the grant of a vector's last read to its destination's write being ready, of the
#: cells; and to that of the first plane of its state. docs/timing.md says how they come about.
LSTM_LATENCY: Final = (
    1 + READ_LATENCY + 4 * REQUANTISE_LATENCY + 2 * ACTIVATION_LATENCY + 2 * MULTIPLY_LATENCY
)
LSTM_STATE_LATENCY: Final = LSTM_LATENCY - 3
PEEPHOLE_LATENCY: Final = 23
PEEPHOLE_STATE_LATENCY: Final = 21
GRU_LATENCY: Final = 20
GRU_STATE_LATENCY: Final = 18
GRU_RESET_LATENCY: Final = 12
GRU_UPDATE_LATENCY: Final = 16
GRU_UPDATE_STATE_LATENCY: Final = 14
#: Cycles from a copied vector's read grant (or a filled vector's issue) to its write being ready.
COPY_LATENCY: Final = READ_LATENCY
#: Writes that the vector unit may have between issue and grant, a power of two. An LSTM
#: that starts a vector every four cycles has up to 19, its latency long.
VECTOR_WRITES: Final = 32
#: Accumulators of a PE whose fold holds operands, if not said otherwise, and at most.
USUAL_ACCUMULATORS: Final = 16
MAX_ACCUMULATORS: Final = 64
#: Read bursts that may miss their last beat, a power of two.
READ_BURSTS: Final = 4
#: Written bursts that may miss their response, a power of two.
WRITE_BURSTS: Final = 4
#: Beats that a store may hold between its read grant and the memory port.
STORE_BEATS: Final = 8
#: The scratchpad that each read port reads: X, Y, X's window, Y's window.
PORT_SPACES: Final = (0, 1, 0, 1)
#: The read ports of the windows of X and of Y.
WINDOW_PORTS: Final = (2, 3)


#: The recurrent cells that a machine's vector unit may execute (`models`, docs/isa.md).
CellName = Literal["lstm", "peephole", "gru", "gru_before"]
CELLS: Final[tuple[CellName, ...]] = get_args(CellName)


def _cells(found: object) -> object:
    """Return the cells in a list, or in a text like "lstm+gru" or "none", as a tuple."""
    if isinstance(found, str):
        return () if found == "none" else tuple(name.strip() for name in found.split("+"))
    return tuple(found) if isinstance(found, list) else found


#: Some of CELLS; in its order, each once.
Cells = Annotated[
    tuple[CellName, ...],
    BeforeValidator(_cells),
    AfterValidator(lambda names: tuple(name for name in CELLS if name in names)),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"enum": list(CELLS)}},
                {
                    "type": "string",
                    "description": "names joined by +, or none",
                    "examples": ["lstm", "lstm+gru", "none"],
                },
            ],
        }
    ),
]

#: Where fields are from, or what says it of the field that keys and numbers lead to.
Source = str | Callable[[tuple[str | int, ...]], str]


class ArchError(ValueError):
    """An architecture that cannot be built; the message is one line: source, field, what to do."""


def clog2(n: int) -> int:
    """Return the number of bits that count `n` values: ceil(log2(n))."""
    return (n - 1).bit_length()


class Architecture(BaseModel):
    """One machine.

    A scratchpad has `lanes` banks of `x_depth` (`y_depth`) elements of `data_bits` bits; element
    address a lies in bank a mod lanes, row a div lanes. The array has rows x cols processing
    elements; rows take their operand from X, columns from Y. One beat of the memory port carries
    `port_bytes` bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "custom"
    fold: Literal["ip", "op", "hybrid", "flex"] = Field(
        default="hybrid",
        description="how CONTRACTs may fold the array: inner product only, outer product only, "
        "diagonal blocks between the two, diagonal blocks and held row operands",
    )
    accumulators: int = Field(
        default=0,
        description="accumulators of a PE, half of them for a tile; 0 = the fold's usual number",
    )
    rows: int = Field(
        ge=1,
        le=64,
        description="rows of PEs, fed from X; 1 row of 1 column: a serial machine (docs/serial.md)",
    )
    cols: int = Field(ge=1, le=64, description="columns of PEs, fed from Y")
    lanes: int = Field(ge=2, le=64, description="elements per scratchpad access = banks")
    data_bits: Literal[8, 16] = Field(default=8, description="width of weights and activations")
    acc_bits: int = Field(default=0, description="width of an accumulator; 0 = 2 * data_bits + 16")
    x_depth: int = Field(ge=16, description="rows of scratchpad X (elements per bank)")
    y_depth: int = Field(ge=16, description="rows of scratchpad Y (elements per bank)")
    x_window: int = Field(
        default=0,
        ge=0,
        description="last rows of scratchpad X that have a second read port, not for the array",
    )
    y_window: int = Field(default=0, ge=0, description="the same of scratchpad Y")
    port_bytes: Literal[2, 4, 8, 16] = Field(description="bytes per beat of the memory port")
    program_words: int = Field(
        default=512, ge=32, le=65536, description="128-bit words of program memory"
    )
    burst_beats: int = Field(
        default=64, ge=1, le=256, description="longest burst of the memory port"
    )
    cells: Cells = Field(
        default=CELLS,
        description="recurrent cells of the vector unit, a list or joined by +; fewer take less",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for field in (
            "rows",
            "cols",
            "lanes",
            "x_depth",
            "y_depth",
            "program_words",
            "burst_beats",
        ):
            n = getattr(self, field)
            if n & (n - 1):
                raise ValueError(f"{field}: found {n}, expected a power of two")
        for field, space in (("x_window", 0), ("y_window", 1)):
            n, depth = self.window(space), self.depth(space)
            if n & (n - 1) or n > depth // 2:
                raise ValueError(
                    f"{field}: found {n}, expected 0 or a power of two up to half of the "
                    f"{depth} rows of {'XY'[space]}"
                )
        for field in ("rows", "cols"):
            if getattr(self, field) > self.lanes:
                raise ValueError(
                    f"{field}: found {getattr(self, field)}, expected at most the {self.lanes} "
                    "lanes that feed it; raise lanes or lower it"
                )
        self._check_serial()
        if self.accumulators == 0:
            object.__setattr__(self, "accumulators", USUAL_ACCUMULATORS if self.holds else 2)
        n, most = self.accumulators, MAX_ACCUMULATORS if self.holds else 2
        if not 2 <= n <= most or n & (n - 1):
            raise ValueError(
                f"accumulators: found {n}, expected a power of two from 2 to {most} "
                f"with fold {self.fold}"
            )
        if self.acc_bits == 0:
            object.__setattr__(self, "acc_bits", 2 * self.data_bits + 16)
        low, high = 2 * self.data_bits + 1, 62
        if not low <= self.acc_bits <= high:
            raise ValueError(f"acc_bits: found {self.acc_bits}, expected {low} to {high}")
        if self.port_elements > self.lanes:
            raise ValueError(
                f"port_bytes: found {self.port_bytes} ({self.port_elements} elements a beat), "
                f"expected at most the {self.lanes} lanes that take them"
            )
        for field, depth in (("x_depth", self.x_depth), ("y_depth", self.y_depth)):
            if depth * self.lanes > ADDRESSABLE:
                raise ValueError(
                    f"{field}: found {depth} rows of {self.lanes} elements, expected at most "
                    f"{ADDRESSABLE} elements, which an instruction can address"
                )
        return self

    def _check_serial(self) -> None:
        """Check what a machine of one multiplier cannot be. Raises ValueError."""
        if not self.serial:
            for field in ("rows", "cols"):
                if getattr(self, field) < 2:
                    raise ValueError(
                        f"{field}: found 1, expected at least 2; a serial machine has 1 of both"
                    )
            return
        if self.fold != "op":
            raise ValueError(
                f"fold: found {self.fold}, expected op, since one multiplier has nothing to fold"
            )
        for field, space in (("x_window", 0), ("y_window", 1)):
            if self.window(space):
                raise ValueError(
                    f"{field}: found {self.window(space)}, expected 0, since a serial machine "
                    "reads one element after the other"
                )

    # --- derived ---------------------------------------------------------------------------
    @property
    def serial(self) -> bool:
        """Whether the machine has one multiplier, and does one thing after the other."""
        return self.rows == self.cols == 1

    @property
    def n_pes(self) -> int:
        """Multipliers of the array."""
        return self.rows * self.cols

    @property
    def element_bytes(self) -> int:
        """Bytes of one element in external memory."""
        return self.data_bits // 8

    @property
    def port_elements(self) -> int:
        """Elements per beat of the memory port."""
        return self.port_bytes // self.element_bytes

    @property
    def cell_planes(self) -> int:
        """Vectors of elements that one vector of 16-bit cell states takes."""
        return 16 // self.data_bits

    @property
    def cell_names(self) -> str:
        """The cells in a word, as `cells` takes them: "lstm+gru", "none"."""
        return "+".join(self.cells) or "none"

    def depth(self, space: int) -> int:
        """Rows of scratchpad X (0) or Y (1)."""
        return self.y_depth if space else self.x_depth

    def window(self, space: int) -> int:
        """Rows of the window of scratchpad X (0) or Y (1): its last ones, kept twice."""
        return self.y_window if space else self.x_window

    @property
    def windows(self) -> tuple[int, ...]:
        """The scratchpads that have a window."""
        return tuple(space for space in (0, 1) if self.window(space))

    def capacity(self, space: int) -> int:
        """Elements of scratchpad X (0) or Y (1)."""
        return self.lanes * self.depth(space)

    def window_base(self, space: int) -> int:
        """First address of a scratchpad's window, which has a second read port."""
        return (self.depth(space) - self.window(space)) * self.lanes

    def in_window(self, space: int, address: int) -> bool:
        """Whether an address of scratchpad X (0) or Y (1) lies in its window."""
        return self.window_base(space) <= address < self.capacity(space)

    def read_port(self, space: int, address: int) -> int:
        """Return the read port of a stream that begins at this address: 0, 1 or a WINDOW_PORT.

        Strides are never negative, so that what begins in a window stays in it. The operands of
        the array are always read through ports 0 and 1.
        """
        return WINDOW_PORTS[space] if self.in_window(space, address) else space

    def address_bits(self, space: int) -> int:
        """Bits of an element address in scratchpad X (0) or Y (1)."""
        return clog2(self.capacity(space))

    @property
    def stride_bits(self) -> int:
        """Bits of a stride: any below twice the elements of the larger scratchpad can be stated.

        So a loop over the whole scratchpad that runs once needs no other stride than one that does
        not, and addresses inside the machine are as narrow as its scratchpads allow.
        """
        return min(clog2(ADDRESSABLE), 1 + max(self.address_bits(space) for space in (0, 1)))

    @property
    def holds(self) -> bool:
        """Whether the array can hold row operands while column operands pass."""
        return self.fold in ("ip", "flex")

    @property
    def blocks(self) -> bool:
        """Whether CONTRACTs can fold the array into diagonal blocks."""
        return self.fold in ("hybrid", "flex")

    @property
    def tile_accumulators(self) -> int:
        """Accumulators of a PE that one tile may use."""
        return self.accumulators // 2

    @property
    def accumulate_latency(self) -> int:
        """Cycles from an iteration's issue to the cycle in which accumulators hold its products.

        Read, hold register (where there is one), multiplier, adder tree over the rows (inner
        product only), accumulator.
        """
        tree = clog2(self.rows) if self.fold == "ip" else 0
        return READ_LATENCY + HOLD_LATENCY * self.holds + MULTIPLY_LATENCY + tree + 1

    @property
    def drain_latency(self) -> int:
        """Cycles from a drained row's issue to its write's grant.

        Accumulator select, one stage per level of the adder tree over blocks (where the fold has
        blocks), addend, requantise, activation, requantise of the activation's result. An addend
        takes READ_LATENCY cycles, so there are at least as many stages before it is added.
        """
        tree = clog2(self.cols) if self.blocks else 0
        return max(1 + tree, READ_LATENCY) + 1 + 2 * REQUANTISE_LATENCY + ACTIVATION_LATENCY

    @property
    def setup_cycles(self) -> int:
        """Cycles that generate an instruction's lane offsets, one lane a cycle."""
        return self.lanes

    @property
    def config_hash(self) -> int:
        """32 bits that tell one hardware configuration from another (the name is left out)."""
        text = json.dumps(self.model_dump(exclude={"name"}), sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")

    def override(self, source: Source = "override", /, **fields: object) -> Architecture:
        """Return a copy with some fields changed, validated anew.

        Raises ArchError when a field is unknown or the result cannot be built.
        """
        base = self.model_dump()
        if fields.get("data_bits", self.data_bits) != self.data_bits and "acc_bits" not in fields:
            base["acc_bits"] = 0
        if fields.get("fold", self.fold) != self.fold and "accumulators" not in fields:
            base["accumulators"] = 0
        for space, name in enumerate("xy"):
            depth = fields.get(f"{name}_depth")
            if isinstance(depth, int) and f"{name}_window" not in fields:
                base[f"{name}_window"] = min(self.window(space), max(0, depth // 2))
        return _build({**base, **fields}, source)


def _build(fields: Mapping[str, object], source: Source) -> Architecture:
    """Validate fields. Raises ArchError."""
    try:
        return Architecture.model_validate(fields)
    except ValidationError as error:
        loc, what = first_mistake(error, Architecture)
        place = source if isinstance(source, str) else source(loc)
        raise ArchError(f"{place}: {what}") from None


PRESETS: Final[dict[str, Architecture]] = {
    a.name: a
    for a in (
        Architecture(
            name="femto",
            fold="op",
            rows=1,
            cols=1,
            lanes=2,
            acc_bits=24,
            x_depth=4096,
            y_depth=4096,
            port_bytes=2,
            cells=("lstm",),
        ),
        Architecture(
            name="pico",
            fold="op",
            rows=2,
            cols=2,
            lanes=2,
            acc_bits=24,
            x_depth=2048,
            y_depth=2048,
            port_bytes=2,
        ),
        Architecture(
            name="nano", rows=4, cols=4, lanes=4, x_depth=2048, y_depth=2048, port_bytes=4
        ),
        Architecture(
            name="small",
            rows=8,
            cols=8,
            lanes=8,
            x_depth=4096,
            y_depth=4096,
            x_window=512,
            y_window=512,
            port_bytes=8,
        ),
        Architecture(
            name="base",
            fold="flex",
            rows=16,
            cols=16,
            lanes=16,
            x_depth=32768,
            y_depth=32768,
            x_window=4096,
            y_window=4096,
            port_bytes=16,
        ),
    )
}


def load(text: str, overrides: Mapping[str, object] | None = None) -> Architecture:
    """Return the preset of that name, or the architecture of that YAML file, with overrides.

    A YAML file gives fields, and may name a preset to start from by `preset: NAME`.
    Raises ArchError with one line on an unknown preset, a bad file or a contradictory parameter.
    """
    if text in PRESETS:
        machine = PRESETS[text]
    elif Path(text).suffix in (".yaml", ".yml"):
        machine = _read(Path(text))
    else:
        raise ArchError(
            f"--arch: found {text!r}, expected one of {', '.join(PRESETS)} or a .yaml file"
            f"{did_you_mean(text, PRESETS)}"
        )
    return machine.override("--set", **overrides) if overrides else machine


def _read(path: Path) -> Architecture:
    """Return the architecture of a YAML file. Raises ArchError."""
    try:
        file = read_marked(path)
    except OSError as error:
        raise ArchError(f"{path}: cannot read the file: {error.strerror}") from None
    except YamlError as error:
        raise ArchError(f"{error.place(path)}: not a YAML file: found {error.found}") from None
    if not isinstance(file.value, dict):
        found = type(file.value).__name__
        raise ArchError(f"{path}: found {found}, expected a mapping of fields")
    fields = dict(file.value)
    if not all(isinstance(key, str) for key in fields):
        raise ArchError(f"{path}: found a field that is no text, expected names of fields")
    preset = fields.pop("preset", None)
    if preset is None:
        return _build({"name": path.stem, **fields}, file.place)
    if preset not in list(PRESETS):
        raise ArchError(
            f"{file.place(('preset',))}: preset: found {reprlib.repr(preset)}, expected one of "
            f"{', '.join(PRESETS)}{did_you_mean(preset, PRESETS)}"
        )
    return PRESETS[preset].override(file.place, **{"name": f"{preset}*", **fields})
