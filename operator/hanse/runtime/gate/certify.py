"""The owner's certificate of a private job: made of what was paid for, and signed. Used by `private`.

It says nothing that did not leave already, except to the owner: it stays in the owner's namespace (`hanse run`: beside
the ledger). The arithmetic is `hanse.dp.certified`, which `hanse certificate verify` does again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from hanse.api import names
from hanse.api.certificate import Certificate, CertifiedRelease, SignedCertificate
from hanse.api.privacy import PrivacyPlan, Slot
from hanse.api.runconfig import ClientConfig
from hanse.dp import certified
from hanse.runtime.codec import PrivateGrid, SumCodec
from hanse.runtime.ledger import Entry, Lease, Sign


@dataclass(frozen=True)
class Bound:
    """What the gate alone knows of a release: how many integers, their noise, and what it hides of any two values."""

    values: int
    noise: float
    enforced_multiplier: float

    @classmethod
    def of_sum(cls, codec: SumCodec, member: int) -> Self:
        """Of one share of an encrypted sum of a private plan: on the fine grid, where its sensitivity is counted."""
        assert isinstance(codec.grid, PrivateGrid), "only private releases are certified"
        return cls(codec.kept, codec.grid.fine_sigma, codec.grid.enforced_multiplier(member))


@dataclass(frozen=True)
class Certifier:
    """Makes certificates of one participation. `dataset_digest` and `model` are asked when one is made."""

    config: ClientConfig
    plan: PrivacyPlan
    bound: Callable[[Slot], Bound]
    dataset_digest: Callable[[], str]
    model: Callable[[], str | None]
    public_key: str
    sign: Sign

    def certificate(self, lease: Lease, final: bool) -> SignedCertificate:
        """The certificate of all that was paid for under the lease's account so far."""
        paid = lease.releases()
        releases = [self._release(slot, paid[slot]) for slot in sorted(paid, key=lambda slot: (slot.round, slot))]
        made = self._made(lease.epoch, releases, paid, final)
        return SignedCertificate(
            certificate=made, public_key=self.public_key, signature=self.sign(made.digest.encode())
        )

    def _made(
        self, epoch: int, releases: list[CertifiedRelease], paid: Mapping[Slot, Entry], final: bool
    ) -> Certificate:
        config, job = self.config, self.config.job
        return Certificate(
            job=job,
            participant=config.participant,
            participation=names.participation_name(job.name, config.participant, job.uid),
            account=names.account_id(job.uid, config.participant),
            epoch=epoch,
            final=final,
            dataset=config.dataset.name,
            dataset_digest=self.dataset_digest() or None,
            population=config.population,
            plan_hash=config.plan_hash,
            plan=self.plan,
            mechanism=self.plan.mechanism,
            epsilons=certified.figures(self.plan, releases),
            releases=releases,
            rounds=len({slot.round for slot in paid} - {0}),
            attempts=len(paid),
            gate_image=config.gate_image,
            trainer_image=config.trainer_image,
            model_digest=self.model(),
            issued_at=datetime.now(UTC),
        )

    def _release(self, slot: Slot, entry: Entry) -> CertifiedRelease:
        bound = self.bound(slot)
        record = self.plan.unit == "Record"
        return CertifiedRelease(
            slot=slot.key,
            digest=entry.digest,
            at=entry.at,
            values=bound.values,
            noise=certified.multiplier_text(bound.noise),
            enforced_multiplier=certified.multiplier_text(bound.enforced_multiplier) if record else None,
        )
