"""A board at the end of a line, over the frames of `einchip.link`, whatever the line is."""

from __future__ import annotations

import abc
import contextlib
import time
from typing import Final

from einchip.host.device import Device, DeviceError, check_range
from einchip.link import (
    FLAG,
    MAX_DATA,
    OPEN_ANSWER,
    PROTOCOL,
    WORD_BYTES,
    Answer,
    FrameError,
    Kind,
    Request,
    Status,
    answer_of,
    request_bytes,
)

#: Seconds until a request is sent again, beside those that its bytes take on the line.
DEFAULT_TIMEOUT: Final = 0.5
#: How often a request is sent.
TRIES: Final = 5
#: Bytes of an answer that is nothing but escapes.
LONGEST: Final = 2 * (MAX_DATA + 16)
_WORD_MASK: Final = WORD_BYTES - 1


class Line(abc.ABC):
    """Moves bytes to a board and back. Methods raise OSError once the line is lost.

    Attributes
    ----------
    name : of the port, in front of errors.
    seconds_per_byte : at its speed.
    check : its speed, and what to check where nothing answers.
    """

    name: str
    seconds_per_byte: float
    check: str

    @abc.abstractmethod
    def clear(self) -> None:
        """Forget what has come so far."""

    @abc.abstractmethod
    def write(self, data: bytes) -> None:
        """Send bytes."""

    @abc.abstractmethod
    def read_frame(self, seconds: float) -> bytes:
        """Return what comes up to the next FLAG, which ends it; without one what came in time."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give the port up."""


class LinkDevice(Device):
    """A board whose `fpga.system` is at the other end of a line.

    What is not answered is sent again, `TRIES` times in all; a write is carried out once however
    often it is sent. After any DeviceError the device is closed: open it anew.

    Parameters
    ----------
    line : open; closed with the device.
    timeout : seconds until a request is sent again.

    Raises DeviceError where there is no einchip at its end.
    """

    def __init__(self, line: Line, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._name, self._timeout = line.name, timeout
        self._tag = 0
        self._line: Line | None = line
        opened = self._ask(Kind.OPEN)
        if len(opened.data) != OPEN_ANSWER.size:
            raise self._failed("found no einchip at its end")
        protocol, self.memory_bytes = OPEN_ANSWER.unpack(opened.data)
        if protocol != PROTOCOL:
            raise self._failed(f"found protocol {protocol}, expected {PROTOCOL}; build it anew")

    def read_register(self, address: int) -> int:
        """Return a register."""
        answer = self._ask(Kind.READ_REGISTER, address, WORD_BYTES)
        return int.from_bytes(answer.data, "little")

    def write_register(self, address: int, value: int) -> None:
        """Write a register."""
        self._ask(Kind.WRITE_REGISTER, address, data=value.to_bytes(WORD_BYTES, "little"))

    def read_memory(self, address: int, n_bytes: int) -> bytes:
        """Return bytes of memory."""
        check_range(self, address, n_bytes)
        first, end = address & ~_WORD_MASK, -(-(address + n_bytes) // WORD_BYTES) * WORD_BYTES
        words = b"".join(
            self._ask(Kind.READ_MEMORY, at, min(MAX_DATA, end - at)).data
            for at in range(first, end, MAX_DATA)
        )
        return words[address - first :][:n_bytes]

    def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes of memory; words that they fill in part are read before."""
        check_range(self, address, len(data))
        before, behind = address & _WORD_MASK, -(address + len(data)) & _WORD_MASK
        front = self.read_memory(address - before, before)
        data = front + data + self.read_memory(address + len(data), behind)
        for k in range(0, len(data), MAX_DATA):
            self._ask(Kind.WRITE_MEMORY, address - before + k, data=data[k : k + MAX_DATA])

    def close(self) -> None:
        """Close the port."""
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.close()
            self._line = None

    def _ask(self, kind: Kind, address: int = 0, length: int = 0, data: bytes = b"") -> Answer:
        """Return the answer to a request. Raises DeviceError, and closes, where there is none."""
        line = self._open_line()
        self._tag = (self._tag + 1) % 256
        request = Request(kind, self._tag, address, length, data)
        wire = request_bytes(request)
        seconds = self._timeout + (len(wire) + LONGEST) * line.seconds_per_byte
        for _ in range(TRIES):
            answer = self._once(line, request, wire, seconds)
            if answer is not None:
                return self._checked(request, answer)
        raise self._failed(
            f"found no answer in {TRIES} tries of {seconds:.2g} s, expected one at {line.check}"
        )

    def _once(self, line: Line, request: Request, wire: bytes, seconds: float) -> Answer | None:
        """Send a request and return its answer; None where none comes in time."""
        try:
            line.clear()
            due = time.monotonic() + seconds
            line.write(bytes((FLAG,)) + wire)
            while (left := due - time.monotonic()) > 0:
                frame = line.read_frame(left)
                with contextlib.suppress(FrameError):
                    answer = answer_of(frame.removesuffix(bytes((FLAG,))))
                    if (answer.kind, answer.tag) == (request.kind, request.tag):
                        return answer
        except OSError as error:
            raise self._failed(f"lost: {reason(error)}; plug it in and open it again") from error
        return None

    def _open_line(self) -> Line:
        if self._line is None:
            raise DeviceError(f"{self._name}: is closed; open it again")
        return self._line

    def _checked(self, request: Request, answer: Answer) -> Answer:
        """Return an answer that says OK, with as much data as was asked for."""
        what = f"{request.kind.name} at {request.address:#x}"
        if answer.status == Status.NOT_OPEN:
            raise self._failed(
                "was reset: what it had loaded is gone; open it again, and load again"
            )
        if answer.status == Status.BUS_ERROR:
            raise DeviceError(f"{self._name}: {what}: found no such register; see registers.md")
        if answer.status != Status.OK:
            raise self._failed(f"{what}: found status {answer.status}, expected 0; build it anew")
        if request.kind is not Kind.OPEN and len(answer.data) != request.length:
            raise self._failed(
                f"{what}: found {len(answer.data)} bytes, expected {request.length}; build it anew"
            )
        return answer

    def _failed(self, what: str) -> DeviceError:
        """Close, and return the error that says why."""
        self.close()
        return DeviceError(f"{self._name}: {what}")


def reason(error: Exception) -> str:
    """Return what the system said, in a few words."""
    cause = error if isinstance(error, OSError) and error.strerror else error.__context__
    text = getattr(cause, "strerror", None) or str(error)
    return str(text).splitlines()[0].lower()
