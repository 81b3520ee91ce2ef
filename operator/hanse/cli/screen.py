"""Views on the terminal, live; line by line where there is none. For `hanse run` and `hanse watch`."""

from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hanse.cli.view import History, View, duration, lines, metric_columns, missing, number

_COLOURS: Final = {"Complete": "green", "Failed": "red", "Refused": "red", "Running": "cyan", "Waiting": "yellow"}
_LIVE_ROUNDS: Final = 8
_LIVE_MEMBERS: Final = 12


def rounds_table(view: View, newest: int | None = None) -> Table:
    """Rounds and their metrics, oldest first."""
    rounds = view.rounds[-newest:] if newest else view.rounds
    columns = metric_columns(view.rounds)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("ROUND", "UPDATES", "SECONDS", *(c.upper() for c in columns)):
        table.add_column(name, justify="right")
    somebody_missed = any(record.missing for record in view.rounds)
    if somebody_missed:
        table.add_column("MISSING")
    for record in rounds:
        values = (number(record.metrics[c]) if c in record.metrics else "-" for c in columns)
        cells = (f"{record.number}/{view.total}", str(record.contributed), f"{float(record.seconds):.2f}", *values)
        table.add_row(*cells, *([missing(record)] if somebody_missed else []))
    return table


def members_table(view: View) -> Table:
    """Participants, ready or not, and why not."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("PARTICIPANT", "READY", "ROUNDS", ""):
        table.add_column(name)
    waited_for_first = sorted(view.members, key=lambda m: m.ready)
    for member in waited_for_first[:_LIVE_MEMBERS]:
        note = "" if member.ready else member.note
        table.add_row(member.name, "yes" if member.ready else "no", str(member.rounds), escape(note))
    if len(view.members) > _LIVE_MEMBERS:
        table.add_row(f"… and {len(view.members) - _LIVE_MEMBERS} more")
    return table


def headline(view: View) -> RenderableType:
    """State, bar, rounds and time left on one line."""
    row = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(view.total, 1), completed=view.completed, width=30)
    eta = f"{duration(view.eta_seconds)} left" if view.eta_seconds is not None and not view.ended else ""
    state = Text(view.state, style=_COLOURS.get(view.state, "default"))
    row.add_row(Text(view.job, style="bold"), state, bar, f"{view.completed}/{view.total} rounds", eta)
    return row


def live(view: View) -> RenderableType:
    """The whole view while the job runs."""
    parts: list[RenderableType] = [headline(view)]
    if view.encryption and not view.ended:
        parts.append(Text(view.encryption, style="dim"))
    if view.message:
        parts.append(Text(f"{view.reason}: {view.message}" if view.reason not in ("", "-") else view.message))
    if any(not m.ready for m in view.members) or not view.rounds:
        parts.append(members_table(view))
    if view.rounds:
        parts.append(rounds_table(view, _LIVE_ROUNDS))
    return Group(*parts)


class Screen:
    """Shows one view after the other, and a table of all rounds at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._history = History()
        self._last: View | None = None
        self._live = Live(console=console, transient=True, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._live is None:
            return
        self._live.stop()
        if self._last is not None and self._last.rounds:
            self._console.print(rounds_table(self._last))

    @property
    def last(self) -> View | None:
        """The newest view, with every round seen."""
        return self._last

    def show(self, view: View) -> None:
        """The next view."""
        view = self._history.fill(view)
        if self._live is not None:
            self._live.update(live(view))
        else:
            for line in lines(self._last, view):
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._last = view

    def say(self, text: str) -> None:
        """One line above the live part."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
