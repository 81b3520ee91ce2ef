"""Prints a manifest with images swapped, and nothing else changed: the demo and the tests apply the result.

usage: python examples/render.py MANIFEST --image NAME=REFERENCE [--image …]

NAME is an image's name without tag and digest (hanse/trainer-cpu). Every NAME must occur, and afterwards no placeholder
digest (sha256:000…) may be left; otherwise nothing is printed and the exit code is 1.
"""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

PLACEHOLDER = "sha256:" + "0" * 64
_IMAGE = re.compile(r"^(?P<key>\s*image:\s*)(?P<name>[^\s@:]+(?::\d+/[^\s@:]+)?)(?P<rest>[@:]\S+)?\s*$", re.MULTILINE)


def render(text: str, images: Mapping[str, str]) -> str:
    """`text` with each `image: NAME…` line changed to its reference. Raises ValueError."""
    found: set[str] = set()

    def swap(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in images:
            return match[0]
        found.add(name)
        return f"{match['key']}{images[name]}"

    result = _IMAGE.sub(swap, text)
    if missing := sorted(images.keys() - found):
        raise ValueError(f"no image {', '.join(missing)} in the manifest")
    if PLACEHOLDER in result:
        raise ValueError("an image has still the placeholder digest: give --image NAME=REFERENCE for it")
    return result


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="examples/render.py", description="Swap images in a manifest.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--image", action="append", default=[], metavar="NAME=REFERENCE")
    options = parser.parse_args()
    try:
        images = dict(pair.split("=", 1) for pair in options.image)
        print(render(options.manifest.read_text(), images), end="")
    except (ValueError, OSError) as error:
        print(f"render.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
