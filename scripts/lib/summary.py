"""Prints one line for each JUnit report of the stages that ran; called by scripts/test."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def main() -> None:
    """usage: summary.py DIRECTORY STAGE..."""
    directory, stages = Path(sys.argv[1]), sys.argv[2:]
    for stage in stages:
        report = directory / f"{stage}.xml"
        if not report.exists():
            continue
        suite = next(ET.parse(report).getroot().iter("testsuite"))  # noqa: S314 - our own file
        counts = {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
        bad = counts["failures"] + counts["errors"]
        good = counts["tests"] - bad - counts["skipped"]
        print(f"{stage:12} {good} passed, {bad} failed, {counts['skipped']} skipped")


main()
