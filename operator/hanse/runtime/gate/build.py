"""The filter of a private job, from client.json and what lies beside it. Called by hanse.runtime.gate.main, once."""

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hanse.api import names
from hanse.api.paths import Paths
from hanse.api.privacy import PrivacyPlan
from hanse.api.runconfig import ClientConfig
from hanse.pki import identity
from hanse.runtime.aggregation import AggregationError
from hanse.runtime.codec import CodecError, Layout
from hanse.runtime.gate.histograms import Histograms, evaluation_histograms, statistics_histograms
from hanse.runtime.gate.initial import Arrays, NoInitialModel, check_unit, read_initial
from hanse.runtime.gate.layers import LocalLayers
from hanse.runtime.gate.models import Models
from hanse.runtime.gate.outbox import Outbox
from hanse.runtime.gate.private import Parts, PrivateFilter
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
    records = config.dataset.records or 0
    if records == 0 and (plan.unit == "Record" or plan.statistics or plan.evaluation):
        raise BadPlan("the owner has declared no number of records")
    shared = frozenset(layout.names)
    return Parts(
        plan=plan,
        records=max(records, 1),
        initial=initial,
        layout=layout,
        model=model,
        updates=updates,
        statistics=_statistics(config, plan, records),
        evaluation=_evaluation(plan, records),
        releases=Releases(plan, _opener(config, plan, paths), Outbox(paths.state / "outbox")),
        models=_models(config, plan, paths.state, layout, model),
        layers=LocalLayers(paths.state, lambda name: name not in shared),
        noise=ReleaseNoise,
        sign=_sign(paths.identity_key),
    )


def _models(config: ClientConfig, plan: PrivacyPlan, state: Path, layout: Layout, model: Arrays) -> Models:
    return Models(state, layout.flatten(model), step_limit(config, plan, layout), layout.precision)


def _statistics(config: ClientConfig, plan: PrivacyPlan, records: int) -> Histograms | None:
    if plan.statistics is None:
        return None
    schema = config.dataset.schema_
    if schema is None or not schema.ranges:
        raise BadPlan("the owner has declared no ranges of the features")
    return statistics_histograms(len(schema.features or schema.ranges), plan.statistics.bins, plan.unit, records)


def _evaluation(plan: PrivacyPlan, records: int) -> Histograms | None:
    return None if plan.evaluation is None else evaluation_histograms(plan.evaluation.bins, plan.unit, records)


def _opener(config: ClientConfig, plan: PrivacyPlan, paths: Paths) -> Callable[[], Lease]:
    """Takes the account over; the dataset's digest is read once, when the first release is near."""
    if config.population is None:
        raise BadPlan("the dataset belongs to no population: nothing can be charged")
    ledger = _ledger(config.population, config, paths)
    data = paths.data / config.dataset.path
    return partial(_open, ledger, config, plan, data)


def _open(ledger: Ledger, config: ClientConfig, plan: PrivacyPlan, data: Path) -> Lease:
    claim = Claim(
        account=names.account_id(config.job.uid, config.participant),
        plan=plan,
        plan_hash=config.plan_hash,
        dataset=config.dataset.name,
        dataset_digest=dataset_digest(data) if data.exists() else "",
    )
    return ledger.open(claim)


def _ledger(population: str, config: ClientConfig, paths: Paths) -> Ledger:
    if config.ledger == "File":
        return FileLedger(paths.ledger, population)
    return KubeLedger(_access(paths), population)


def _sign(key: Path) -> Callable[[bytes], str] | None:
    """Signs with the owner's identity; None where the owner has none (then the lease runs out by itself)."""
    try:
        private = key.read_text()
    except FileNotFoundError:
        return None
    return partial(identity.sign, private)


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
