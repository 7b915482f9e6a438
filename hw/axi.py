"""The AXI4 and AXI4-Lite interfaces of the machine, as signatures seen from the master."""

from typing import Final

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

OKAY: Final = 0b00
SLVERR: Final = 0b10
#: This bit of a response tells an error (SLVERR, DECERR) from success (OKAY, EXOKAY).
ERROR_BIT: Final = 1
#: `arburst`, `awburst`: the address rises beat by beat.
INCR: Final = 0b01
#: No burst may cross a multiple of this many bytes.
BOUNDARY_BYTES: Final = 4096

ADDRESS_BITS: Final = 32


class AxiLiteSignature(wiring.Signature):
    """AXI4-Lite with 32-bit data; no protection signals.

    Parameters
    ----------
    address_bits
        Width of a byte address.
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__(
            {
                "awaddr": Out(address_bits),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(32),
                "wstrb": Out(4),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(address_bits),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(32),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class AxiReadSignature(wiring.Signature):
    """The two read channels of AXI4, 32-bit addresses; no IDs, locks, caches or protection.

    Parameters
    ----------
    data_bytes
        Bytes of a beat.
    """

    def __init__(self, data_bytes: int) -> None:
        super().__init__(
            {
                "araddr": Out(ADDRESS_BITS),
                "arlen": Out(8),
                "arsize": Out(3),
                "arburst": Out(2),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(8 * data_bytes),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class AxiWriteSignature(wiring.Signature):
    """The three write channels of AXI4, as in `AxiReadSignature`."""

    def __init__(self, data_bytes: int) -> None:
        super().__init__(
            {
                "awaddr": Out(ADDRESS_BITS),
                "awlen": Out(8),
                "awsize": Out(3),
                "awburst": Out(2),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(8 * data_bytes),
                "wstrb": Out(data_bytes),
                "wlast": Out(1),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
            }
        )


class AxiSignature(wiring.Signature):
    """AXI4: the channels of `AxiWriteSignature` and `AxiReadSignature`."""

    def __init__(self, data_bytes: int) -> None:
        write, read = AxiWriteSignature(data_bytes), AxiReadSignature(data_bytes)
        super().__init__({**dict(write.members), **dict(read.members)})
