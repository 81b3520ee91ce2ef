"""The filter of an encrypted job, from client.json and what lies beside it. Called by hanse.runtime.gate.main, once."""

import logging
from functools import partial
from typing import Final

from hanse.api.encryption import EncryptionPlan
from hanse.api.paths import Paths
from hanse.api.privacy import PrivacyPlan, Slot
from hanse.api.runconfig import ClientConfig
from hanse.dp import epsilons
from hanse.runtime.aggregation import AggregationError
from hanse.runtime.aggregation.received import learning_rate
from hanse.runtime.agreement.ballot import Ballot
from hanse.runtime.agreement.roster import Roster, Signer
from hanse.runtime.codec import CodecError, Layout, check_rounds
from hanse.runtime.gate.build import (
    BadPlan,
    Bounds,
    OwnersAccount,
    certifier_of,
    declared_records,
    evaluation_of,
    statistics_of,
)
from hanse.runtime.gate.certify import Bound
from hanse.runtime.gate.content import Content
from hanse.runtime.gate.counted import Counted
from hanse.runtime.gate.encrypted import Account, EncryptedFilter, Parts
from hanse.runtime.gate.encrypted_answers import Answers
from hanse.runtime.gate.encrypted_keys import JobKey
from hanse.runtime.gate.encrypted_model import HeldModel
from hanse.runtime.gate.encrypted_release import About, Leaving
from hanse.runtime.gate.encrypted_round import Rounds
from hanse.runtime.gate.encrypted_told import Told
from hanse.runtime.gate.encrypted_updates import Codecs, EncryptedUpdates, StoredUpdates
from hanse.runtime.gate.encrypted_workers import Adder, Workers
from hanse.runtime.gate.filter import Counts
from hanse.runtime.gate.initial import NoInitialModel, check_unit, read_initial
from hanse.runtime.gate.layers import LocalLayers
from hanse.runtime.gate.outbox import Outbox
from hanse.runtime.gate.questions import SPARE, Questions
from hanse.runtime.gate.refused import Refused
from hanse.runtime.gate.release import Releases
from hanse.runtime.he import HeError, engine_of
from hanse.runtime.noise import NoiseError, ReleaseNoise
from hanse.runtime.shared import SharedModel, SharedModelError

log = logging.getLogger(__name__)

#: Key, models and ballot, in the gate's own directory.
_DIRECTORY: Final = "encrypted"


def encrypted_filter(
    config: ClientConfig, encryption: EncryptionPlan, paths: Paths, workers: Workers | None = None
) -> EncryptedFilter:
    """The filter of this participation. Raises BadPlan."""
    try:
        _check_terms(config, encryption)
        return EncryptedFilter(_Build(config, encryption, paths, workers or Workers()).parts())
    except (NoInitialModel, CodecError, NoiseError, AggregationError, HeError, SharedModelError, Refused) as error:
        raise BadPlan(f"{type(error).__name__}: {error}") from error
    except (OSError, KeyError) as error:
        raise BadPlan(f"{type(error).__name__}: {error}") from error


def _check_terms(config: ClientConfig, encryption: EncryptionPlan) -> None:
    if config.common_terms() != encryption.terms:
        raise BadPlan("what this gate is told to do is not what all participants' plan says (encryption.terms)")
    if config.participant not in encryption.names:
        raise BadPlan(f"the roster does not have {config.participant}")
    if config.privacy is not None and config.privacy.rounds != encryption.rounds:
        raise BadPlan(f"noise for {config.privacy.rounds} rounds, but the job has {encryption.rounds}")
    _check_shares(config.privacy, encryption)
    most = engine_of(encryption.scheme).facts.most_clients
    if len(encryption.roster) > most:
        raise BadPlan(f"{encryption.scheme} adds up {most} participants at most")


def _check_shares(plan: PrivacyPlan | None, encryption: EncryptionPlan) -> None:
    """A share of the noise is made for as many others as every decrypted sum has."""
    if plan is None or plan.mechanism != "Distributed":
        return
    made_for, summed = (plan.quorum, plan.collusion_threshold), (encryption.quorum, encryption.collusion_threshold)
    if made_for != summed:
        raise BadPlan(f"noise for quorum and collusion threshold {made_for}, but sums have {summed}")


class _Build:
    """The parts, in the order in which they need each other."""

    def __init__(self, config: ClientConfig, encryption: EncryptionPlan, paths: Paths, workers: Workers) -> None:
        self.config, self.encryption, self.paths, self.plan = config, encryption, paths, config.privacy
        self.initial, self.first = read_initial(paths.initial)
        if self.plan is not None:
            check_unit(self.first, self.plan.unit)
        self.layout = Layout.of(self.first, config.personal_layers)
        self.directory = paths.state / _DIRECTORY
        self.roster = Roster(encryption, config.job.uid)
        self.signer = Signer(paths.identity_key.read_text(), config.participant, self.roster.agreement)
        self.ballot = Ballot(self.directory, self.roster.agreement)
        scheme = encryption.scheme
        engine = engine_of(scheme)
        self.key = JobKey(
            self.directory,
            self.roster,
            self.signer,
            self.ballot,
            engine.keygen,
            lambda key: workers.cipher(scheme, key),
        )
        # An identity that was changed after the plan had pinned it: nobody would take a word of this gate.
        self.roster.verify(self.key.prekey)
        self.adder = Adder(scheme, len(encryption.roster), workers.summing)
        self.held = self._held()
        self.codecs = Codecs(self.layout, self.roster.agreement, encryption, self.plan, config.compression)
        self.check_rounds()

    def check_rounds(self) -> None:
        """That every round has a grid. Raises CodecError and NoiseError."""
        self.codecs.of(1, float(self.encryption.range or 1))
        if self.plan is not None:
            largest = max(epsilons(self.plan, self.plan.slots()).values())
            compression = self.config.compression
            delta = check_rounds(self.layout, self.codecs.members, self.plan, compression, largest)
            log.info("the sampler adds %.1e to delta %s", delta, self.plan.delta)

    def parts(self) -> Parts:
        """All of them."""
        config, paths = self.config, self.paths
        account = None if self.plan is None else self._account(self.plan)
        unit = None if self.plan is None else self.plan.unit
        answers = StoredUpdates(Outbox(self.directory / "outbox")) if account is None else account.releases
        member = self.encryption.names.index(config.participant)
        rounds = Rounds(
            roster=self.roster,
            signer=self.signer,
            ballot=self.ballot,
            key=self.key,
            held=self.held,
            updates=EncryptedUpdates(self.codecs, member, answers, self.directory),
            codecs=self.codecs,
            unit=unit,
            rate=learning_rate(config.config) if unit == "Record" else None,
            add=self.adder.add,
        )
        about = About(config.job, config.client_app, _said(self.initial))
        leaving = Leaving(self.directory, paths.models, self.roster, self.signer, self.held, about)
        shared = frozenset(self.layout.names)
        return Parts(
            answers=Answers(len(self.encryption.roster), self.key, self.held, rounds, leaving),
            app=self.initial.get("app"),
            first=self.first,
            layout=self.layout,
            key=self.key,
            held=self.held,
            rounds=rounds,
            leaving=leaving,
            layers=LocalLayers(paths.state, lambda name: name not in shared),
            counts=Counts(paths.state, config.dataset.records),
            questions=Questions(paths.state, (self.plan.max_attempts if self.plan is not None else 1) + SPARE),
            told=Told(self.directory),
            account=account,
            close=self._close,
        )

    def _close(self) -> None:
        self.key.close()
        self.adder.close()

    def _held(self) -> HeldModel:
        encryption = self.encryption
        reach = None if self.plan is not None else float(encryption.range or 1)
        first = SharedModel.first(
            self.first,
            self.layout,
            self.config.aggregation,
            members=encryption.names,
            rounds=encryption.rounds,
            range=reach,
        )
        held = HeldModel(first, self.directory, self.roster, self.ballot, lambda: self.key.state_key)
        if self.key.held:
            held.load()
        return held

    def _account(self, plan: PrivacyPlan) -> Account:
        config, paths = self.config, self.paths
        records = declared_records(config, plan)
        statistics, evaluation = statistics_of(config, plan, records), evaluation_of(plan, records)
        owner = OwnersAccount(config, plan, paths)
        releases = Releases(plan, owner.open, Outbox(paths.state / "outbox"), plan_hash=config.plan_hash)
        bounds = Bounds(partial(_bound, self.codecs, config.participant), statistics, evaluation, plan)
        return Account(
            plan=plan,
            releases=releases,
            counted=Counted(plan, max(records, 1), statistics, evaluation, releases, ReleaseNoise),
            certifier=certifier_of(config, plan, paths, owner, bounds, self._committed),
        )

    def _committed(self) -> str | None:
        number, digest = self.held.reached
        return digest if number else None


def _bound(codecs: Codecs, participant: str, slot: Slot) -> Bound:
    return Bound.of_sum(codecs.of(slot.round, None), codecs.encryption.names.index(participant))


def _said(initial: Content) -> str:
    """What the app says of its model."""
    record = initial.get("app")
    return "" if record is None else str(record.values.get("model", ""))
