"""The one exception of the model package, and the form of its message."""

from __future__ import annotations


class ModelError(ValueError):
    """A model file, data file or input that cannot be used, said in one line.

    The message reads ``FILE: FIELD: found ..., expected ...; what to do``.
    """


def one_line(value: object, limit: int = 80) -> str:
    """Return `value` as printable text on one line, at most `limit` characters long."""
    text = " ".join(str(value).split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def model_error(
    where: object, field: str, found: object, expected: object, advice: str
) -> ModelError:
    """Build a `ModelError` from the five parts of its message."""
    return ModelError(
        f"{one_line(where, 300)}: {one_line(field)}: found {one_line(found)}, "
        f"expected {one_line(expected, 160)}; {one_line(advice, 200)}"
    )
