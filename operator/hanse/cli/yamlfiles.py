"""YAML files as documents that remember their lines. `manifests` reads them to say where a problem is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hanse.cli.errors import CliError, ManifestError, Problem, UsageError

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """One YAML document: its value, and the node tree that knows the lines."""

    source: str
    value: Any
    node: yaml.Node

    def line(self, location: Location) -> int:
        """Line (from 1) of the deepest part of `location` that is there."""
        node = self.node
        line = node.start_mark.line
        for key in location:
            found = _child(node, key)
            if found is None:
                break
            line, node = found
        return line + 1


def _child(node: yaml.Node, key: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == str(key):
                return name.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key].start_mark.line, node.value[key]
    return None


def _duplicates(node: yaml.Node, path: str = "") -> Iterator[tuple[int, str]]:
    """Keys that appear twice: YAML keeps the last without a word, kubectl refuses them."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _duplicates(item, f"{path}[{index}]")
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for name, value in node.value:
        here = f"{path}.{name.value}" if path else str(name.value)
        if name.value in seen:
            yield name.start_mark.line + 1, here
        seen.add(name.value)
        yield from _duplicates(value, here)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml", ".json") and p.is_file())
        if not found:
            raise UsageError(f"{path} holds no YAML file", "Name the file with the FederatedJob.")
        return found
    if not path.is_file():
        raise UsageError(f"{path} is not there", "Check the path; a file or a directory of YAML files is expected.")
    return [path]


def _documents(path: Path) -> Iterator[Document]:
    try:
        text = path.read_text(encoding="utf-8")
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        values = list(yaml.safe_load_all(text))
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        line = mark.line + 1 if mark else 0
        raise ManifestError(
            [Problem(str(path), line, "", "", f"not YAML: {what}", "Check the indentation.")]
        ) from error
    for node, value in zip(nodes, values, strict=True):
        if node is None or value is None:
            continue
        twice = [
            Problem(str(path), line, "", key, "appears twice", "Keep one of them.") for line, key in _duplicates(node)
        ]
        if twice:
            raise ManifestError(twice)
        yield Document(str(path), value, node)


def read_documents(paths: Sequence[Path]) -> list[Document]:
    """Every document of the files, and of the files directly in the directories, in order.

    Raises `UsageError` for a path that is not there and `ManifestError` for what is not YAML.
    """
    return [document for path in paths for file in _files(path) for document in _documents(file)]
