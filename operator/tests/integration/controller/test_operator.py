"""The operator's process against a real kube-apiserver: what it writes, what it leaves alone, what it removes."""

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from e2e.cluster.kubeapi import ApiError
from hanse.api import names
from hanse.api.rbac import RBAC_GROUP, Where, owner_manifests
from tests.integration.controller.conftest import Site
from tests.unit.controller import world


def settled(site: Site) -> str:
    """The job's resource version once nothing writes it any more for some visits."""
    versions: list[str] = []

    def quiet() -> bool:
        versions.append(site.job()["metadata"]["resourceVersion"])
        return len(versions) > 20 and len(set(versions[-20:])) == 1

    site.until("the job settles", quiet)
    return versions[-1]


def test_a_job_gets_its_children_and_settles(site: Site) -> None:
    site.members()
    site.start()
    site.submit()
    site.started()
    bank_a, bank_b = site.banks[:2]
    for job in site.run_clients():
        assert site.find("Secret", job["metadata"]["namespace"], job["metadata"]["name"])
    site.pod_of(site.server_job(), world.running())
    site.until("server ready", lambda: site.condition("ServerReady") == ("True", "Ready"))
    for bank in (bank_a, bank_b):
        ready = site.participation(bank)
        assert ready is not None
        assert ready["status"]["publicKey"].startswith("-----BEGIN PUBLIC KEY-----")
    before = settled(site)
    site.kill()
    site.start()
    site.until("restarted", lambda: site.log.count("Initial authentication has finished") == 2)
    assert settled(site) == before
    assert site.server_job() is not None
    assert not [e for e in site.listed("Event", site.consortium) if e["type"] == "Warning"]


def test_the_spec_is_frozen_once_started(site: Site) -> None:
    site.members()
    site.start()
    site.submit()
    site.started()
    with pytest.raises(ApiError, match="rounds"):
        site.edit(rounds=99)


def test_suspend_and_resume(site: Site) -> None:
    site.members()
    site.start()
    site.submit()
    first = site.started()["metadata"]["uid"]
    site.edit(suspend=True)
    site.until("suspended", lambda: site.condition("Suspended") == ("True", "Suspended"))
    assert site.server_job() is None
    assert site.client_job(site.banks[0]) is None
    site.edit(suspend=False)
    assert site.started()["metadata"]["uid"] != first
    site.until("client again", lambda: site.client_job(site.banks[0]))
    assert site.job()["status"]["starts"] == 2


def test_an_owner_who_leaves_is_not_asked_again(site: Site) -> None:
    site.members(*site.banks)
    site.start()
    site.submit(banks=site.banks, quorum=2)
    site.started()
    left = site.participation(site.banks[2])
    assert left is not None
    site.kube.delete(site.path("Participation", site.banks[2], left["metadata"]["name"]))
    site.until("left", lambda: site.job()["status"]["participants"][2]["reason"] == "ParticipantLeft")
    site.kill()
    site.start()
    settled(site)
    assert site.participation(site.banks[2]) is None
    assert site.condition("Failed")[0] == "False"


def test_what_was_left_behind_is_swept(site: Site) -> None:
    site.members()
    site.start()
    uid = site.submit()["metadata"]["uid"]
    site.started()
    site.kill()
    site.kube.delete(site.path("FederatedJob", site.consortium, "credit"))
    assert site.find("Secret", site.system, names.ca_secret_name(uid))
    site.start()
    site.until("swept", lambda: not site.listed("Participation", site.banks[0]))
    site.until("CA is gone", lambda: site.find("Secret", site.system, names.ca_secret_name(uid)) is None)
    assert site.find("PersistentVolumeClaim", site.banks[0], "loans")
    assert site.find("Secret", site.system, "hanse-operator-serving")


def test_a_refusal_heals(site: Site) -> None:
    site.members(site.banks[0])
    site.start()
    site.submit()
    site.until("refused", lambda: site.condition("Accepted") == ("False", "ParticipantNotFound"))
    assert not site.listed("Participation", site.banks[0])
    site.members(site.banks[1])
    site.started()


def test_nobody_is_asked_who_does_not_allow_it(site: Site) -> None:
    site.members(site.banks[0])
    site.put(world.participant(site.banks[1], namespaces=()))
    site.start()
    site.submit()
    site.until("refused", lambda: site.condition("Accepted") == ("False", "NamespaceNotAllowed"))
    settled(site)
    for bank in site.banks[:2]:
        assert not site.listed("Participation", bank)
        assert not site.listed("Job", bank)


def test_a_failure_is_named_and_its_words_stay(site: Site) -> None:
    site.members()
    site.start()
    site.submit()
    site.started()
    job = site.until("client Job", lambda: site.client_job(site.banks[0]))
    site.pod_of(job, world.ended("trainer", 68, message="row 17: 4711"))
    site.until("failed", lambda: site.condition("Failed") == ("True", "DatasetInvalid"))
    owners = site.participation(site.banks[0])
    assert owners is not None
    assert owners["status"]["failure"]["log"] == "row 17: 4711"
    assert "4711" not in json.dumps(site.job())
    assert "4711" not in json.dumps(site.listed("Event", site.consortium))
    site.until("given back", lambda: site.server_job() is None)
    site.until("given back", lambda: site.client_job(site.banks[1]) is None)


def test_health_metrics_and_a_push_without_a_token(site: Site) -> None:
    site.members()
    site.start()
    site.submit()
    site.started()
    with urllib.request.urlopen(f"http://127.0.0.1:{site.health_port}/healthz") as answer:
        assert answer.read() == b"ok"
    with urllib.request.urlopen(f"http://127.0.0.1:{site.metrics_port}/metrics") as answer:
        text = answer.read().decode()
    assert 'hanse_federated_jobs{state="Pending"} 1.0' in text
    assert "hanse_reconcile_seconds_count" in text
    published = site.find("ConfigMap", site.consortium, names.operator_ca_name("credit"))
    assert published is not None
    trust = ssl.create_default_context(cadata=published["data"]["ca.crt"])
    url = f"https://localhost:{site.progress_port}/v1/jobs/{site.consortium}/credit/progress"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, data=b"{}"), context=trust)
    assert refused.value.code == 401


def test_it_ends_when_asked(site: Site) -> None:
    site.members()
    site.start()
    site.submit()
    site.started()
    assert site.terminate() == 0


def test_a_namespace_that_a_job_names_is_served_without_a_restart(site: Site) -> None:
    site.members()
    site.start(watch=site.consortium)
    site.submit()
    site.started()
    job = site.until("client Job", lambda: site.client_job(site.banks[0]))
    site.pod_of(job, world.running())

    def ready() -> bool:
        found = site.participation(site.banks[0])
        conditions = ((found or {}).get("status") or {}).get("conditions") or []
        return any((c["type"], c["status"]) == ("ClientReady", "True") for c in conditions)

    site.until("its pod is seen", ready)


def test_an_owner_admits_the_operator(site: Site, tmp_path: Path) -> None:
    """With the table's Roles alone; the second owner lets the operator in later."""
    site.members()
    grants = {
        site.system: (Where.OPERATOR,),
        site.consortium: (Where.COORDINATOR,),
        site.banks[0]: (Where.PARTICIPANT,),
    }
    account = site.account(tmp_path, grants)
    site.start(kubeconfig=account, watch=",".join((site.consortium, *site.banks[:2])))
    site.submit()
    site.until("refused", lambda: site.condition("Accepted") == ("False", "PermissionDenied"))
    assert f"hanse owner-rbac {site.banks[1]}" in str(site.job()["status"]["conditions"])
    assert not site.listed("Participation", site.banks[0])
    for manifest in owner_manifests(site.banks[1], operator_namespace=site.system):
        group = "/api" if manifest["kind"] == "ServiceAccount" else f"/apis/{RBAC_GROUP}"
        plural = f"{manifest['kind'].lower()}s"
        site.kube.create(f"{group}/v1/namespaces/{site.banks[1]}/{plural}", manifest)
    site.started()
    site.run_clients()
    site.pod_of(site.server_job(), world.running())
    site.until("server ready", lambda: site.condition("ServerReady") == ("True", "Ready"))
    uid = site.job()["metadata"]["uid"]
    site.kube.delete(site.path("FederatedJob", site.consortium, "credit"))
    site.until("swept", lambda: not any(site.listed("Participation", bank) for bank in site.banks[:2]))
    site.until("CA is gone", lambda: site.find("Secret", site.system, names.ca_secret_name(uid)) is None)
    refused = [line for line in site.log.splitlines() if "forbidden" in line and site.banks[1] not in line]
    assert not refused
