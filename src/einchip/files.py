"""Files that are whole or not there: written beside their place, then renamed. YAML, bounded."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import yaml

#: Most bytes of a YAML file, and most values in it with every alias written out.
MAX_YAML_BYTES: Final = 1 << 20
MAX_YAML_VALUES: Final = 1 << 19


class YamlError(ValueError):
    """YAML that cannot be used: `where` in the file ("file" or "line 3"), and what was `found`."""

    def __init__(self, where: str, found: str) -> None:
        super().__init__(f"{where}: found {' '.join(found.split())}")
        self.where = where
        self.found = found


def read_yaml(path: Path) -> object:
    """Return what a YAML file says; no more of it is read than is allowed.

    Raises OSError, YamlError.
    """
    with Path(path).open("rb") as file:
        data = file.read(MAX_YAML_BYTES + 1)
    if len(data) > MAX_YAML_BYTES:
        raise YamlError("file", f"more than {MAX_YAML_BYTES} bytes")
    return parse_yaml(data)


def parse_yaml(data: bytes | str) -> object:
    """Return what YAML text says. Raises YamlError.

    Only plain values: no tag makes an object. A key given twice is an error, and so are aliases
    that, written out, would be more than `MAX_YAML_VALUES` values, or would never end.
    """
    try:
        loader = _Loader(data.decode() if isinstance(data, bytes) else data)
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _expanded(root, {})
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "file" if mark is None else f"line {mark.line + 1}"
        raise YamlError(where, error.problem or "a syntax error") from None
    except YamlError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise YamlError("file", str(error) or type(error).__name__) from None


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


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


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
