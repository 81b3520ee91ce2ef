"""A job's CA that is gone: what runs goes on, what has to start says what to do."""

import pytest

from hanse.api import names
from hanse.controller import kinds
from tests.unit.controller import world
from tests.unit.controller.rig import SYSTEM, Rig


def lose(rig: Rig) -> None:
    rig.door.remove("Secret", SYSTEM, names.ca_secret_name(rig.job["metadata"]["uid"]))


@pytest.mark.parametrize("restart", [False, True])
async def test_a_resume_without_a_ca_fails_and_says_what_to_do(rig: Rig, restart: bool) -> None:
    await rig.start()
    await rig.push(completed=3)
    rig.edit(suspend=True)
    await rig.settle()
    lose(rig)
    if restart:
        rig.restart()
    rig.edit(suspend=False)
    await rig.settle()
    assert rig.condition("Failed") == ("True", "AuthorityLost")
    assert "create it anew" in rig.message("Failed")
    assert f"{SYSTEM}/{names.ca_secret_name(rig.job['metadata']['uid'])}" in rig.message("Failed")
    assert rig.server_job() is None
    assert rig.client_job("bank-a") is None


async def test_no_second_ca_is_made(rig: Rig) -> None:
    """Clients that run, and a server that runs, know the first one."""
    await rig.start()
    rig.pod_of(rig.server_job(), world.running())
    await rig.push(completed=3)
    lose(rig)
    rig.restart()
    await rig.advance(60)
    assert rig.condition("Failed")[0] == "False"
    assert rig.door.find(kinds.SECRET, SYSTEM, names.ca_secret_name(rig.job["metadata"]["uid"])) is None


async def test_a_ca_that_was_replaced_is_not_used(rig: Rig) -> None:
    await rig.start()
    name = names.ca_secret_name(rig.job["metadata"]["uid"])
    rig.edit(suspend=True)
    await rig.settle()
    other = rig.certificate("consortium", names.server_tls_name("credit"))
    meta = {"name": name, "namespace": SYSTEM}
    rig.door.put({"kind": "Secret", "metadata": meta, "data": {"tls.crt": other}})
    rig.edit(suspend=False)
    await rig.settle()
    assert rig.condition("Failed") == ("True", "AuthorityLost")


async def test_an_owner_whose_client_needs_a_certificate_is_told(rig: Rig) -> None:
    await rig.start("bank-a", "bank-b", "bank-c", quorum=2)
    rig.pod_of(rig.server_job(), world.running())
    lose(rig)
    client = rig.client_job("bank-a")
    assert client is not None
    rig.door.remove("Secret", "bank-a", client["metadata"]["name"])
    rig.door.remove("Job", "bank-a", client["metadata"]["name"])
    await rig.advance(2)
    found = rig.participation("bank-a")
    assert found is not None
    ready = next(c for c in found["status"]["conditions"] if c["type"] == "ClientReady")
    assert (ready["status"], ready["reason"]) == ("False", "AuthorityLost")
    assert rig.condition("Failed")[0] == "False"
