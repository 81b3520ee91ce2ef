"""`hanse certificate verify` of a job whose noise comes in shares: one figure for each group of adversaries."""

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from hanse.api import names
from hanse.api.certificate import Certificate, CertifiedRelease, SignedCertificate
from hanse.api.participation import JobRef
from hanse.api.privacy import PrivacyPlan, ReleaseKind, Slot
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
    assert [words[1] for words in said[:4]] == ["Released", "Reserved"] * 2
    figures = [float(words[2].rstrip(":")) for words in said[:4]]
    assert figures == pytest.approx([exact["ServerAndOne"]] * 2 + [exact["Outsiders"]] * 2, rel=1e-3)
    assert exact["ServerAndOne"] > 2 * exact["Outsiders"]
    pld = [float(words[2].rstrip(":")) for words in said[4:]]
    assert len(pld) == 2
    assert 0.8 * exact["ServerAndOne"] < pld[0] < exact["ServerAndOne"]
    assert 0.8 * exact["Outsiders"] < pld[1] < exact["Outsiders"]
    groups = [line.partition("adversaries ")[2].partition(", accountant")[0] for line in lines if "epsilon" in line]
    holders, sums = "OneParticipant, ServerAndOne", "Outsiders, CollusionThreshold"
    assert groups == [holders, holders, sums, sums, holders, sums]


def test_a_figure_against_outsiders_that_is_too_small_is_caught(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"epsilon Released is 2\.9999.* the certificate says 1"):
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
