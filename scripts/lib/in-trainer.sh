#!/usr/bin/env bash
# Runs a command inside the trainer image's root file system, with the checkout's code: torch without installing torch.
# usage: scripts/lib/in-trainer.sh [--print-root] COMMAND...
#
#   scripts/lib/in-trainer.sh python3 -m pytest operator/tests/torch -q
#
# The checkout is /src (and the working directory), PYTHONPATH has operator/ and pytest; /tmp, /dev, the network and
# variables named HANSE_* or PYTEST_* are the host's. The image itself holds no hanse here and no pytest, so a code
# change costs nothing; the first call builds it. --print-root prints where it is unpacked and runs nothing.
. "$(dirname "${BASH_SOURCE[0]}")/images.sh"

# The packages that tests need beside the image's own; pure Python, so the host's tools can fetch them for 3.13.
TEST_PACKAGES=(pytest pytest-asyncio pytest-timeout hypothesis)

# unpack ENGINE BASE DIRECTORY
unpack() {
  local engine=$1 base=$2 target=$3 container path
  note "unpacking the trainer's root file system (once)"
  images_stage "$engine" "$base" trainer-cpu-root "hanse/trainer-cpu-root:dev"
  rm -rf "$target.tmp"
  mkdir -p "$target.tmp"
  if [ "$engine" = docker ]; then
    container=$(docker create hanse/trainer-cpu-root:dev true)
    docker export "$container" | tar -xC "$target.tmp"
    docker rm "$container" >/dev/null
  else
    container=$(buildah from --pull-never localhost/hanse/trainer-cpu-root:dev)
    path=$(buildah mount "$container")
    cp -a "$path/." "$target.tmp/"
    buildah rm "$container" >/dev/null
  fi
  mkdir -p "$target.tmp"/{src,proc,dev,sys,tmp,opt/tests}
  mv "$target.tmp" "$target"
  forget_older "$target"
}

# forget_older DIRECTORY: the other root file systems, but none that a running command is in.
forget_older() {
  local other used
  used=$(readlink /proc/[0-9]*/root || true)
  find "$IMAGES_CACHE/rootfs" -mindepth 1 -maxdepth 1 -mmin +10 ! -path "$1" ! -name 'tests-*' | while read -r other; do
    grep -qxF "$other" <<<"$used" || rm -rf --one-file-system "$other"
  done
}

# An exported lock is what pins pytest for the host's environment; the same versions go in here.
test_packages() {
  local target=$1 pins
  pins=$IMAGES_WORK/pins
  grep -E "^[a-z0-9-]+==" "$ROOT/requirements-dev.lock" 2>/dev/null | sed 's/ .*//' >"$pins" || true
  "$(images_uv)" pip install -q --target "$target.tmp" --python-version 3.13 --python-platform linux --link-mode copy \
    --constraint "$pins" "${TEST_PACKAGES[@]}"
  mv "$target.tmp" "$target"
}

prepare() {
  local engine base
  engine=$(images_engine)
  [ "$engine" = docker ] || apt_install buildah mmdebstrap debian-archive-keyring
  exec 9>"$IMAGES_CACHE/.lock"
  flock 9
  base=$(images_base "$engine")
  rootfs=$IMAGES_CACHE/rootfs/$(images_hash trainer-cpu-root "$(images_base_id "$engine" "$base")")
  tests=$IMAGES_CACHE/rootfs/tests-$(printf '%s\n' "${TEST_PACKAGES[@]}" |
    cat - "$ROOT/requirements-dev.lock" 2>/dev/null | sha256sum | cut -c1-16)
  mkdir -p "$IMAGES_CACHE/rootfs"
  [ -d "$rootfs" ] || unpack "$engine" "$base" "$rootfs"
  [ -d "$tests" ] || test_packages "$tests"
  flock -u 9
}

# enter ROOTFS TESTS COMMAND...: in a mount namespace of its own, so nothing stays behind however it ends.
enter() {
  local names=() name
  for name in $(compgen -e); do
    case $name in HANSE_* | PYTEST_* | CI | TERM) names+=("$name=${!name}") ;; esac
  done
  rm -rf "$IMAGES_WORK" # exec runs no trap
  # shellcheck disable=SC2016  # expanded inside
  exec 9>&- unshare --mount --propagation private bash -euc '
    root=$1 src=$2 tests=$3
    shift 3
    mount --bind "$src" "$root/src"
    mount --bind "$tests" "$root/opt/tests"
    for name in proc dev sys tmp; do mount --rbind "/$name" "$root/$name"; done
    exec chroot "$root" /usr/bin/env -i --chdir=/src "$@"
  ' enter "$1" "$ROOT" "$2" \
    PATH=/opt/hanse/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/tmp LANG=C.UTF-8 \
    PYTHONPATH=/src/operator:/src:/opt/tests PYTHONDONTWRITEBYTECODE=1 \
    FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1 FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1 \
    "${names[@]}" "${@:3}"
}

[ $# -gt 0 ] || { print_usage "${BASH_SOURCE[0]}" >&2; exit 2; }
[ "$(id -u)" = 0 ] || die "chroot needs root" "run this as root"
prepare
if [ "$1" = --print-root ]; then
  echo "$rootfs"
else
  enter "$rootfs" "$tests" "$@"
fi
