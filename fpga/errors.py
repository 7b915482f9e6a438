"""Errors that a user of boards and tools can mend; importing them imports no RTL."""


class SynthesisError(RuntimeError):
    """A tool is missing or failed; one line."""


class StuckError(SynthesisError):
    """A tool was stopped, since it got nowhere; one line."""


class TargetError(ValueError):
    """A board that cannot be built; one line: what, found, expected, what to do."""
