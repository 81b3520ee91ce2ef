"""The generated part of the Helm chart: its CRDs and its policy rules. Called by `hanse.dev.generate`."""

from typing import Final

from hanse.api.rbac import GATE_TABLE, Grant, Where, grants
from hanse.dev.crds import KINDS, build_crd
from hanse.dev.text import header, to_yaml

CHART: Final = "helm/hanse"

_KEEP: Final = """\
  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
"""
#: Named templates of the rules, and for which kinds of namespaces each is.
_RULES: Final[dict[str, tuple[Where, ...]]] = {
    "operator": (Where.OPERATOR,),
    "coordinator": (Where.COORDINATOR,),
    "participant": (Where.PARTICIPANT,),
    "namespaces": (Where.COORDINATOR, Where.PARTICIPANT),
    "cluster": (Where.CLUSTER,),
}


def chart_files() -> dict[str, str]:
    """Generated files of the chart, by path from the repository's root."""
    files = {f"{CHART}/templates/crds/{kind.plural}.yaml": crd_template(build_crd(kind)) for kind in KINDS}
    files[f"{CHART}/templates/_rules.tpl"] = rules_template()
    return files


def crd_template(crd: dict[str, object]) -> str:
    """A CRD that `crds.install` switches and `crds.keep` protects: Helm never upgrades what is in a chart's crds/."""
    text = to_yaml(crd)
    if "{{" in text:
        raise ValueError("a CRD holds '{{', which Helm would execute")
    head, name, rest = text.partition("metadata:\n")
    return (
        f"{{{{- /* {header()} */ -}}}}\n{{{{- if .Values.crds.install }}}}\n{head}{name}{_KEEP}{rest}{{{{- end }}}}\n"
    )


def rules_template() -> str:
    """`hanse.rules.*`: lists of PolicyRules, each with the reason from the table."""
    parts = [f"{{{{- /* {header('operator/hanse/api/rbac.py')} */ -}}}}"]
    for name, where in _RULES.items():
        rules = "".join(_rule(grant) for grant in grants(*where))
        parts.append(f'{{{{- define "hanse.rules.{name}" -}}}}\n{rules}{{{{- end -}}}}')
    gate = "".join(_rule(grant) for grant in GATE_TABLE)
    parts.append(f'{{{{- define "hanse.rules.gate" -}}}}\n{gate}{{{{- end -}}}}')
    return "\n".join(parts) + "\n"


def _rule(grant: Grant) -> str:
    return f"# {grant.why}\n{to_yaml([grant.to_rule()])}"
