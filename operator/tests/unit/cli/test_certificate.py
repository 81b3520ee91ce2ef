"""`hanse certificate verify` of a job whose noise comes in shares: one figure for each group of adversaries."""

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from hanse.api import names
from hanse.api.certificate import Certificate, CertifiedRelease, SignedCertificate
from hanse.api.participation import JobRef
from hanse.api.privacy import Adversary, PrivacyPlan, ReleaseKind, Slot
from hanse.cli.certificate import verify
from hanse.cli.errors import CertificateError
from hanse.dp import certified, epsilons
from hanse.pki import identity
from tests.unit.dp.test_shares import plan

UID = "11111111-2222-3333-4444-555555555555"
DIGEST = "sha256:" + "0" * 64


def signed(of: PrivacyPlan, *, epsilon: str | None = None) -> SignedCertificate:
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    releases = [
        CertifiedRelease(slot=Slot(ReleaseKind.TRAIN, number).key, digest=DIGEST, at=now, values=43, noise="400000")
        for number in range(1, of.rounds + 1)
    ]
    figures = certified.figures(of, releases)
    if epsilon is not None:
        figures[-2] = figures[-2].model_copy(update={"epsilon": epsilon})
    job = JobRef(namespace="consortium", name="credit", uid=UID)
    owner = identity.new_identity()
    made = Certificate(
        job=job,
        participant="bank-a",
        participation=names.participation_name("credit", "bank-a", UID),
        account=names.account_id(UID, "bank-a"),
        epoch=1,
        final=True,
        dataset="loans",
        plan_hash=DIGEST,
        plan=of,
        mechanism=of.mechanism,
        epsilons=figures,
        releases=releases,
        rounds=of.rounds,
        attempts=len(releases),
        issued_at=now,
    )
    signature = identity.sign(owner.private, made.digest.encode())
    return SignedCertificate(certificate=made, public_key=owner.public, signature=signature)


def told(certificate: SignedCertificate, directory: Path) -> list[str]:
    file, out = directory / "certificate.json", StringIO()
    file.write_text(certificate.to_text())
    verify(file, None, Console(file=out, width=400))
    return out.getvalue().splitlines()


def test_each_adversary_has_its_figure(tmp_path: Path) -> None:
    made = plan("Silo", 3, 4)
    lines = told(signed(made), tmp_path)
    assert any("mechanism Distributed, sums of 4 or more shares" in line for line in lines)
    said = [line.split() for line in lines if line.startswith("epsilon")]
    exact = epsilons(made, made.slots())
    assert [words[1] for words in said[:6]] == ["Released", "Reserved"] * 3
    figures = [float(words[2].rstrip(":")) for words in said[:6]]
    shown: list[Adversary] = ["ServerAndOne", "Outsiders", "OneParticipant"]
    assert figures == pytest.approx([exact[each] for each in shown for _ in range(2)], rel=1e-3)
    assert exact["ServerAndOne"] > 1.5 * exact["OneParticipant"] > 1.5 * exact["Outsiders"]
    pld = [float(words[2].rstrip(":")) for words in said[6:]]
    assert len(pld) == 3
    for each, value in zip(shown, pld, strict=True):
        assert 0.8 * exact[each] < value < exact[each]
    groups = [line.partition("adversaries ")[2].partition(", accountant")[0] for line in lines if "epsilon" in line]
    alone, sums, one = "ServerAndOne", "Outsiders, CollusionThreshold", "OneParticipant"
    assert groups == [alone, alone, sums, sums, one, one, alone, sums, one]


def test_a_figure_that_is_too_small_is_caught(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"epsilon Released is 3\.52.* the certificate says 1"):
        told(signed(plan("Silo", 3, 4), epsilon="1"), tmp_path)


def test_more_shares_than_the_quorum_has_are_no_plan(tmp_path: Path) -> None:
    made = plan("Silo", 3, 4)
    with pytest.raises(CertificateError, match="quorum"):
        told(_replanned(signed(made), made.model_copy(update={"collusion_threshold": 3})), tmp_path)


def _replanned(certificate: SignedCertificate, other: PrivacyPlan) -> SignedCertificate:
    """Signed again by its own owner, under another plan."""
    owner = identity.new_identity()
    made = certificate.certificate.model_copy(update={"plan": other})
    return SignedCertificate(
        certificate=made, public_key=owner.public, signature=identity.sign(owner.private, made.digest.encode())
    )
