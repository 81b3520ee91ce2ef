# shellcheck shell=bash
# Shared by the scripts: messages, the cache, the Python environment. Source it, do not run it.
# Everything that a script needs on a fresh Debian or Ubuntu is installed here, from packages only.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export HANSE_CACHE="${HANSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hanse}"
VENV="${HANSE_VENV:-$ROOT/.venv}"
PY="$VENV/bin/python"
# Debian keeps these off the PATH of users; nginx and others are there.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
mkdir -p "$HANSE_CACHE"

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
note() { printf '    %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '       %s\n' "$line" >&2; done
  exit 1
}

# print_usage FILE: the comment block at the top of a script is its help.
print_usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$1"; }

# as_root COMMAND...: with this environment. sudo has a PATH of its own; byte code of root's would be in the user's way.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -E env "PATH=$PATH" "HANSE_CACHE=$HANSE_CACHE" PYTHONDONTWRITEBYTECODE=1 "$@"
  else
    die "this step needs root: $*" "run the script as root, or install sudo"
  fi
}

# apt_install PACKAGE...: only what is missing, index refreshed once.
apt_install() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ "${#missing[@]}" -eq 0 ] && return 0
  command -v apt-get >/dev/null || die "missing packages: ${missing[*]}" "install them with your package manager"
  say "installing ${missing[*]}"
  if [ -z "${HANSE_APT_UPDATED:-}" ]; then
    as_root apt-get update -qq
    export HANSE_APT_UPDATED=1
  fi
  # Nothing that a package brings as a service may start: we only want the programs.
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$HANSE_CACHE/apt.log" 2>&1 ||
    { tail -n 20 "$HANSE_CACHE/apt.log" >&2; die "apt-get install ${missing[*]} failed"; }
}

# ensure_nginx: the program. Where systemd runs, the package starts a server on port 80 whatever RUNLEVEL says: stopped.
ensure_nginx() {
  command -v nginx >/dev/null && return 0
  apt_install nginx-light
  [ ! -d /run/systemd/system ] || as_root systemctl disable --now nginx
}

# find_python: the first interpreter that pyproject.toml allows (3.11 to 3.13).
find_python() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
    if command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# ensure_venv: .venv with exactly what requirements-dev.lock pins (hashes checked), and hanse itself, editable.
ensure_venv() {
  local python stamp want
  python=$(find_python) || { apt_install python3 python3-venv; python=$(find_python); } ||
    die "no Python 3.11, 3.12 or 3.13 found" "install python3 of Debian 12+, Ubuntu 24.04+ or from pyenv"
  want=$({ cat "$ROOT/requirements-dev.lock" "$ROOT/pyproject.toml"; "$python" -VV; } | sha256sum | cut -c1-16)
  stamp="$VENV/.hanse-$want"
  [ -e "$stamp" ] && return 0
  say "Python environment in $VENV"
  if ! "$python" -c 'import ensurepip' 2>/dev/null; then apt_install python3-venv; fi
  [ -x "$PY" ] || "$python" -m venv "$VENV"
  "$PY" -m pip --version >/dev/null 2>&1 || "$PY" -m ensurepip >/dev/null
  "$PY" -m pip install -q --require-hashes -r "$ROOT/requirements-dev.lock"
  "$PY" -m pip install -q --no-deps --no-build-isolation -e "$ROOT"
  rm -f "$VENV"/.hanse-*
  touch "$stamp"
}
