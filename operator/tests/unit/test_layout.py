"""The layout that the rest relies on."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_operator_directory_is_not_a_package() -> None:
    """`operator/__init__.py` would shadow the standard library's `operator`."""
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_the_standard_library_operator_is_importable_from_the_root() -> None:
    import operator

    assert operator.add(1, 2) == 3
    assert "hanse" not in str(operator.__file__)


def test_every_directory_of_tests_is_a_package() -> None:
    """Otherwise two test files of one name collide; pytest's importlib mode would shadow `operator` instead."""
    directories = {path.parent for path in (ROOT / "operator" / "tests").rglob("*.py")}
    assert [d for d in directories if not (d / "__init__.py").exists()] == []
