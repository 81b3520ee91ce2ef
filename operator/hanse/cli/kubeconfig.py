"""The kubeconfig as kubectl reads it: several files in KUBECONFIG, then ~/.kube/config, then a pod's service account.

`kube.connect` calls it. lightkube alone prefers the service account, takes one file, and refuses exec plugins of
`client.authentication.k8s.io/v1` (docs/known-issues.md).
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from hanse.cli.errors import ClusterError

if TYPE_CHECKING:
    from lightkube.config.kubeconfig import SingleConfig

_PATH_KEYS: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_EXEC_V1: Final = "client.authentication.k8s.io/v1"


def files(environment: Mapping[str, str]) -> list[Path]:
    """The kubeconfig files that are there, in the order in which they count."""
    given = [part for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part] or ["~/.kube/config"]
    return [path for path in (Path(part).expanduser() for part in given) if path.is_file()]


def merged(paths: Sequence[Path]) -> dict[str, Any]:
    """One kubeconfig of several: the first to name something wins; relative paths become absolute."""
    result: dict[str, Any] = {"clusters": [], "contexts": [], "users": []}
    for path in paths:
        content = yaml.safe_load(path.read_text()) or {}
        if not result.get("current-context") and content.get("current-context"):
            result["current-context"] = content["current-context"]
        for kind, single in (("clusters", "cluster"), ("contexts", "context"), ("users", "user")):
            known = {entry["name"] for entry in result[kind]}
            for entry in content.get(kind) or []:
                if entry["name"] not in known:
                    result[kind].append({**entry, single: _settled(entry.get(single) or {}, path.parent)})
    return result


def _settled(entry: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Paths absolute; the exec API's v1 named as v1beta1, whose answer has the token in the same place."""
    entry = {**entry, **{k: str(directory / entry[k]) for k in _PATH_KEYS if entry.get(k)}}
    plugin = entry.get("exec")
    if isinstance(plugin, dict) and plugin.get("apiVersion") == _EXEC_V1:
        entry["exec"] = {**plugin, "apiVersion": f"{_EXEC_V1}beta1"}
    return entry


def load(context: str | None = None, environment: Mapping[str, str] | None = None) -> "SingleConfig":
    """The chosen context. Raises `ClusterError`."""
    from lightkube import ConfigError, KubeConfig

    environment = os.environ if environment is None else environment
    tried = environment.get("KUBECONFIG", "~/.kube/config")
    try:
        found = files(environment)
        # The one path of settled files is absolute already; lightkube wants a file name all the same.
        config = KubeConfig.from_dict(merged(found), found[0]) if found else KubeConfig.from_service_account()
        chosen = config.get(context_name=context)
    except (ConfigError, OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ClusterError(f"no cluster: {error}", f"Set KUBECONFIG (now {tried}) or --context.") from error
    if chosen is None:
        raise ClusterError("no cluster: no context is chosen", "Choose one with --context.")
    return chosen
