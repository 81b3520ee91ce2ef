"""Who takes part in a round: waiting for the start and the quorum, vetting who joins. Used by the round loop."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.api.runconfig import RunConfig
from hanse.runtime.aggregation.statistics import FeatureMismatch, Statistics, StatisticsError, combine
from hanse.runtime.flower.rounds_fleet import STATISTICS, Answer, Clock, Fleet, Question, RunFailedError
from hanse.runtime.flower.rounds_report import Reporter

POLL_SECONDS: Final = 0.25


@dataclass
class Gathering:
    """Knows who is connected and since when the quorum is missing."""

    config: RunConfig
    fleet: Fleet
    clock: Clock
    reporter: Reporter
    #: Names of those who can contribute no more, as far as anybody says.
    lost: Callable[[], frozenset[str]] = frozenset
    #: Who of those connected can take part; an encrypted job's gates must hold its key.
    admit: Callable[[frozenset[int]], frozenset[int]] = lambda connected: connected
    vetted: set[int] = field(default_factory=set)
    #: Since when there is no quorum; None while there is one.
    short_since: float | None = None

    @property
    def everyone(self) -> frozenset[int]:
        return frozenset(p.index for p in self.config.participants)

    def names(self, indices: frozenset[int] | set[int] | list[int]) -> list[str]:
        """Names in the order of the participants' indices."""
        return [p.name for p in sorted(self.config.participants, key=lambda p: p.index) if p.index in indices]

    def connected(self) -> frozenset[int]:
        """Who is connected now; a change is reported at once."""
        found = self.fleet.connected() & self.everyone
        self.reporter.see(found)
        return found

    def wait_for_start(self, expected: frozenset[int]) -> frozenset[int]:
        """Wait for `expected` up to startTimeoutSeconds, then start with the quorum; who is lost is not waited for."""
        end = self.clock.monotonic() + self.config.start_timeout_seconds
        self.reporter.update(phase="WaitingForParticipants")
        while True:
            found = self.connected()
            lost = self.lost()
            awaited = expected - {p.index for p in self.config.participants if p.name in lost}
            if awaited <= found and len(found) >= self.config.quorum:
                return found
            if self.clock.monotonic() >= end:
                break
            self.clock.sleep(POLL_SECONDS)
        if len(found) < self.config.quorum:
            missing = ", ".join(self.names(self.everyone - found)[:5])
            raise RunFailedError(
                ExitCode.QUORUM_NOT_REACHED,
                f"{len(found)} of {len(self.everyone)} participants connected within "
                f"{self.config.start_timeout_seconds} s, the quorum is {self.config.quorum}; missing: {missing}",
            )
        return found

    def present(self, statistics: dict[str, Any] | None) -> list[int]:
        """Who can take part in a round that starts now: connected and vetted, at least the quorum."""
        while True:
            connected = self.connected()
            found = self.admit(connected)
            if statistics is not None:
                self._vet(sorted(found - self.vetted), statistics)
                found &= frozenset(self.vetted)
            if self.config.on_dropout == "Fail" and found != self.everyone:
                self.drop(found)
            if len(found) >= self.config.quorum:
                return sorted(found)
            without_key = f", {len(found)} hold the key" if len(found) < len(connected) else ""
            self.short(f"{len(connected)} connected{without_key}", self.everyone - found)
            self.clock.sleep(POLL_SECONDS)

    def drop(self, found: frozenset[int]) -> None:
        """onDropout: Fail."""
        missing = self.names(self.everyone - found)
        told = ", ".join(
            f"{p.name} ({self.reporter.reasons.get(p.index, Reason.NOT_CONNECTED)})"
            for p in self.config.participants
            if p.name in missing[:5]
        )
        raise RunFailedError(ExitCode.PARTICIPANT_DROPPED, f"onDropout is Fail and missing is: {told}")

    def short(self, what: str, missing: frozenset[int]) -> None:
        """The quorum is missing: note since when, and fail when SkipRound's patience is over."""
        now = self.clock.monotonic()
        if self.short_since is None:
            self.short_since = now
        told = f"{what}, the quorum is {self.config.quorum}; missing: {', '.join(self.names(missing)[:5])}"
        if self.config.on_dropout == "SkipRound" and now - self.short_since >= self.config.start_timeout_seconds:
            raise RunFailedError(ExitCode.QUORUM_LOST, f"no quorum for {self.config.start_timeout_seconds} s: {told}")
        if self.reporter.message != told:
            self.reporter.update(message=told)

    def enough(self) -> None:
        """The quorum is back."""
        self.short_since = None
        self.reporter.message = ""

    def statistics(self) -> dict[str, Any]:
        """Federated statistics over all that are connected, before round 1; at least the quorum must answer."""
        while True:
            present = self.present(None)
            answers = self._ask_statistics(present)
            good = {i: s for i in present if (s := self._parse(i, answers[i])) is not None}
            if len(good) >= self.config.quorum:
                break
            self.short(f"{len(good)} statistics", self.everyone - frozenset(good))
            self.clock.sleep(POLL_SECONDS)
        self.enough()
        first = good[min(good)]
        standard = combine_or_fail(list(good.values()))
        self.vetted |= set(good)
        return {
            "mean": standard["mean"],
            "scale": standard["scale"],
            "features": first.features,
            "label": first.label,
            "participant": first.participant,
        }

    def _vet(self, newcomers: list[int], statistics: dict[str, Any]) -> None:
        """Who joins late must have the same features and label; its data no longer change mean and scale."""
        if not newcomers:
            return
        zeros = [0.0] * len(statistics["features"])
        reference = Statistics(statistics["participant"], statistics["features"], statistics["label"], 1, zeros, zeros)
        for index, answer in self._ask_statistics(newcomers).items():
            if (found := self._parse(index, answer)) is not None:
                combine_or_fail([reference, found])
                self.vetted.add(index)

    def _ask_statistics(self, to: list[int]) -> dict[int, Answer]:
        answers = self.fleet.ask(Question(STATISTICS, 0), to, float(self.config.round_timeout_seconds))
        self.reporter.heard(i for i, a in answers.items() if a.failure is None)
        for index, answer in answers.items():
            if answer.failure is not None:
                self.reporter.reasons[index] = answer.failure
        return answers

    def _parse(self, index: int, answer: Answer) -> Statistics | None:
        """The participant's statistics; None (and a reason) when they are not what the contract says."""
        if answer.failure is not None:
            return None
        numbers, schema = answer.records.get("statistics", {}), answer.records.get("schema", {})
        try:
            return Statistics(
                participant=self.names([index])[0],
                features=[str(name) for name in schema["features"]],
                label=str(schema["label"]),
                count=int(numbers["count"]),
                sum=[float(x) for x in numbers["sum"]],
                sum_squares=[float(x) for x in numbers["sum-squares"]],
            )
        except (KeyError, TypeError, ValueError):
            self.reporter.reasons[index] = Reason.UPDATE_MISMATCH
            return None


def combine_or_fail(statistics: list[Statistics]) -> dict[str, list[float]]:
    """Mean and scale; two participants with different features end the job."""
    try:
        standard = combine(statistics)
    except FeatureMismatch as error:
        raise RunFailedError(ExitCode.FEATURE_MISMATCH, str(error)) from error
    except StatisticsError as error:
        raise RunFailedError(ExitCode.DATASET_INVALID, str(error)) from error
    return {"mean": list(standard.mean), "scale": list(standard.scale)}
