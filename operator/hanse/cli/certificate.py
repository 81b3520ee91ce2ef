"""`hanse certificate verify`: an owner's certificate checked offline. Called by `hanse.cli.main`.

Three things: the owner's key signed this very certificate, its figures follow from its own plan and releases, and (for
people) what the same releases cost by the tighter accountant.
"""

import base64
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from hanse.api.certificate import Certificate, CertifiedEpsilon, SignedCertificate
from hanse.api.privacy import Adversary
from hanse.cli.errors import CertificateError, UsageError
from hanse.dp import certified
from hanse.dp.errors import AccountingError
from hanse.pki.identity import verifies


def verify(file: Path, public_key: Path | None, console: Console, *, with_pld: bool = True) -> None:
    """Print what the certificate says, or raise CertificateError with all that is wrong with it."""
    signed = read(file)
    owner = _read_text(public_key) if public_key is not None else None
    problems = list(objections(signed, owner))
    if problems:
        raise CertificateError(f"{file} is not what an owner's gate signed: {'; '.join(problems)}")
    lines = describe(signed.certificate)
    if with_pld and signed.certificate.releases:
        lines += [_pld_line(signed.certificate, group) for group in certified.groups(signed.certificate.plan).values()]
    if owner is None:
        lines.append("key      the file's own: give --public-key with the owner's (status.identity of the Participant)")
    else:
        lines.append("key      the owner's")
    for line in [*lines, "valid    the signature, and every figure when computed again"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def read(file: Path) -> SignedCertificate:
    """A certificate file. Raises UsageError, CertificateError."""
    try:
        return SignedCertificate.model_validate_json(_read_text(file))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CertificateError(f"{file} is no certificate: {where or 'the file'}: {first['msg']}") from error


def objections(signed: SignedCertificate, owner: str | None) -> Iterator[str]:
    """What is wrong with a certificate. `owner` is the owner's public key (PEM); None: only the file's own is known."""
    if owner is not None and owner.strip() != signed.public_key.strip():
        yield "its key is not the owner's"
    key = owner if owner is not None else signed.public_key
    # One signature has several spellings in base64, of which a gate writes one.
    plain = base64.b64encode(base64.b64decode(signed.signature)).decode() == signed.signature
    if not plain or not verifies(key, signed.signature, signed.certificate.digest.encode()):
        yield "the signature is not the key's over this certificate"
    yield from certified.objections(signed.certificate)


def describe(certificate: Certificate) -> list[str]:
    """The facts, one a line; no figure without what it means."""
    c = certificate
    sums = f", sums of {c.plan.quorum} or more shares" if c.plan.quorum is not None else ""
    facts = {
        "job": f"{c.job.namespace}/{c.job.name} ({c.job.uid})",
        "owner": f"participant {c.participant}, dataset {c.dataset}, population {c.population or '-'}",
        "data": c.dataset_digest or "-",
        "plan": c.plan_hash,
        "released": f"{c.attempts} releases in {c.rounds} of {c.plan.rounds} rounds, mechanism {c.mechanism}{sums}",
        "ended": "with the job: nothing left after" if c.final else "before the job: a later gate may have gone on",
        "gate": c.gate_image or "-",
        "trainer": c.trainer_image or "-",
        "model": c.model_digest or "-",
        "issued": c.issued_at.isoformat(),
    }
    return [f"{name:<9}{text}" for name, text in facts.items()] + [_line(each) for each in c.epsilons]


def _line(each: CertifiedEpsilon) -> str:
    return (
        f"epsilon  {each.claim} {float(each.epsilon):.4g}: unit {each.unit}, adjacency {each.adjacency}, "
        f"delta {each.delta}, adversaries {', '.join(each.adversaries)}, accountant {each.accountant}"
    )


def _pld_line(certificate: Certificate, adversaries: list[Adversary]) -> str:
    plan = certificate.plan
    try:
        value = certified.pld(certificate, adversaries[0])
    except AccountingError as error:
        return f"epsilon  by PLD: none ({error})"
    return (
        f"epsilon  Released {value:.4g}: unit {plan.unit}, adjacency {plan.adjacency}, delta {plan.delta}, "
        f"adversaries {', '.join(adversaries)}, accountant PLD (not signed, not charged: computed here)"
    )


def _read_text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}", "Check the path.") from error
