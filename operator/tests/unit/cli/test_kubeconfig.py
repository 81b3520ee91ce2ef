"""Kubeconfigs are read as kubectl reads them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hanse.cli.errors import ClusterError
from hanse.cli.kubeconfig import load


def config(path: Path, name: str, user: dict[str, Any] | None = None, current: bool = True) -> Path:
    content = {
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}", "certificate-authority": "ca.crt"}}],
        "users": [{"name": "u", "user": user or {"token": name}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "u", "namespace": f"{name}-ns"}}],
        "current-context": name if current else "",
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def test_several_files_are_one_and_the_first_wins(tmp_path: Path) -> None:
    one, two = config(tmp_path / "a" / "one", "one", current=False), config(tmp_path / "b" / "two", "two")
    environment = {"KUBECONFIG": f"{one}:{tmp_path}/missing:{two}"}
    found = load(None, environment)
    assert (found.context_name, found.namespace) == ("two", "two-ns")
    assert found.cluster.certificate_auth == str(tmp_path / "b" / "ca.crt")
    assert found.user is not None
    assert found.user.token == "one"
    assert load("one", environment).cluster.server == "https://one"


def test_exec_plugins_of_today_are_understood(tmp_path: Path) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "get-token", "interactiveMode": "Never"}
    path = config(tmp_path / "c", "one", {"exec": plugin})
    user = load(None, {"KUBECONFIG": str(path)}).user
    assert user is not None
    assert user.exec is not None
    assert (user.exec.command, user.exec.apiVersion) == ("get-token", "client.authentication.k8s.io/v1beta1")


@pytest.mark.parametrize("content", ["", "{", "clusters: [{}]", "contexts: [{name: a}]\ncurrent-context: b"])
def test_what_is_no_kubeconfig_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "c").write_text(content)
    with pytest.raises(ClusterError, match="no cluster") as error:
        load(None, {"KUBECONFIG": str(tmp_path / "c")})
    assert str(tmp_path / "c") in error.value.next_step


def test_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no cluster"):
        load(None, {"KUBECONFIG": str(tmp_path / "none")})
