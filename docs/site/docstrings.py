"""Griffe extension: what numpydoc takes for types becomes text.

Our docstrings say `name : what it is` on one line, since types stand in the annotations; numpydoc's
form has the text on the next line.
"""

from __future__ import annotations

import re
from typing import Any, Final

import griffe

#: A section of fields: its underlined heading, and all lines to the next heading or paragraph.
SECTION: Final = re.compile(
    r"^((?:Attributes|Parameters|Members|Raises)\n-+\n)((?:\S.*\n?|[ ]+\S.*\n?)+)", re.MULTILINE
)
FIELD: Final = re.compile(r"^(\w+(?:, \w+)*) : (.*)$", re.MULTILINE)


def in_form(text: str) -> str:
    """Return a docstring with the text of each field on a line of its own."""
    return SECTION.sub(lambda m: m[1] + FIELD.sub(r"\1\n    \2", m[2]), text)


class OneLineFields(griffe.Extension):
    """Rewrites the docstring of every object."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one."""
        if obj.docstring:
            obj.docstring.value = in_form(obj.docstring.value)
