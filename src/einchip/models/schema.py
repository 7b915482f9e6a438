"""The JSON Schema of a model's description, written from the classes that check it.

``python -m einchip.models.schema`` prints it; `schema.json` beside this file is that text.
"""

from __future__ import annotations

import json
from typing import Any

from einchip.models.spec import ModelSpec

TITLE = "einchip model, version 2"


def model_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the header's entry ``einchip``.

    It states fields, types, ranges and names. That modes multiply to the sizes, that ranks are
    possible and that layers fit one another are rules of the code, which no schema can say.
    """
    schema = ModelSpec.model_json_schema()
    # A layer without a kind is recurrent, so a linear one must have it.
    schema["$defs"]["LinearSpec"]["required"].append("kind")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": TITLE,
    } | {key: value for key, value in schema.items() if key != "title"}


def schema_text() -> str:
    """Return the text of `schema.json`."""
    return json.dumps(model_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
