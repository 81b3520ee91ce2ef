"""How long leaf certificates live, and when the ones of a Job that waits in a queue are made anew.

Used by both plans and by `execute`. A pod reads its certificate when it starts and keeps it: what it has then must last
for its whole run. Nobody knows when a queue admits a Job, so its certificate never gets old while it waits.
"""

from datetime import datetime, timedelta
from typing import Final

from hanse.controller.manifests.client import DEFAULT_DEADLINE_SECONDS

#: The operator may be away for so long while a queue admits a Job, less RENEW.
SPARE: Final = timedelta(days=7)
#: A certificate of a Job that waits is renewed when it is so old.
RENEW: Final = timedelta(days=1)
#: How often that is looked at.
LOOK_SECONDS: Final = 3600.0
#: A server without a deadline waits for its clients' queues, and each client may then run for 7 days.
SERVER_RUN: Final = timedelta(days=365)


def client_life(active_seconds: int | None) -> timedelta:
    """Of a client's certificate, by the activeDeadlineSeconds of its Job."""
    return timedelta(seconds=active_seconds or DEFAULT_DEADLINE_SECONDS) + SPARE


def server_life(active_seconds: int | None) -> timedelta:
    """Of the server's certificate, by the job's spec.activeDeadlineSeconds."""
    return (SERVER_RUN if active_seconds is None else timedelta(seconds=active_seconds)) + SPARE


def is_stale(expires: datetime | None, life: timedelta, now: datetime) -> bool:
    """Whether a certificate that no pod has read yet should be made anew."""
    return expires is None or expires - now < life - RENEW
