"""No Ctrl-C is lost, wherever it strikes."""

import signal
import sys
from collections.abc import Iterator

import pytest

from hanse.cli.interrupt import Interrupt


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


class Destroyed:
    """Is interrupted while it is destroyed."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_at_once(number: signal.Signals) -> None:
    interrupt = Interrupt()
    interrupt.install()
    interrupt.look()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_one_that_python_forgets_interrupts_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", forgotten.append)
    interrupt = Interrupt()
    interrupt.install()
    thing = Destroyed()
    del thing
    assert forgotten
    with pytest.raises(KeyboardInterrupt):
        interrupt.look()
