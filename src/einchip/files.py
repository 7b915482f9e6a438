"""Files that are whole or not there: written beside their place, then renamed.

YAML, bounded, with the line of every value.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

#: Most bytes of a YAML file, and most values in it with every alias written out.
MAX_YAML_BYTES: Final = 1 << 20
MAX_YAML_VALUES: Final = 1 << 19


class YamlError(ValueError):
    """YAML that cannot be used: what was `found`, and in which `line` (from 1) if one can be told.

    The message is both, without the name of the file, which `place` puts before the line.
    """

    def __init__(self, line: int | None, found: str) -> None:
        self.line = line
        self.found = " ".join(found.split())
        super().__init__(f"{'file' if line is None else f'line {line}'}: found {self.found}")

    def place(self, path: object) -> str:
        """Return FILE:LINE, or FILE where no line can be told."""
        return place(path, self.line)


def place(path: object, line: int | None) -> str:
    """Return FILE:LINE, as editors and compilers write it, or FILE where there is no line."""
    return str(path) if line is None else f"{path}:{line}"


@dataclass(frozen=True)
class Marked:
    """What a YAML file says, and where in it."""

    path: object
    value: object
    _root: yaml.Node | None

    def place(self, loc: Sequence[str | int] = ()) -> str:
        """Return FILE:LINE of the value to which keys and numbers lead; of a key, where it stands.

        Parts that are not in the file (a missing field, the tag of a union, as in the `loc` of an
        error of pydantic) are passed over; the whole file has no line.
        """
        node, line = self._root, None
        for part in loc:
            found = _child(node, part)
            if found is not None:
                mark, node = found
                line = mark.start_mark.line + 1
        return place(self.path, line)


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Return where an entry of a mapping or list begins, and its value."""
    if isinstance(node, yaml.MappingNode):
        return next((pair for pair in node.value if pair[0].value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def read_marked(path: Path) -> Marked:
    """Return what a YAML file says and where; no more of it is read than is allowed.

    Raises OSError, YamlError.
    """
    with Path(path).open("rb") as file:
        data = file.read(MAX_YAML_BYTES + 1)
    if len(data) > MAX_YAML_BYTES:
        raise YamlError(None, f"more than {MAX_YAML_BYTES} bytes")
    return parse_marked(data, path)


def read_yaml(path: Path) -> object:
    """Return what a YAML file says. Raises OSError, YamlError."""
    return read_marked(path).value


def parse_yaml(data: bytes | str) -> object:
    """Return what YAML text says. Raises YamlError."""
    return parse_marked(data, "text").value


def parse_marked(data: bytes | str, path: object) -> Marked:
    """Return what YAML text says and where; `path` is what places are named after.

    Only plain values: no tag makes an object. A key given twice is an error, and so are aliases
    that, written out, would be more than `MAX_YAML_VALUES` values, or would never end.
    Raises YamlError.
    """
    try:
        loader = _Loader(data.decode() if isinstance(data, bytes) else data)
        try:
            root = loader.get_single_node()
            if root is None:
                return Marked(path, None, None)
            _expanded(root, {})
            return Marked(path, loader.construct_document(root), root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = None if mark is None else mark.line + 1
        raise YamlError(line, error.problem or "a syntax error") from None
    except YamlError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise YamlError(None, str(error) or type(error).__name__) from None


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses keys given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    found = f"key {key.value!r} twice"
                    raise yaml.constructor.ConstructorError(None, None, found, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _expanded(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Return the number of values of a node with its aliases written out; raise YamlError."""
    known = sizes.get(id(node))
    if known is not None:
        if known == 0:
            raise YamlError(_line(node), "a value that holds itself")
        return known
    sizes[id(node)] = 0
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    found = 1 + sum(_expanded(part, sizes) for part in parts)
    if found > MAX_YAML_VALUES:
        raise YamlError(_line(node), f"more than {MAX_YAML_VALUES} values, aliases written out")
    sizes[id(node)] = found
    return found


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def check_writable(path: Path) -> None:
    """Raise OSError where `write_bytes` could not put a file: before work is lost by it."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "found no such folder", str(path.parent))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever sees half of it. Raises OSError.

    A device or a pipe, such as /dev/stdout, is written to and stays what it is.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode())
