#!/usr/bin/env bash
# Writes requirements-dev.lock: the development environment, all Pythons that we support, with hashes and without a registry's address.
. "$(dirname "$0")/common.sh"
cd "$ROOT"
command -v uv >/dev/null || "$PY" -m pip install -q uv
uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
  --extra operator --extra trainer --extra cli --group dev pyproject.toml -o requirements-dev.lock "$@"
