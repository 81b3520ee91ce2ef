"""Pushes the newest progress to the operator: HTTPS, its CA, a projected token that is read again at each push.

A thread of the launcher. Newest state wins, at most one push a second, errors are retried with the state of then.
While the run waits for participants the state is repeated: the answer says who will not come.
"""

import logging
import ssl
import threading
import time
from collections.abc import Callable
from typing import Final

import httpx
from pydantic import ValidationError

from hanse.api.paths import Paths
from hanse.api.progress import Progress, ProgressReply

_log = logging.getLogger("hanse.progress")
_INTERVAL_SECONDS: Final = 1.0
_LONGEST_RETRY_SECONDS: Final = 15.0
_TIMEOUT: Final = httpx.Timeout(5.0)
_FLUSH_SECONDS: Final = 6.0
_REPEAT_SECONDS: Final = 5.0


class Pusher:
    """One thread, one connection at a time."""

    def __init__(
        self,
        url: str,
        paths: Paths,
        flush_seconds: float = _FLUSH_SECONDS,
        *,
        heard: Callable[[ProgressReply], None] = lambda reply: None,
        repeat_seconds: float = _REPEAT_SECONDS,
        interval_seconds: float = _INTERVAL_SECONDS,
    ) -> None:
        self._url = url
        self._paths = paths
        self._flush_seconds = flush_seconds
        self._heard = heard
        self._repeat_seconds = repeat_seconds
        self._interval_seconds = interval_seconds
        self._changed = threading.Condition()
        self._pending: Progress | None = None
        self._finishing = False
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._told = ""

    def start(self) -> None:
        """Start pushing."""
        self._thread.start()

    def push(self, progress: Progress) -> None:
        """Hand over the newest state; never blocks on the network."""
        with self._changed:
            self._pending = progress
            self._changed.notify()

    def finish(self) -> None:
        """Give the last state a few seconds; what is not delivered is in the termination message."""
        with self._changed:
            self._finishing = True
            self._changed.notify()
        self._thread.join(self._flush_seconds)

    def _run(self) -> None:
        wait = self._interval_seconds
        last: Progress | None = None
        while True:
            waiting = last is not None and last.phase == "WaitingForParticipants"
            with self._changed:
                self._changed.wait_for(
                    lambda: self._pending is not None or self._finishing, self._repeat_seconds if waiting else None
                )
                progress, self._pending = self._pending, None
                if progress is None and self._finishing:
                    return
            progress = last = progress or last
            if progress is None:
                continue
            if self._send(progress):
                wait = self._interval_seconds
            else:
                with self._changed:
                    self._pending = self._pending or progress
                wait = min(wait * 2, _LONGEST_RETRY_SECONDS)
            self._pause(wait)

    def _pause(self, seconds: float) -> None:
        """Between two pushes; cut short at the end, when only the last state matters."""
        with self._changed:
            self._changed.wait_for(lambda: self._finishing, timeout=seconds)
        if self._finishing:
            time.sleep(0.2)

    def _send(self, progress: Progress) -> bool:
        """One push. False when it should be tried again."""
        try:
            token = self._paths.progress_token.read_text().strip()
            # A new context each time: the operator renews its certificate, the kubelet the mounted CA.
            trust = ssl.create_default_context(cafile=str(self._paths.operator_ca))
            answer = httpx.post(
                self._url,
                content=progress.to_json(),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                verify=trust,
                timeout=_TIMEOUT,
                trust_env=False,
            )
        except (OSError, httpx.HTTPError) as error:
            self._tell(f"progress was not pushed: {type(error).__name__}")
            return False
        if answer.is_success:
            self._tell("progress is pushed")
            self._hear(answer)
            return True
        self._tell(f"progress was refused: HTTP {answer.status_code}")
        # 409: a newer state or another pod is ahead of us. Repeating the same state would not change that.
        return answer.status_code == httpx.codes.CONFLICT

    def _hear(self, answer: httpx.Response) -> None:
        try:
            empty = answer.status_code == httpx.codes.NO_CONTENT
            self._heard(ProgressReply() if empty else ProgressReply.model_validate_json(answer.content))
        except ValidationError as error:
            self._tell(f"an unreadable answer to progress: {error.error_count()} errors")

    def _tell(self, what: str) -> None:
        """Log changes only: the operator may be away for an hour."""
        if what != self._told:
            self._told = what
            _log.info("%s", what)
