"""What scripts/lib/images.sh caches, packs and forgets, without an image builder."""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with all that goes into an image, in which files may be changed."""
    target = tmp_path / "checkout"
    for name in ("scripts", "images"):
        shutil.copytree(ROOT / name, target / name)
    (target / "operator" / "hanse").mkdir(parents=True)
    (target / "operator" / "hanse" / "__init__.py").write_text("")
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, target)
    return target


def shell(checkout: Path, command: str, **environment: str) -> str:
    """Standard output of one of the library's functions."""
    base = {"PATH": os.environ["PATH"], "HOME": str(checkout / "home"), "HANSE_CACHE": str(checkout / "cache")}
    return subprocess.run(
        ["bash", "-c", f". scripts/lib/images.sh; {command}"],
        cwd=checkout,
        env={**base, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


class TestHash:
    def hashes(self, checkout: Path, base: str = "sha256:b") -> dict[str, str]:
        names = ("operator", "server", "trainer-cpu", "trainer-cpu-root")
        return {name: shell(checkout, f"images_hash {name} {base}").strip() for name in names}

    def changed(self, checkout: Path, path: str) -> set[str]:
        before = self.hashes(checkout)
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        with (checkout / path).open("a") as file:
            file.write("\n")
        after = self.hashes(checkout)
        return {name for name in before if before[name] != after[name]}

    def test_code_changes_every_image_but_not_the_root_that_tests_run_in(self, checkout: Path) -> None:
        assert self.changed(checkout, "operator/hanse/api/new.py") == {"operator", "server", "trainer-cpu"}

    def test_a_lock_changes_its_own_image(self, checkout: Path) -> None:
        assert self.changed(checkout, "images/server/requirements.lock") == {"server"}

    def test_the_dockerfile_changes_all(self, checkout: Path) -> None:
        assert len(self.changed(checkout, "images/Dockerfile")) == 4

    @pytest.mark.parametrize("path", ["README.md", "operator/hanse/__pycache__/x.pyc", "docs/images.md"])
    def test_what_is_not_in_an_image_changes_none(self, checkout: Path, path: str) -> None:
        assert self.changed(checkout, path) == set()

    def test_another_base_changes_all(self, checkout: Path) -> None:
        one, other = self.hashes(checkout), self.hashes(checkout, "sha256:c")
        assert all(one[name] != other[name] for name in one)


def blob(layout: Path, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    (layout / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    (layout / "blobs" / "sha256" / digest).write_bytes(content)
    return f"sha256:{digest}"


@pytest.fixture
def layout(checkout: Path) -> tuple[Path, str]:
    """An OCI layout as buildah leaves it, and the digest of the image hanse/gate:dev in it."""
    path = checkout / "cache" / "images" / "layout"
    manifest = {
        "config": {"digest": blob(path, b"config")},
        "layers": [{"digest": blob(path, b"layer")}],
        # The base's manifest is named, but its blob is nowhere.
        "annotations": {"org.opencontainers.image.base.digest": f"sha256:{'0' * 64}"},
    }
    digest = blob(path, json.dumps(manifest, separators=(",", ":")).encode())
    entries = [
        {"mediaType": "m", "digest": blob(path, b"an older one"), "size": 12},
        {
            "mediaType": "m",
            "digest": digest,
            "size": 1,
            "annotations": {"org.opencontainers.image.ref.name": "docker.io/hanse/gate:dev"},
        },
    ]
    index = {"schemaVersion": 2, "manifests": entries}
    (path / "index.json").write_text(json.dumps(index, separators=(",", ":")))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return path, digest


class TestArchive:
    def test_holds_one_image_whole_and_under_the_name_that_a_node_looks_for(
        self, checkout: Path, layout: tuple[Path, str]
    ) -> None:
        path, digest = layout
        found = shell(checkout, f"images_digest docker.io/hanse/gate:dev <{path}/index.json").strip()
        assert found == digest
        shell(checkout, f"images_pack gate {digest} {checkout}/gate.tar")
        with tarfile.open(checkout / "gate.tar") as archive:
            names = archive.getnames()
            index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
            (entry,) = index["manifests"]
            manifest = archive.extractfile(f"blobs/sha256/{digest[7:]}").read()  # type: ignore[union-attr]
        assert entry["digest"] == digest
        assert entry["size"] == len(manifest)
        assert entry["annotations"]["io.containerd.image.name"] == "docker.io/hanse/gate:dev"
        assert len([name for name in names if name.startswith("blobs/")]) == 3

    def test_what_an_apps_build_has_pulled_is_no_cached_step(self, checkout: Path, layout: tuple[Path, str]) -> None:
        """buildah cannot export it again: docs/known-issues.md."""
        said = checkout / "said"
        fake = f'buildah() {{ echo "$*" >>{said}; }}; build() {{ echo "build $*" >>{said}; }}'
        shell(checkout, f"{fake}; images_export buildah gate build {checkout}/gate.tar")
        first, second = said.read_text().splitlines()
        assert first == "rmi --force docker.io/hanse/gate:dev"
        assert second.startswith("build oci:")
        assert (checkout / "gate.json").exists()

    def test_layers_of_no_archive_are_removed_and_older_archives_too(
        self, checkout: Path, layout: tuple[Path, str]
    ) -> None:
        path, digest = layout
        cache = path.parent
        for age, name in enumerate(("a", "b", "c")):
            archive = cache / f"gate-{name * 16}.tar"
            archive.touch()
            os.utime(archive, (1000 - age, 1000 - age))
            archive.with_suffix(".json").write_text(f'"gate": {{"digest": "{digest}"}}')
        shell(checkout, "images_prune gate")
        assert sorted(file.name for file in cache.glob("gate-*.tar")) == [f"gate-{c * 16}.tar" for c in "ab"]
        assert not (path / "blobs" / "sha256" / hashlib.sha256(b"an older one").hexdigest()).exists()
        kept = {file.name for file in (path / "blobs" / "sha256").iterdir()}
        assert kept == {digest[7:], hashlib.sha256(b"config").hexdigest(), hashlib.sha256(b"layer").hexdigest()}

    def test_manifest_names_the_newest_of_each(self, checkout: Path) -> None:
        cache = checkout / "cache" / "images"
        cache.mkdir(parents=True)
        for age, (name, letter) in enumerate((("gate", "a"), ("gate", "b"), ("trainer-cpu", "c"))):
            file = cache / f"{name}-{letter * 16}.json"
            file.write_text(f'"{name}": {{"ref": "hanse/{name}@{letter}"}}')
            os.utime(file, (1000 - age, 1000 - age))
        shell(checkout, "images_manifest")
        manifest = json.loads((cache / "manifest.json").read_text())
        assert {name: entry["ref"] for name, entry in manifest.items()} == {
            "gate": "hanse/gate@a",
            "trainer-cpu": "hanse/trainer-cpu@c",
        }


class TestIndexSettings:
    def test_the_hosts_paths_stay_on_the_host(self, checkout: Path) -> None:
        file = checkout / "pip.conf"
        file.write_text("[global]\ncert = /etc/ca.crt\nindex-url = mirror/simple\nfind-links = /opt/wheels\n")
        settings = shell(checkout, "images_pip_settings", PIP_CONFIG_FILE=str(file), PIP_TRUSTED_HOST="mirror")
        assert settings.splitlines() == ["[global]", "index-url = mirror/simple", "trusted-host = mirror"]

    def test_a_run_leaves_no_copy_behind(self, checkout: Path) -> None:
        work = shell(checkout, 'images_pip_settings >"$IMAGES_WORK/pip"; echo "$IMAGES_WORK"').strip()
        assert not Path(work).exists()
