"""Files are whole or not there; what is no file stays what it is."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from einchip.files import check_writable, write_bytes, write_text


def test_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in ("ä", "b"):
        write_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert os.listdir(tmp_path) == ["a.txt"]


def test_failure_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_pipe_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=write_bytes, args=(path, b"through"))
    writer.start()
    assert path.read_bytes() == b"through"
    writer.join()
    assert path.is_fifo()


def test_places_that_cannot_be_written_are_known_before(tmp_path: Path) -> None:
    check_writable(tmp_path / "new.txt")
    (tmp_path / "file").write_text("x")
    check_writable(tmp_path / "file")
    with pytest.raises(IsADirectoryError):
        check_writable(tmp_path)
    for path in (tmp_path / "none" / "new.txt", tmp_path / "file" / "new.txt"):
        with pytest.raises(FileNotFoundError, match="found no such folder"):
            check_writable(path)
