# shellcheck shell=bash
# Builds and finds the images. Sourced by scripts/build and scripts/lib/in-trainer.sh; runs nothing by itself.
#
# An archive is cached under the hash of everything that goes into it (base, Dockerfile, lock, sources), so a build
# with nothing new takes no time. What was built is listed in $IMAGES_CACHE/manifest.json.

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

IMAGES_CACHE=$HANSE_CACHE/images
mkdir -p "$IMAGES_CACHE"
IMAGES_WORK=$(mktemp -d) # private to this run; gone with it, because index settings may hold credentials
trap 'rm -rf "$IMAGES_WORK"' EXIT
IMAGES_DEFAULT="operator server gate trainer-cpu"
IMAGES_ALL="$IMAGES_DEFAULT trainer-gpu"
IMAGES_SUITE=trixie
IMAGES_KEPT=2 # archives of one image: the current one, and the one that a running cluster may still be importing

# buildah's storage lies beside what is made from it: a layer that it remembers and the layout lacks fails the build
# ("locating new copy of image"), and who deletes the cache has deleted all of it.
images_storage() {
  local run=/run
  [ -w "$run" ] || run=${XDG_RUNTIME_DIR:-$IMAGES_CACHE}
  export CONTAINERS_STORAGE_CONF=$IMAGES_CACHE/storage.conf
  cat >"$IMAGES_WORK/storage.conf" <<EOF
[storage]
driver = "overlay"
graphroot = "$IMAGES_CACHE/storage"
runroot = "$run/hanse-images-$(printf %s "$IMAGES_CACHE" | sha256sum | cut -c1-8)"
EOF
  cmp -s "$IMAGES_WORK/storage.conf" "$CONTAINERS_STORAGE_CONF" || cp "$IMAGES_WORK/storage.conf" "$CONTAINERS_STORAGE_CONF"
}
images_storage

# --- what is on this host ---------------------------------------------------------------------------------------

# docker where an engine answers, else buildah, which needs none. HANSE_IMAGE_ENGINE decides it by hand.
images_engine() {
  if [ -n "${HANSE_IMAGE_ENGINE:-}" ]; then
    echo "$HANSE_IMAGE_ENGINE"
  elif command -v docker >/dev/null && timeout 10 docker info >/dev/null 2>&1; then
    echo docker
  else
    echo buildah
  fi
}

# uv makes the lock files and fetches pytest for in-trainer.sh; images themselves are built without it.
images_uv() {
  local uv
  for uv in "$(command -v uv || true)" "$VENV/bin/uv" "$IMAGES_CACHE/uv/bin/uv"; do
    if [ -x "$uv" ] && "$uv" --version >/dev/null 2>&1; then
      echo "$uv"
      return
    fi
  done
  apt_install python3 python3-venv
  { python3 -m venv "$IMAGES_CACHE/uv" && "$IMAGES_CACHE/uv/bin/pip" install -q uv; } >&2 || die "uv could not be installed"
  echo "$IMAGES_CACHE/uv/bin/uv"
}

# --- the base ---------------------------------------------------------------------------------------------------

# Prints the reference of the base image, made or pulled when it is not here. HANSE_BASE names another one.
images_base() {
  if [ -n "${HANSE_BASE:-}" ]; then
    echo "$HANSE_BASE"
  elif [ "$1" = docker ]; then
    docker image inspect debian:$IMAGES_SUITE-slim >/dev/null 2>&1 || docker pull -q debian:$IMAGES_SUITE-slim >&2
    docker image inspect --format '{{index .RepoDigests 0}}' debian:$IMAGES_SUITE-slim
  else
    buildah inspect --type image localhost/hanse-base:$IMAGES_SUITE >/dev/null 2>&1 || images_make_base
    echo localhost/hanse-base:$IMAGES_SUITE
  fi
}

images_make_base() {
  local tar=$IMAGES_CACHE/base.tar container path
  apt_install buildah mmdebstrap debian-archive-keyring
  note "making the base image (mmdebstrap, Debian $IMAGES_SUITE)"
  # As debian:trixie-slim does: no manuals, no translations, licences kept. The last hook: mmdebstrap copies these two
  # from the host.
  local options=()
  for path in man locale info i18n lintian; do options+=(--dpkgopt="path-exclude=/usr/share/$path/*"); done
  options+=(--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright')
  # shellcheck disable=SC2016  # $1 is the hook's
  mmdebstrap --quiet --variant=minbase "${options[@]}" \
    --customize-hook='rm -f "$1/etc/resolv.conf"; echo hanse >"$1/etc/hostname"' "$IMAGES_SUITE" "$tar" >&2
  container=$(buildah from scratch)
  buildah add -q "$container" "$tar" / >/dev/null
  buildah config --cmd bash "$container"
  buildah commit -q --rm "$container" localhost/hanse-base:$IMAGES_SUITE >/dev/null
  rm -f "$tar"
}

# images_forget_base ENGINE: the next build takes today's Debian packages.
images_forget_base() {
  if [ "$1" = docker ]; then
    docker pull -q debian:$IMAGES_SUITE-slim >&2
  else
    buildah rmi --force localhost/hanse-base:$IMAGES_SUITE >/dev/null 2>&1 || true
  fi
}

images_base_id() {
  if [ "$1" = docker ]; then
    docker image inspect --format '{{.Id}}' "$2"
  else
    buildah inspect --type image --format '{{.FromImageID}}' "$2"
  fi
}

# --- what goes into an image ------------------------------------------------------------------------------------

# images_hash NAME BASE_ID: 16 hex digits over all inputs. NAME-root is an image without hanse itself.
images_hash() {
  local name=${1%-root} sources=()
  [ "$name" != "$1" ] || sources=(pyproject.toml LICENSE operator/hanse images/wheel/requirements.lock)
  (
    cd "$ROOT" || exit
    echo "$2"
    find images/Dockerfile images/install-locked "images/$name/requirements.lock" "${sources[@]}" \
      -name __pycache__ -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
  ) | sha256sum | cut -c1-16
}

# The host's pip settings without what only makes sense on the host (paths).
images_pip_settings() {
  local file
  echo '[global]'
  for file in "${PIP_CONFIG_FILE:-}" "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" /etc/pip.conf; do
    [ -f "$file" ] || continue
    grep -E '^ *(index-url|extra-index-url|trusted-host|timeout|retries) *=' "$file" || true
    break
  done
  [ -z "${PIP_INDEX_URL:-}" ] || echo "index-url = $PIP_INDEX_URL"
  [ -z "${PIP_EXTRA_INDEX_URL:-}" ] || echo "extra-index-url = $PIP_EXTRA_INDEX_URL"
  [ -z "${PIP_TRUSTED_HOST:-}" ] || echo "trusted-host = $PIP_TRUSTED_HOST"
  [ -z "${PIP_DEFAULT_TIMEOUT:-}" ] || echo "timeout = $PIP_DEFAULT_TIMEOUT"
}

# images_stage ENGINE BASE STAGE OUTPUT: builds one stage of the Dockerfile into OUTPUT.
images_stage() {
  local ca=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt} settings=$IMAGES_WORK/pip
  images_pip_settings >"$settings"
  local secrets=(--secret "id=pip,src=$settings")
  [ ! -f "$ca" ] || secrets+=(--secret "id=ca,src=$ca")
  images_bud "$1" "$4" "$3" "$ROOT" --target "$3" --build-arg "BASE=$2" --file "$ROOT/images/Dockerfile" "${secrets[@]}"
}

# images_bud ENGINE OUTPUT NAME CONTEXT ARGUMENT...: OUTPUT is a tag; for buildah, any transport. Chatter goes to a log
# called NAME, shown on failure.
images_bud() {
  local engine=$1 output=$2 log=$IMAGES_CACHE/$3.log context=$4 ignore=()
  shift 4
  if [ "$engine" = docker ]; then
    # Attestations would put an index around the manifest whose digest the pods name.
    DOCKER_BUILDKIT=1 BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --tag "$output" "$@" "$context" >"$log" 2>&1
  else
    [ "$context" != "$ROOT" ] || ignore=(--ignorefile "$ROOT/images/Dockerfile.dockerignore")
    buildah bud --isolation chroot --layers --tag "$output" "${ignore[@]}" "$@" "$context" >"$log" 2>&1
  fi || { tail -n 40 "$log" >&2; die "the image build failed" "the whole log is $log"; }
}

# --- archives ---------------------------------------------------------------------------------------------------

# images_build ENGINE BASE NAME: the archive of one of ours, built unless it is there.
images_build() {
  local hash
  hash=$(images_hash "$3" "$(images_base_id "$1" "$2")")
  images_cached "$3" "$hash" images_export "$1" "$3" images_stage "$1" "$2" "$3"
}

# images_app ENGINE NAME DIRECTORY: a user's own, from DIRECTORY/Dockerfile, which says `ARG TRAINER` and `FROM ${TRAINER}`.
images_app() {
  local engine=$1 name=$2 context=$3 trainer hash
  trainer=$(images_archives trainer-cpu tar | head -n 1)
  [ -n "$trainer" ] || die "build trainer-cpu first"
  hash=$({ echo "$trainer"; cd "$context" && find . -name __pycache__ -prune -o -type f -print0 | LC_ALL=C sort -z |
    xargs -0 sha256sum; } | sha256sum | cut -c1-16)
  [ "$engine" = docker ] && trainer=hanse/trainer-cpu:dev || trainer=oci-archive:$trainer
  images_cached "$name" "$hash" images_export "$engine" "$name" images_app_stage "$engine" "$context" "$trainer" "$name"
}

# images_app_stage ENGINE CONTEXT TRAINER NAME OUTPUT
images_app_stage() { images_bud "$1" "$5" "$4" "$2" --build-arg "TRAINER=$3" --file "$2/Dockerfile"; }

# images_cached NAME HASH COMMAND...: runs COMMAND... ARCHIVE unless that archive is there.
images_cached() {
  local name=$1 archive=$IMAGES_CACHE/$1-$2.tar start=$SECONDS
  shift 2
  if [ -f "$archive" ] && [ -f "${archive%.tar}.json" ]; then
    note "$name: up to date"
  else
    note "$name: building"
    "$@" "$archive"
    note "$name: built in $((SECONDS - start)) s"
  fi
  touch "$archive" "${archive%.tar}.json"
  images_prune "$name"
}

# images_export ENGINE NAME BUILD... ARCHIVE: runs BUILD... OUTPUT and packs what it built. Uncompressed, and as OCI:
# containerd keeps the manifest as it is, so its digest is the one that pods may name.
images_export() {
  local engine=$1 name=$2 archive=${*: -1} digest
  local build=("${@:3:$#-3}")
  rm -f "$archive.tmp"
  if [ "$engine" = docker ]; then
    "${build[@]}" "hanse/$name:dev"
    docker save --output "$archive.tmp" "hanse/$name:dev"
    digest=$(tar -xOf "$archive.tmp" index.json 2>/dev/null | images_digest ".*") ||
      die "$name: the archive has no index.json" "docker must be 25 or newer"
  else
    # Into one OCI layout for all images, where a layer that is there already is not copied again; the archive is packed
    # from it. (`buildah push` 1.28 compresses for an archive, whatever --disable-compression says.)
    # An app's build has pulled ours from its archive; taken for a cached last step it cannot be exported (known-issues.md).
    buildah rmi --force "docker.io/hanse/$name:dev" >/dev/null 2>&1 || true
    "${build[@]}" "oci:$IMAGES_CACHE/layout:docker.io/hanse/$name:dev"
    digest=$(images_digest "docker.io/hanse/$name:dev" <"$IMAGES_CACHE/layout/index.json")
    images_pack "$name" "$digest" "$archive.tmp"
  fi
  mv "$archive.tmp" "$archive"
  printf '"%s": {"ref": "hanse/%s@%s", "tag": "hanse/%s:dev", "digest": "%s", "archive": "%s", "size": %s}\n' \
    "$name" "$name" "$digest" "$name" "$digest" "$archive" "$(stat -c %s "$archive")" >"${archive%.tar}.json"
}

# images_digest REFERENCE: reads an index.json, prints the digest of the manifest that is called so.
images_digest() {
  tr -d ' \n' | sed 's/{"mediaType"/\n&/g' | grep "\"$1\"" | grep -oE '"digest":"sha256:[0-9a-f]{64}"' | head -n 1 | cut -d'"' -f4
}

# images_pack NAME DIGEST ARCHIVE: from the common layout, with an index that names this image only.
images_pack() {
  local layout=$IMAGES_CACHE/layout blob members=() manifest=$IMAGES_CACHE/layout/blobs/sha256/${2#sha256:}
  for blob in "$2" $(grep -oE '"digest":"sha256:[0-9a-f]{64}"' "$manifest" | cut -d'"' -f4); do
    members+=("blobs/sha256/${blob#sha256:}")
  done
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"%s","size":%s,"annotations":{"%s":"%s","%s":"%s"}}]}' \
    application/vnd.oci.image.manifest.v1+json "$2" "$(stat -c %s "$manifest")" \
    io.containerd.image.name "docker.io/hanse/$1:dev" org.opencontainers.image.ref.name dev >"$IMAGES_WORK/index.json"
  tar -cf "$3" -C "$layout" oci-layout "${members[@]}" -C "$IMAGES_WORK" index.json
}

# images_prune NAME: its older archives, and the layers that no archive holds any more.
images_prune() {
  local file layout=$IMAGES_CACHE/layout
  images_archives "$1" tar | tail -n "+$((IMAGES_KEPT + 1))" | while read -r file; do
    rm -f "$file" "${file%.tar}.json"
  done
  [ -d "$layout/blobs/sha256" ] || return 0
  for file in "$IMAGES_CACHE"/*.json; do
    file=$(grep -oE '"digest": "sha256:[0-9a-f]{64}' "$file" | head -n 1 | cut -d: -f3)
    [ -z "$file" ] || [ ! -f "$layout/blobs/sha256/$file" ] || { echo "$file"; cat "$layout/blobs/sha256/$file"; }
  done | grep -oE '[0-9a-f]{64}' | sort -u >"$layout/keep"
  [ -s "$layout/keep" ] || return 0 # an empty list of patterns would match nothing and remove all
  find "$layout/blobs/sha256" -type f | { grep -vFf "$layout/keep" || true; } | xargs -r rm -f
}

# images_archives NAME SUFFIX: its files in the cache, the newest first.
images_archives() {
  find "$IMAGES_CACHE" -maxdepth 1 -regextype posix-extended -regex ".*/$1-[0-9a-f]{16}\.$2" -printf '%T@ %p\n' |
    sort -rn | cut -d' ' -f2-
}

# The newest archive of each image that was built, in one file, replaced in one step.
images_manifest() {
  local name entries=()
  for name in $(images_archives '[a-z0-9-]+' json | sed -E 's/.*\/(.*)-[0-9a-f]{16}\.json/\1/' | sort -u); do
    entries+=("$(cat "$(images_archives "$name" json | head -n 1)")")
  done
  [ ${#entries[@]} -gt 0 ] || return 0
  { echo '{'; printf '  %s,\n' "${entries[@]}" | sed '$ s/,$//'; echo '}'; } >"$IMAGES_CACHE/manifest.json.tmp"
  mv "$IMAGES_CACHE/manifest.json.tmp" "$IMAGES_CACHE/manifest.json"
}

# --- locks ------------------------------------------------------------------------------------------------------

# images_lock [--upgrade]: writes every requirements.lock from pyproject.toml's extras; a pin stays unless it must move.
images_lock() {
  local uv name source
  uv=$(images_uv)
  cd "$ROOT" || exit
  for name in $IMAGES_ALL wheel; do
    case $name in
    wheel) source=(images/wheel/requirements.in) ;;
    # torch is Debian's: nothing that needs it may bring PyPI's.
    trainer-cpu) source=(pyproject.toml --extra trainer --extra opacus --override images/trainer-cpu/overrides.txt) ;;
    trainer-gpu) source=(pyproject.toml --extra trainer --extra torch --extra opacus) ;;
    *) source=(pyproject.toml --extra "$name") ;;
    esac
    note "locking $name"
    "$uv" pip compile -q "${source[@]}" "$@" --generate-hashes --python-version 3.13 --python-platform linux \
      --custom-compile-command 'scripts/build lock' --output-file "images/$name/requirements.lock"
  done
}
