"""Mutants of the agreement's modules: the same source with one refusal left out. They are the attacks' controls."""

import ast
import importlib.util
from types import ModuleType


def without(module: ModuleType, text: str) -> ModuleType:
    """A copy of `module` whose one `raise Refused(…)` with `text` in its source (or in the line before) does nothing.

    Raises AssertionError when there is not exactly one.
    """
    assert module.__file__ is not None
    spec = importlib.util.spec_from_file_location(module.__name__, module.__file__)
    assert spec is not None
    assert isinstance(spec.loader, importlib.machinery.SourceFileLoader)
    source = spec.loader.get_data(module.__file__).decode()
    tree, found = ast.parse(source), []
    for node in ast.walk(tree):
        for body in (getattr(node, name, None) for name in ("body", "orelse")):
            if isinstance(body, list):
                found += [(body, at) for at, one in enumerate(body) if _refuses(body, at, one, source, text)]
    assert len(found) == 1, f"{len(found)} refusals with {text!r}"
    body, at = found[0]
    body[at] = ast.copy_location(ast.Pass(), body[at])
    mutant = importlib.util.module_from_spec(spec)
    exec(compile(tree, module.__file__, "exec"), mutant.__dict__)  # the module's own source
    return mutant


def _refuses(body: list[ast.stmt], at: int, one: ast.stmt, source: str, text: str) -> bool:
    if not isinstance(one, ast.Raise):
        return False
    words = [one]
    if at and isinstance(body[at - 1], ast.Assign):
        words.append(body[at - 1])  # type: ignore[arg-type]
    return any(text in (ast.get_source_segment(source, word) or "") for word in words)
