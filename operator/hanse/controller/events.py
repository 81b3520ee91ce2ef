"""Records Events (core/v1) about our objects. A lost Event is no error: status says it all. Called by the engine."""

import hashlib

from hanse.api.meta import clip_message
from hanse.controller import errors
from hanse.controller.clock import Clock
from hanse.controller.door import Door
from hanse.controller.kinds import Kind
from hanse.controller.log import get_logger
from hanse.controller.reconcile.model import Note
from hanse.controller.views import Meta

_REPORTER = "hanse-operator"
_MESSAGE_MAX = 1024
_log = get_logger(__name__)


class Recorder:
    """Writes to the namespace of the object that the Event is about."""

    def __init__(self, door: Door, clock: Clock) -> None:
        self._door = door
        self._clock = clock

    async def record(self, kind: Kind, meta: Meta, note: Note) -> None:
        """Create one Event."""
        time = self._clock.now().isoformat().replace("+00:00", "Z")
        text = f"{meta.uid}/{note.reason}/{note.message}/{time}"
        manifest = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{meta.name[:200]}.{hashlib.sha256(text.encode()).hexdigest()[:16]}",
                "namespace": meta.namespace,
            },
            "involvedObject": {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "name": meta.name,
                "namespace": meta.namespace,
                "uid": meta.uid,
            },
            "reason": note.reason,
            "message": clip_message(note.message, _MESSAGE_MAX),
            "type": "Warning" if note.warning else "Normal",
            "source": {"component": _REPORTER},
            "reportingComponent": _REPORTER,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }
        try:
            await self._door.create(manifest)
        except errors.ApiProblem as error:
            _log.warning("event not recorded", reason=note.reason, error=str(error))
