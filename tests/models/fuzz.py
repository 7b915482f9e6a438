"""Damaged model and data files by the thousand: nothing but a `ModelError` may come of them.

    python -m tests.models.fuzz N OUT.json

gives N files to the readers, a share to each, and writes how many were accepted and refused, how
many different messages there were, the longest time of one and the peak memory of the process. It
fails at any other exception, at a message of more than one line, and above 1 GiB.
"""

from __future__ import annotations

import io
import json
import re
import resource
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from einchip.models import ModelError, load_model, load_npz, save_model
from einchip.models.importers import import_model
from tests.models.helpers import raw_spec, small_model, zoo
from tests.models.mutate import mutated, mutated_bytes
from tests.models.mutate_onnx import mutated_graphs
from tests.models.readers import READERS

MAX_BYTES = 2**30
VOWELS = Path(__file__).parents[2] / "examples" / "japanese_vowels" / "japanese_vowels.npz"
#: ``Sequential([Input((None, 3)), Bidirectional(LSTM(4)), Dense(2, "relu")]).save(..)`` of Keras 3.
KERAS = Path(__file__).parent / "fixtures" / "bilstm.keras"
EMBEDDING = {"vocabulary": 5, "out_size": 6, "weight": {"format": "dense"}}
SPECS: list[dict[str, Any]] = [raw_spec(**fields) for fields in zoo().values()]
SPECS.append(raw_spec() | {"embedding": EMBEDDING, "scales": {"x": 3}, "data_bits": 8})
YAMLS = [spec | {"weights": {"random": 1}} for spec in SPECS]


@dataclass
class Reader:
    """A reader, the name of the file that it is given, and what the files are drawn from."""

    suffix: str
    read: Callable[[Path], object]
    files: st.SearchStrategy[bytes]


def seeds() -> list[bytes]:
    """Valid model files of several formats."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("dense", "mpo", "ht", "bt"):
            save_model(small_model(kind), Path(folder) / "m.safetensors")
            found.append((Path(folder) / "m.safetensors").read_bytes())
    return found


def split_header(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The decoded header of a safetensors file, with its spec decoded too, and the data."""
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n])
    header["__metadata__"]["einchip"] = json.loads(header["__metadata__"]["einchip"])
    return header, data[8 + n :]


def with_header(header: Any, data: bytes) -> bytes:
    """A safetensors file of a header that may be damaged."""
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if isinstance(metadata, dict) and "einchip" in metadata:
        metadata["einchip"] = json.dumps(metadata["einchip"])
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@st.composite
def headers(draw: st.DrawFn, files: list[tuple[dict[str, Any], bytes]]) -> bytes:
    """Safetensors files with damage in the decoded header."""
    header, data = draw(st.sampled_from(files))
    return with_header(draw(mutated([header])), data)


def arrays() -> dict[str, bytes]:
    """The arrays of a small data file, each as the .npy file that the archive holds."""
    found = {}
    values = {"frames": np.zeros((6, 2), np.float32), "lengths": np.array([2, 1, 3])}
    values |= {"labels": np.array([0, 1, 1]), "mean": np.zeros(2), "std": np.ones(2)}
    for name, value in (values | {"clip": np.float64(4)}).items():
        stream = io.BytesIO()
        np.save(stream, value, allow_pickle=False)
        split = "test_" if name in ("frames", "lengths", "labels") else ""
        found[f"{split}{name}.npy"] = stream.getvalue()
    return found


def members(path: Path) -> dict[str, bytes]:
    """The files of an archive."""
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


@st.composite
def archives(draw: st.DrawFn, files: dict[str, bytes]) -> bytes:
    """Whole archives of which one file is damaged."""
    chosen = draw(st.sampled_from(sorted(files)))
    damaged = files | {chosen: draw(mutated_bytes([files[chosen]]))}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", draw(st.sampled_from([0, 8]))) as file:
        for name, content in damaged.items():
            file.writestr(name, content)
    return stream.getvalue()


def readers() -> dict[str, Reader]:
    """Every reader by name."""
    models = seeds()
    texts = [yaml.safe_dump(spec).encode() for spec in YAMLS]
    yamls = mutated(YAMLS).map(lambda raw: yaml.safe_dump(raw).encode())
    found = {
        "safetensors, bytes": Reader("safetensors", load_model, mutated_bytes(models)),
        "safetensors, header": Reader(
            "safetensors", load_model, headers([split_header(m) for m in models])
        ),
        "yaml, bytes": Reader("yaml", load_model, mutated_bytes(texts)),
        "yaml, fields": Reader("yaml", load_model, yamls),
        "npz, bytes": Reader("npz", load_npz, mutated_bytes([VOWELS.read_bytes()])),
        "npz, arrays": Reader("npz", load_npz, archives(arrays())),
    }
    if find_spec("h5py"):
        found["keras, members"] = Reader("keras", import_model, archives(members(KERAS)))
    for name, suffix, files, read in READERS:
        found[name] = Reader(suffix, read, mutated_bytes(files))
        if suffix == "onnx":
            found["onnx, fields"] = Reader(suffix, read, mutated_graphs(files))
    return found


@dataclass
class Outcome:
    """What came of the files given to one reader."""

    accepted: int = 0
    refused: int = 0
    messages: set[str] = field(default_factory=set)
    slowest: float = 0.0

    def give(self, reader: Reader, content: bytes, folder: Path) -> None:
        """Give one file to the reader and count what comes of it."""
        path = folder / f"file.{reader.suffix}"
        path.write_bytes(content)
        start = time.monotonic()
        try:
            reader.read(path)
            self.accepted += 1
        except ModelError as e:
            text = str(e)
            assert "\n" not in text
            assert text.isprintable()
            self.refused += 1
            self.messages.add(re.sub(r"[0-9]+|'[^']*'", "#", text.removeprefix(str(path))))
        self.slowest = max(self.slowest, time.monotonic() - start)

    def to_json(self) -> dict[str, Any]:
        """The counts, for the result file."""
        return {
            "inputs": self.accepted + self.refused,
            "accepted": self.accepted,
            "refused": self.refused,
            "distinct_messages": len(self.messages),
            "slowest_s": round(self.slowest, 2),
        }


def run(reader: Reader, n: int) -> Outcome:
    """Give `n` files to one reader."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:

        @settings(
            max_examples=n,
            database=None,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(reader.files)
        def give(content: bytes) -> None:
            outcome.give(reader, content, Path(folder))

        give()
    return outcome


def main() -> None:
    """Run all and write the result."""
    n, path = int(sys.argv[1]), Path(sys.argv[2])
    results, all_readers = {}, readers()
    for name, reader in all_readers.items():
        results[name] = run(reader, -(-n // len(all_readers))).to_json()
        print(name, results[name], flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert peak < MAX_BYTES, peak
    total = sum(result["inputs"] for result in results.values())
    summary = {"inputs": total, "crashes": 0, "peak_mib": round(peak / 2**20), "readers": results}
    path.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
