"""How generated files look: a header that says so, YAML in the order of the dicts. Used by the generators."""

import yaml


def header(source: str = "operator/hanse/api") -> str:
    """The first line of a generated file, without the comment sign."""
    return f"Generated from {source} by scripts/generate: do not edit."


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def to_yaml(value: object) -> str:
    """YAML in the order of the dicts, without aliases."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
