"""Encrypted jobs of examples/credit-private in one process, as the gates do their arithmetic; for `privacy`.

Every bank has its own codec, noise, ciphertext and copy of the model (`SumCodec`, `hanse.runtime.he`, `SharedModel`);
the server's part is one `Summing`. BFV is really done; one worker process does it for all banks, who hold the same key.
What is left out are messages, signatures and the ledger, which no figure here depends on. All banks are in every round.
"""

from contextlib import ExitStack
from typing import Self

import numpy as np
from numpy.typing import NDArray

from e2e.benchmarks.credit import Bank, Case
from e2e.benchmarks.local_noise import JOB, Histograms, Outcome, outcome, shown_auc
from e2e.benchmarks.network import Floats
from hanse.api.encryption import EncryptionPlan
from hanse.api.encryptionplan import encryption_plan
from hanse.api.privacy import DifferentialPrivacy, PrivacyPlan, ReleaseKind
from hanse.dp import resolve
from hanse.pki.identity import new_identity
from hanse.runtime.aggregation.received import learning_rate
from hanse.runtime.codec import Layout, SumCodec
from hanse.runtime.he import Cipher, Summing, engine_of
from hanse.runtime.noise import ReleaseNoise
from hanse.runtime.shared import SharedModel


def encrypted(case: Case, banks: list[Bank], seed: int) -> Outcome:
    """A whole job without differential privacy: `plain`, but for the encryption."""
    with EncryptedJob(case, banks, None, seed) as job:
        for number in range(1, case.spec.rounds + 1):
            job.round(number)
        return Outcome(case.auc(case.network.arrays(job.model)), float("inf"), float("inf"))


def distributed(case: Case, asked: DifferentialPrivacy, banks: list[Bank], seed: int) -> Outcome:
    """A whole job of these banks, all of them its quorum, whose noise comes in shares."""
    rounds = case.spec.rounds
    plans = [resolve(asked, rounds, bank.records, quorum=len(banks)) for bank in banks]
    gates = [Histograms(case.network, bank, plan) for bank, plan in zip(banks, plans, strict=True)]
    shown = None
    with EncryptedJob(case, banks, plans, seed) as job:
        for number in range(1, rounds + 1):
            for gate in gates:
                gate.take(ReleaseKind.TRAIN, number)
            job.round(number)
            if plans[0].evaluates(number):
                shown = shown_auc(gates, number, job.model)
        return outcome(case.auc(case.network.arrays(job.model)), gates, shown)


class EncryptedJob:
    """A job of some banks that hold one model and one key together. A context manager.

    `plans` are the banks' own, or None without differential privacy.
    """

    def __init__(self, case: Case, banks: list[Bank], plans: list[PrivacyPlan] | None, seed: int) -> None:
        self._network, self._banks, self._plans = case.network, banks, plans
        agreed = _agreed(case, banks, plans)
        self._names = agreed.names
        self._agreement = agreed.agreement(JOB.uid)
        self._members = [(float(member.scale), float(member.mass)) for member in agreed.roster]
        self._rate = learning_rate(case.spec.app.config)
        first = case.network.arrays(case.network.first(seed))
        self._layout = Layout.of(first, [])
        reach = None if agreed.range is None else float(agreed.range)
        aggregation, rounds = case.spec.aggregation, case.spec.rounds
        self._models = [
            SharedModel.first(first, self._layout, aggregation, members=self._names, rounds=rounds, range=reach)
            for _ in banks
        ]
        self._cipher = Cipher(agreed.scheme, engine_of(agreed.scheme).keygen(), processes=1)
        self._sum = Summing(agreed.scheme, self._layout.size)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.callback(self._sum.close)
        self._stack.callback(self._cipher.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def model(self) -> Floats:
        """What every bank's gate holds."""
        return self._network.flat(self._models[0].arrays)

    def round(self, number: int) -> None:
        """One round of all banks; their models are equal afterwards, by digest."""
        self._sum.reset()
        for index in range(len(self._banks)):
            self._sum.add(self._cipher.encrypt(number, self._points(number, index)))
        total = self._sum.total()
        mass = sum(mass for _, mass in self._members)
        for index, model in enumerate(self._models):
            codec = self._codec(number, index)
            mean = codec.mean(self._cipher.decrypt(number, total, codec.kept), mass)
            rate = None if self._plans is None else self._rate
            model.commit(model.apply(number, mean, self._names, rate, amplification=codec.amplification))
        assert len({model.digests for model in self._models}) == 1

    def _points(self, number: int, index: int) -> NDArray[np.int64]:
        bank, model = self._banks[index], self._network.flat(self._models[index].arrays)
        inputs, labels = bank.inputs[~bank.kept], bank.labels[~bank.kept]
        if self._plans is None:
            update: Floats = -self._rate * self._network.gradient_sum(model, inputs, labels, None) / len(labels)
            noise = None
        else:
            # The example's sample rate is 1: everybody is drawn.
            update = self._network.gradient_sum(model, inputs, labels, float(self._plans[index].clip))
            noise = ReleaseNoise()
        vector = self._layout.flatten(self._network.named(update))
        return self._codec(number, index).quantise(vector, index, noise).points

    def _codec(self, number: int, index: int) -> SumCodec:
        plan = None if self._plans is None else self._plans[index]
        reach = self._models[index].range
        return SumCodec.of(self._layout, number, self._agreement, self._members, plan, None, reach)


def _agreed(case: Case, banks: list[Bank], plans: list[PrivacyPlan] | None) -> EncryptionPlan:
    """What the operator would freeze for these banks."""
    one = case.spec.participants[0]
    members = [one.model_copy(update={"name": bank.name}) for bank in banks]
    privacy = case.spec.privacy
    assert privacy is not None
    assert privacy.encryption is not None
    kept = {
        "encryption": privacy.encryption.model_copy(update={"key_maker": banks[0].name}),
        "differential_privacy": None if plans is None else privacy.differential_privacy,
    }
    changes = {"participants": members, "quorum": len(banks), "privacy": privacy.model_copy(update=kept)}
    plan = encryption_plan(
        case.spec.model_copy(update=changes),
        {bank.name: new_identity().public for bank in banks},
        {bank.name: bank.records for bank in banks},
        None if plans is None else plans[0],
        (None, None),
    )
    assert plan is not None
    return plan
