"""Attacks as tables: each row is refused by name, and goes through where that one refusal is left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Generic, TypeVar

import pytest

from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import Refused
from tests.unit.runtime.agreement.mutants import without

T = TypeVar("T")
#: Attack; the code; what the owner reads; the module and the refusal that stands in its way.
Row = tuple[Callable[[T], object], ReplyCode, str, ModuleType, str]


@dataclass(frozen=True)
class Case(Generic[T]):
    """One row; `attack` is done to a server or a gate."""

    attack: Callable[[T], object]
    code: ReplyCode
    words: str
    module: ModuleType
    refusal: str

    def is_refused(self, victim: T) -> None:
        """By its name."""
        with pytest.raises(Refused, match=self.words) as refused:
            self.attack(victim)
        assert refused.value.code == self.code

    def mutant(self) -> ModuleType:
        """The module without the refusal, for the control."""
        return without(self.module, self.refusal)


def tried(rows: Sequence[Row[T]]) -> pytest.MarkDecorator:
    """The test gets each row as its `case`."""
    cases = [Case(*row) for row in rows]
    return pytest.mark.parametrize("case", cases, ids=[case.attack.__name__ for case in cases])
