"""The filter of a private job, from client.json and what lies beside it. Called by hanse.runtime.gate.main, once."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hanse.api import names
from hanse.api.paths import Paths
from hanse.api.privacy import PrivacyPlan, ReleaseKind, Slot
from hanse.api.runconfig import ClientConfig
from hanse.pki import identity
from hanse.runtime.aggregation import AggregationError
from hanse.runtime.codec import CodecError, Layout
from hanse.runtime.gate.certify import Bound, Certifier
from hanse.runtime.gate.counted import Counted
from hanse.runtime.gate.histograms import Histograms, evaluation_histograms, statistics_histograms
from hanse.runtime.gate.initial import Arrays, NoInitialModel, check_unit, read_initial
from hanse.runtime.gate.layers import LocalLayers
from hanse.runtime.gate.models import Models
from hanse.runtime.gate.outbox import Outbox
from hanse.runtime.gate.private import Parts, PrivateFilter
from hanse.runtime.gate.questions import SPARE, Questions
from hanse.runtime.gate.release import Releases
from hanse.runtime.gate.steps import step_limit
from hanse.runtime.gate.updates import Updates
from hanse.runtime.ledger import Claim, Lease, Ledger
from hanse.runtime.ledger.digest import dataset_digest
from hanse.runtime.ledger.file import FileLedger
from hanse.runtime.ledger.kube import Access, KubeLedger
from hanse.runtime.noise import NoiseError, ReleaseNoise

log = logging.getLogger(__name__)


class BadPlan(ValueError):
    """The plan cannot be enforced; the gate does not start."""


def private_filter(config: ClientConfig, plan: PrivacyPlan, paths: Paths) -> PrivateFilter:
    """The filter of this participation. Raises BadPlan."""
    if plan.mechanism != "Local":
        raise BadPlan(f"mechanism {plan.mechanism} needs encryption: the server would see each share alone")
    try:
        return PrivateFilter(_parts(config, plan, paths))
    except (NoInitialModel, CodecError, NoiseError, AggregationError) as error:
        raise BadPlan(f"{type(error).__name__}: {error}") from error


def _parts(config: ClientConfig, plan: PrivacyPlan, paths: Paths) -> Parts:
    initial, model = read_initial(paths.initial)
    check_unit(model, plan.unit)
    layout = Layout.of(model, config.personal_layers)
    updates = Updates(layout, config.plan_hash, plan, config.compression, paths.state)
    log.info("the sampler adds %.1e to delta %s", updates.check(), plan.delta)
    records = declared_records(config, plan)
    shared = frozenset(layout.names)
    statistics, evaluation = statistics_of(config, plan, records), evaluation_of(plan, records)
    account = OwnersAccount(config, plan, paths)
    releases = Releases(plan, account.open, Outbox(paths.state / "outbox"), plan_hash=config.plan_hash)
    models = _models(config, plan, paths.state, layout, model)
    return Parts(
        plan=plan,
        records=max(records, 1),
        initial=initial,
        layout=layout,
        model=model,
        updates=updates,
        counted=Counted(plan, max(records, 1), statistics, evaluation, releases, ReleaseNoise),
        releases=releases,
        models=models,
        layers=LocalLayers(paths.state, lambda name: name not in shared),
        questions=Questions(paths.state, plan.max_attempts + SPARE),
        certifier=certifier_of(
            config,
            plan,
            paths,
            account,
            Bounds(partial(_bound, updates), statistics, evaluation, plan),
            lambda: models.newest,
        ),
    )


def declared_records(config: ClientConfig, plan: PrivacyPlan) -> int:
    """The owner's number of records; 0 without one. Raises BadPlan where the plan needs it."""
    records = config.dataset.records or 0
    if records == 0 and (plan.unit == "Record" or plan.statistics or plan.evaluation):
        raise BadPlan("the owner has declared no number of records")
    return records


def _models(config: ClientConfig, plan: PrivacyPlan, state: Path, layout: Layout, model: Arrays) -> Models:
    return Models(state, layout.flatten(model), step_limit(config, plan, layout), layout.precision)


def statistics_of(config: ClientConfig, plan: PrivacyPlan, records: int) -> Histograms | None:
    """The form of the plan's statistics. Raises BadPlan when the owner has declared no ranges."""
    if plan.statistics is None:
        return None
    schema = config.dataset.schema_
    if schema is None or not schema.ranges:
        raise BadPlan("the owner has declared no ranges of the features")
    return statistics_histograms(len(schema.features or schema.ranges), plan.statistics.bins, plan.unit, records)


def evaluation_of(plan: PrivacyPlan, records: int) -> Histograms | None:
    """The form of the plan's evaluation."""
    return None if plan.evaluation is None else evaluation_histograms(plan.evaluation.bins, plan.unit, records)


class OwnersAccount:
    """The owner's account; the dataset's digest is read when it is opened, so when the first release is near."""

    def __init__(self, config: ClientConfig, plan: PrivacyPlan, paths: Paths) -> None:
        if config.population is None:
            raise BadPlan("the dataset belongs to no population: nothing can be charged")
        self._config = config
        self._plan = plan
        self._data = paths.data / config.dataset.path
        self._ledger = _ledger(config.population, config, paths)
        self.dataset_digest = ""

    def open(self) -> Lease:
        """Takes the account over. Raises LedgerError."""
        self.dataset_digest = dataset_digest(self._data) if self._data.exists() else ""
        claim = Claim(
            account=names.account_id(self._config.job.uid, self._config.participant),
            plan=self._plan,
            plan_hash=self._config.plan_hash,
            dataset=self._config.dataset.name,
            dataset_digest=self.dataset_digest,
        )
        return self._ledger.open(claim)


@dataclass(frozen=True)
class Bounds:
    """What the gate guarantees of each release, for the certificate; `train` says it of updates."""

    train: Callable[[Slot], Bound]
    statistics: Histograms | None
    evaluation: Histograms | None
    plan: PrivacyPlan

    def __call__(self, slot: Slot) -> Bound:
        if slot.kind is ReleaseKind.TRAIN:
            return self.train(slot)
        statistics = slot.kind is ReleaseKind.STATISTICS
        form = self.statistics if statistics else self.evaluation
        part = self.plan.statistics if statistics else self.plan.evaluation
        if form is None or part is None:
            raise BadPlan(f"the plan has no {slot.key}")
        noise = float(part.noise_multiplier)
        return Bound(form.cells, noise * form.sensitivity, form.enforced_multiplier(noise))


def _bound(updates: Updates, slot: Slot) -> Bound:
    codec = updates.codec(slot.round, slot.attempt)
    assert codec.grid is not None
    return Bound(codec.kept, codec.grid.sigma, codec.grid.enforced_multiplier)


def _ledger(population: str, config: ClientConfig, paths: Paths) -> Ledger:
    if config.ledger == "File":
        return FileLedger(paths.ledger, population)
    return KubeLedger(_access(paths), population)


def certifier_of(
    config: ClientConfig,
    plan: PrivacyPlan,
    paths: Paths,
    account: OwnersAccount,
    bounds: Bounds,
    model: Callable[[], str | None],
) -> Certifier | None:
    """Signs with the owner's identity; None where the owner has none (then the lease runs out by itself)."""
    try:
        private = paths.identity_key.read_text()
    except FileNotFoundError:
        log.warning("the owner has no identity key: there will be no certificate")
        return None
    return Certifier(
        config=config,
        plan=plan,
        bound=bounds,
        dataset_digest=lambda: account.dataset_digest,
        model=model,
        public_key=identity.identity_public_key(private),
        sign=partial(identity.sign, private),
    )


def _access(paths: Paths) -> Access:
    """The API server, as every pod finds it, with the token that only this container has."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise BadPlan("no API server is in this pod's environment")
    files = paths.ledger_access
    address = f"[{host}]" if ":" in host else host
    return Access(
        url=f"https://{address}:{port}",
        namespace=(files / "namespace").read_text().strip(),
        token=files / "token",
        ca=files / "ca.crt",
    )
