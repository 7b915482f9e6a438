"""Signatures between the RTL's components: instruction issue, scratchpad requests, tokens, faults.

Handshake of every request and stream here, in four rules: (1) a transfer happens in each cycle in
which `valid` and `ready` are both 1; (2) `ready` never depends on the same request's `valid`;
(3) the payload matters only while `valid` is 1; (4) a requester that is not granted may withdraw.
"""

from amaranth import Cat, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.program import (
    ADDRESS_BITS,
    REGISTER_BITS,
    WORD_BITS,
    Contract,
    Instruction,
    Load,
    Lstm,
)


def offset_bits(arch: Architecture) -> int:
    """Width of addresses inside the machine: no legal step from a legal address can wrap it."""
    return arch.stride_bits + clog2(arch.lanes) + 1


def instruction_layout(kind: type[Instruction]) -> data.StructLayout:
    """Return the bits of an instruction as a structure, derived from `Instruction.layout`."""
    members: dict[str, object] = {"opcode": unsigned(8)}
    for s in kind.layout():
        members[s.name] = data.ArrayLayout(unsigned(s.bits), s.n) if s.n else unsigned(s.bits)
    used = data.StructLayout(members).size
    return data.StructLayout({**members, "unused": unsigned(kind.WORDS * WORD_BITS - used)})


def issue_layout(kind: type[Instruction], addresses: tuple[str, ...]) -> data.StructLayout:
    """An instruction, and its first addresses with the sequencer's registers already added."""
    members: dict[str, object] = {"raw": instruction_layout(kind)}
    for name in addresses:
        members[name] = unsigned(REGISTER_BITS if name == "ext" else ADDRESS_BITS)
    return data.StructLayout(members)


#: What the sequencer hands to each unit, TRANSFER_ISSUE to load and store unit. The vector unit
#: tells its instructions by `raw.opcode`.
TRANSFER_ISSUE = issue_layout(Load, ("ext", "addr"))
ARRAY_ISSUE = issue_layout(Contract, ("x", "y", "z", "d"))
VECTOR_ISSUE = issue_layout(Lstm, ("src", "dst", "cell", "aux"))


class IssueSignature(wiring.Signature):
    """Sequencer to unit: one decoded instruction. `ready` = the unit's slot is empty."""

    def __init__(self, layout: data.StructLayout) -> None:
        super().__init__({"payload": Out(layout), "valid": Out(1), "ready": In(1)})


def elements(arch: Architecture) -> data.ArrayLayout:
    """One element per lane."""
    return data.ArrayLayout(signed(arch.data_bits), arch.lanes)


def offsets(arch: Architecture) -> data.ArrayLayout:
    """One address offset per lane."""
    return data.ArrayLayout(unsigned(offset_bits(arch)), arch.lanes)


class ReadSignature(wiring.Signature):
    """A client's read of a scratchpad: lane p reads element base + offsets[p] where enable[p].

    Granted in cycle t (`valid & ready`), `data` holds the elements in cycle t + READ_LATENCY;
    lanes not enabled read 0. `ready` = no client of higher priority requests.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "base": Out(offset_bits(arch)),
                "offsets": Out(offsets(arch)),
                "enable": Out(arch.lanes),
                "data": In(elements(arch)),
            }
        )


class WriteSignature(wiring.Signature):
    """A client's write: element base + offsets[p] := data[p] where enable[p].

    Granted in cycle t, the banks are written at the clock edge that ends cycle
    t + WRITE_LATENCY - 1.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "base": Out(offset_bits(arch)),
                "offsets": Out(offsets(arch)),
                "enable": Out(arch.lanes),
                "data": Out(elements(arch)),
            }
        )


def read_ports(arch: Architecture) -> tuple[str, ...]:
    """Return the names of the read ports: X, Y, and the windows that there are."""
    return ("x", "y", *(f"{'xy'[space]}_window" for space in arch.windows))


def chosen_port(arch: Architecture, space: Value, address: Value) -> Value:
    """Return which of `read_ports` a stream takes that begins at this address, one bit each.

    The address is in range; the array's operands do not choose.
    """
    chosen, windows = [~space, space], []
    for k in arch.windows:
        low, high = clog2(arch.window(k) * arch.lanes), arch.address_bits(k)
        windows.append(chosen[k] & address[low:high].all())
        chosen[k] = chosen[k] & ~windows[-1]
    return Cat(*chosen, *windows)


def stream_ports(arch: Architecture) -> data.StructLayout:
    """Return the read port of each stream that the vector unit reads, as `chosen_port` gives it."""
    return data.StructLayout(dict.fromkeys(("src", "cell", "aux"), len(read_ports(arch))))


#: Clients of each scratchpad's ports, highest priority first; dma: the store unit reads, the load
#: unit writes.
READ_CLIENTS = ("drain", "vector", "array", "dma")
WINDOW_CLIENTS = ("drain", "vector", "dma")
WRITE_CLIENTS = ("drain", "vector", "dma")


class TokenSignature(wiring.Signature):
    """A unit and the tokens: the positive ones; those it takes (launch) and gives (end)."""

    def __init__(self, tokens: int) -> None:
        super().__init__({"positive": In(tokens), "take": Out(tokens), "give": Out(tokens)})


class FaultSignature(wiring.Signature):
    """An error: `code` is `program.Error`, 0 for none; held or pulsed, the first one wins."""

    def __init__(self) -> None:
        super().__init__({"code": Out(4), "address": Out(32)})
