"""Writes what is generated from the types: CRDs, the chart's CRDs and RBAC, the API reference.

`scripts/generate` runs it. `--check` writes nothing and ends with 1 when a file differs: CI runs it, so that nobody
edits output.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hanse.dev.chart import chart_files
from hanse.dev.crds import KINDS, build_crd
from hanse.dev.reference import PATH as REFERENCE_PATH
from hanse.dev.reference import reference
from hanse.dev.text import header, to_yaml


def outputs() -> dict[str, str]:
    """Every generated file, by path from the repository's root."""
    crds = {f"crds/{kind.file_name}": f"# {header()}\n{to_yaml(build_crd(kind))}" for kind in KINDS}
    return crds | chart_files() | {REFERENCE_PATH: reference()}


def differences(root: Path) -> list[str]:
    """Paths whose content is not what would be generated."""
    return [
        name for name, text in outputs().items() if not (root / name).is_file() or (root / name).read_text() != text
    ]


def write(root: Path) -> list[str]:
    """Write what differs; the paths that were written."""
    changed = differences(root)
    texts = outputs()
    for name in changed:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(texts[name])
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, end with 1 when something differs")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[3], help="repository")
    options = parser.parse_args(arguments)
    if options.check:
        stale = differences(options.root)
        for name in stale:
            print(f"{name} is out of date: run scripts/generate", file=sys.stderr)
        return 1 if stale else 0
    for name in write(options.root):
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
