"""spec.suspend: everything stops, and goes on from the checkpoint."""

from hanse.api import names
from hanse.controller import kinds
from tests.unit.controller import world
from tests.unit.controller.rig import Rig


async def test_suspend_waits_for_the_pods(rig: Rig) -> None:
    await rig.start()
    rig.pod_of(rig.server_job(), world.running())
    rig.pod_of(rig.client_job("bank-a"), world.running())
    rig.pod_of(rig.client_job("bank-b"), world.running())
    await rig.settle()
    rig.door.pods_linger = True
    rig.edit(suspend=True)
    await rig.advance(1)
    assert rig.condition("Suspended") == ("False", "Suspended")
    assert rig.state == "Suspended"
    assert rig.server_job() is None
    assert rig.client_job("bank-a") is None
    rig.drop_pods()
    await rig.advance(1)
    assert rig.condition("Suspended") == ("True", "Suspended")
    assert rig.events().count("Suspended") == 1


async def test_resume_starts_anew_with_new_certificates_and_the_same_node_keys(rig: Rig) -> None:
    await rig.start()
    await rig.push(completed=3)
    client = rig.client_job("bank-a")
    assert client is not None
    name = client["metadata"]["name"]
    secret = rig.door.find(kinds.SECRET, "bank-a", name)
    assert secret is not None
    node_key = secret["data"]["node.key"]
    old = rig.certificate("consortium", names.server_tls_name("credit")), rig.certificate("bank-a", name)
    rig.edit(suspend=True)
    await rig.settle()
    assert rig.condition("Suspended")[0] == "True"
    rig.edit(suspend=False)
    await rig.settle()
    assert rig.status["starts"] == 2
    assert rig.condition("Suspended") == ("False", "Resumed")
    new = rig.certificate("consortium", names.server_tls_name("credit")), rig.certificate("bank-a", name)
    assert old[0] != new[0]
    assert old[1] != new[1]
    secret = rig.door.find(kinds.SECRET, "bank-a", name)
    assert secret is not None
    assert secret["data"]["node.key"] == node_key
    assert rig.server_job() is not None
    assert rig.client_job("bank-a") is not None
    assert rig.status["round"]["completed"] == 3
    assert "Resumed" in rig.events()


async def test_no_second_server_while_the_first_ones_pod_lives(rig: Rig) -> None:
    await rig.start()
    rig.pod_of(rig.server_job(), world.running())
    await rig.settle()
    rig.door.pods_linger = True
    rig.edit(suspend=True)
    await rig.settle()
    rig.edit(suspend=False)
    await rig.advance(1)
    assert rig.server_job() is None
    rig.drop_pods()
    await rig.advance(1)
    assert rig.server_job() is not None


async def test_suspended_from_the_start(rig: Rig) -> None:
    await rig.start(suspend=True)
    assert "startTime" not in rig.status
    assert rig.condition("Accepted") == ("True", "Accepted")
    assert rig.condition("Suspended") == ("True", "Suspended")
    assert rig.state == "Suspended"
    assert rig.server_job() is None
    rig.edit(suspend=False)
    await rig.settle()
    assert rig.server_job() is not None
