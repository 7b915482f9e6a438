"""What the mapper says when something cannot be mapped."""


class MappingError(ValueError):
    """No program exists in the searched space; one line: what failed, found, the way out."""
