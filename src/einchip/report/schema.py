"""The JSON Schema of a report's figures, written from their classes.

``python -m einchip.report.schema`` prints it; `schema.json` beside this file is that text.
"""

from __future__ import annotations

import json
from typing import Any, Final

from einchip.report.data import VERSION, Report

TITLE: Final = f"einchip report, version {VERSION}"


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of what `einchip report --json` writes."""
    schema = Report.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": TITLE}


def schema_text() -> str:
    """Return the text of `schema.json`."""
    return json.dumps(report_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
