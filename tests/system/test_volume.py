"""The committed result of the last run in volume (`make volume`)."""

import json
from pathlib import Path

from einchip.arch import PRESETS

RESULT = Path(__file__).parent / "volume.json"


def test_at_least_2000_networks_over_all_presets_showed_no_difference() -> None:
    rows = json.loads(RESULT.read_text())
    assert {r["arch"]: r["config_hash"] for r in rows} == {
        name: f"{arch.config_hash:08x}" for name, arch in PRESETS.items()
    }
    assert sum(r["networks"] for r in rows) >= 2000
    assert [line for r in rows for line in r["differences"]] == []
