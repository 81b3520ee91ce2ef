"""Errors that a person sees. `hanse.cli.main` prints them and exits with their code; nothing else catches them.

CliError            1    anything that a person can act upon
  UsageError        2    the command line does not fit together
  ManifestError     2    the manifests would be refused; carries every problem found
  ClusterError      1    the API server refused, or cannot be reached
  ModelError        1    a model file that is not there, damaged, or not ours
  CertificateError  1    a certificate that its owner's gate has not signed so
  RunFailed      64-99   the job failed, with the code of `hanse.api.exitcodes`
  Interrupted     130    Ctrl-C
"""

from collections.abc import Sequence
from dataclasses import dataclass


class CliError(Exception):
    """What went wrong, and what to do next."""

    exit_code = 1

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class UsageError(CliError):
    """The command line does not fit together."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a manifest: where, what, and the next step."""

    source: str
    line: int
    subject: str
    field: str
    message: str
    next_step: str = ""

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line else self.source
        parts = [place, *(p for p in (self.subject, self.field, self.message) if p)]
        return ": ".join(parts)


class ManifestError(CliError):
    """The manifests would be refused."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = len(problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} found")
        self.problems = tuple(problems)


class ClusterError(CliError):
    """The API server refused, or cannot be reached."""


class ModelError(CliError):
    """A model file that is not there, damaged, or not ours."""


class CertificateError(CliError):
    """A certificate that its owner's gate has not signed so."""


class RunFailed(CliError):
    """The job failed."""

    def __init__(self, reason: str, message: str, exit_code: int, next_step: str = "") -> None:
        super().__init__(f"{reason}: {message}" if message else reason, next_step)
        self.reason = reason
        self.exit_code = exit_code if 1 <= exit_code <= 125 else 1


class Interrupted(CliError):
    """Ctrl-C."""

    exit_code = 130
