"""Removes what no ownerReference reaches once its job is gone: Participations elsewhere, the CA Secret.

Gone is what a live GET says: 404 or another uid. The cache alone decides nothing.
"""

import json

from hanse.api import names
from hanse.controller import errors, kinds
from hanse.controller.cache import Cache
from hanse.controller.door import Door
from hanse.controller.log import get_logger
from hanse.controller.manifests.server_objects import INDEX_JOB, ROLE_CA
from hanse.controller.progress.store import ProgressStore
from hanse.controller.views import Custom, parse_meta

_log = get_logger(__name__)
Job = tuple[str, str, str]  # namespace, name, uid


class Sweeper:
    """One pass over everything that carries a job's uid and lies outside its namespace."""

    def __init__(self, door: Door, cache: Cache, progress: ProgressStore, operator_namespace: str) -> None:
        self._door = door
        self._cache = cache
        self._progress = progress
        self._namespace = operator_namespace

    async def sweep(self) -> None:
        """Remove what belongs to jobs that are gone."""
        gone: dict[Job, bool] = {}
        for job in await self._authorities():
            if await self._is_gone(job, gone):
                name = names.ca_secret_name(job[2])
                # The Secret first: without its index entry nobody would find it.
                await self._door.delete(kinds.SECRET, self._namespace, name)
                await self._door.delete(kinds.CONFIG_MAP, self._namespace, name)
                self._progress.forget(job[2])
                _log.info("job is gone: its CA is removed", job=f"{job[0]}/{job[1]}", uid=job[2])
        for view in list(self._cache.customs(kinds.PARTICIPATION)):
            reference = view.spec.get("jobRef") or {}
            job = (reference.get("namespace", ""), reference.get("name", ""), reference.get("uid", ""))
            # One that somebody made by hand is theirs.
            ours = view.meta.labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY
            if ours and all(job) and not view.meta.deleting and await self._is_gone(job, gone):
                await self._remove(view, job)

    async def _remove(self, view: Custom, job: Job) -> None:
        try:
            await self._door.delete(kinds.PARTICIPATION, view.meta.namespace, view.meta.name)
        except errors.Denied as error:
            # One closed namespace must not keep the others from being swept; each resync tries again.
            _log.warning("Participation of a job that is gone stays", of=view.meta.namespace, error=str(error))
            return
        _log.info("job is gone: its Participation is removed", job=f"{job[0]}/{job[1]}", of=view.meta.namespace)

    async def _authorities(self) -> list[Job]:
        found = []
        for raw in await self._door.list(kinds.CONFIG_MAP, self._namespace):
            labels = raw["metadata"].get("labels") or {}
            if labels.get(names.LABEL_ROLE) == ROLE_CA:
                where = json.loads((raw.get("data") or {}).get(INDEX_JOB, "{}"))
                found.append((where.get("namespace", ""), where.get("name", ""), where.get("uid", "")))
        return [job for job in found if all(job)]

    async def _is_gone(self, job: Job, known: dict[Job, bool]) -> bool:
        if job not in known:
            known[job] = await self._ask(job)
        return known[job]

    async def _ask(self, job: Job) -> bool:
        namespace, name, uid = job
        view = self._cache.custom(kinds.FEDERATED_JOB, namespace, name)
        if view is not None and view.meta.uid == uid:
            return False
        try:
            raw = await self._door.get(kinds.FEDERATED_JOB, namespace, name)
        except errors.Denied:
            return False
        return raw is None or parse_meta(raw).uid != uid
