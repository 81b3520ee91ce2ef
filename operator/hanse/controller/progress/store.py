"""The newest progress of each job, in memory, and what is answered to it.

A restart loses both; the next push and the next visit bring them back. Read by `observe`, written by `server` and the
engine.
"""

from hanse.api.progress import Progress


class ProgressStore:
    """By job uid."""

    def __init__(self) -> None:
        self._newest: dict[str, Progress] = {}
        self._lost: dict[str, frozenset[str]] = {}

    def put(self, progress: Progress) -> bool:
        """Keep a push unless a newer one is known; whether it was kept."""
        known = self._newest.get(progress.job_uid)
        if known is not None and _order(known) >= _order(progress) and known != progress:
            return False
        self._newest[progress.job_uid] = progress
        return True

    def get(self, job_uid: str) -> Progress | None:
        """The newest push."""
        return self._newest.get(job_uid)

    def forget(self, job_uid: str) -> None:
        """The job is gone."""
        self._newest.pop(job_uid, None)
        self._lost.pop(job_uid, None)

    def set_lost(self, job_uid: str, names: frozenset[str]) -> None:
        """Who can contribute no more: the answer to the job's next push."""
        self._lost.pop(job_uid, None)
        if names:
            self._lost[job_uid] = names

    def lost(self, job_uid: str) -> list[str]:
        """Names, sorted."""
        return sorted(self._lost.get(job_uid, ()))


def _order(progress: Progress) -> tuple[object, int]:
    # A new pod counts its pushes from the start again: time first.
    return progress.updated_at, progress.sequence
