"""Encrypted jobs on a real kube-apiserver: owners' terms, identities that appear, one plan for all, and the status."""

import base64
import json
import subprocess
import sys
from functools import partial
from typing import Any

import pytest
import yaml

from e2e.cluster.kubeapi import ApiError
from hanse.api import names
from hanse.api.encryption import EncryptionPlan
from tests.integration.controller.conftest import ROOT, Site

ENCRYPTED: dict[str, Any] = {"privacy": {"encryption": {}}, "aggregation": {"weights": "Equal"}}


def refusal(site: Site, reason: str) -> str:
    site.until(reason, lambda: site.condition("Accepted") == ("False", reason))
    conditions = site.job()["status"]["conditions"]
    return str(next(c["message"] for c in conditions if c["type"] == "Accepted"))


def terms(site: Site, **spec: Any) -> None:
    bank = site.banks[1]
    site.kube.merge(site.path("Participant", bank, bank), {"spec": spec})


def plan_of(site: Site, bank: str) -> EncryptionPlan:
    found = site.until("the Participation", partial(site.participation, bank))
    return EncryptionPlan.model_validate(found["spec"]["plan"]["encryption"])


def test_identities_appear_and_the_job_heals(site: Site) -> None:
    site.members()
    site.submit(**ENCRYPTED)
    site.start()
    server = site.started()
    uid = site.job()["metadata"]["uid"]
    plans = [plan_of(site, bank) for bank in site.banks[:2]]
    assert plans[0].agreement(uid) == plans[1].agreement(uid)
    for bank in site.banks[:2]:
        participant = site.find("Participant", bank, bank)
        assert participant is not None
        assert plans[0].member(bank).identity == participant["status"]["identity"]
        client = site.client_job(bank)
        assert client is not None
        volumes = {v["name"]: v for v in client["spec"]["template"]["spec"]["volumes"]}
        assert volumes["identity"]["secret"]["secretName"] == names.OWNER_IDENTITY
        assert "ledger" not in volumes
    text = json.dumps(server)
    assert names.OWNER_IDENTITY not in text
    run = site.find("ConfigMap", site.consortium, names.run_config_name("credit"))
    assert run is not None
    assert json.loads(run["data"]["run.json"])["encryption"]["roster"][1]["name"] == site.banks[1]
    privacy = site.job()["status"]["privacy"]
    assert (privacy["encryption"], privacy["keyMaker"], privacy["modelRelease"]) == (
        "BFV",
        site.banks[0],
        "Coordinator",
    )
    assert "plan" not in privacy
    assert site.condition("KeysReady") == ("False", "WaitingForKeys")
    with pytest.raises(ApiError, match="cannot be set once an encrypted job has started"):
        site.edit(suspend=True)


def test_an_identity_of_the_owners_own_is_pinned(site: Site) -> None:
    """`hanse identity create` comes first: the operator makes none, and cannot change it."""
    bank = site.banks[0]
    arguments = [sys.executable, "-m", "hanse.cli.main", "identity", "create", bank]
    made = subprocess.run(arguments, cwd=ROOT / "operator", capture_output=True, text=True, check=True).stdout

    secret = yaml.safe_load(made)
    site.put(secret)
    site.members()
    site.submit(**ENCRYPTED)
    site.start()
    site.started()
    kept = site.find("Secret", bank, names.OWNER_IDENTITY)
    assert kept is not None
    assert kept["data"] == secret["data"]
    public = plan_of(site, site.banks[1]).member(bank).identity
    assert all(f"#   {line}" in made for line in public.strip().splitlines())
    assert base64.b64decode(kept["data"]["identity.key"]).decode().splitlines()[1] not in json.dumps(site.job())


@pytest.mark.parametrize(
    ("job", "owner", "reason", "step"),
    [
        ({}, {"policy": {"requireEncryption": True}}, "EncryptionRequired", "spec.privacy.encryption"),
        ({}, {"policy": {"modelRelease": "Participants"}}, "ModelReleaseNotAllowed", "with encryption"),
        (ENCRYPTED, {"policy": {"modelRelease": "Never"}}, "ModelReleaseNotAllowed", "modelRelease to Never"),
        (ENCRYPTED, {"policy": {"minParticipants": 3}}, "TooFewParticipants", "raise spec.quorum"),
        (
            {**ENCRYPTED, "privacy": {"encryption": {}, "modelRelease": "Participants"}},
            {},
            "ModelsNotDeclared",
            "spec.models.claimName",
        ),
        ({"privacy": {"encryption": {}}}, {}, "RecordsNotDeclared", "sets records"),
    ],
)
def test_each_is_refused_with_the_next_step(
    site: Site, job: dict[str, Any], owner: dict[str, Any], reason: str, step: str
) -> None:
    site.members()
    terms(site, **owner)
    site.submit(**job)
    site.start()
    assert step in refusal(site, reason)
    assert site.participation(site.banks[0]) is None


def test_an_owner_that_changes_its_mind_is_heard(site: Site) -> None:
    """A model that may leave no more: the client goes, and what the owner says is named."""
    site.members()
    site.submit(**ENCRYPTED)
    site.start()
    site.started()
    bank = site.banks[1]
    terms(site, policy={"modelRelease": "Never"})

    def refused() -> bool:
        found = site.participation(bank)
        conditions = (found or {}).get("status", {}).get("conditions", [])
        return any(c["reason"] == "ModelReleaseNotAllowed" for c in conditions)

    site.until("the Participation says so", refused)
    site.until("the client is gone", lambda: site.client_job(bank) is None)


def test_a_plain_job_says_that_nothing_is_encrypted(site: Site) -> None:
    site.members()
    site.submit()
    site.start()
    site.started()
    assert site.condition("KeysReady") == ("True", "NotEncrypted")
    assert all(site.find("Secret", bank, names.OWNER_IDENTITY) is None for bank in site.banks)
