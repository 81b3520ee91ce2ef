"""client.json says what the owner was asked, field by field: one that is forgotten would silently be its default."""

import json

from hanse.api.participation import ParticipationSpec
from hanse.api.runconfig import ClientConfig
from hanse.controller import kinds
from tests.unit.controller import owners
from tests.unit.controller.owners import PrivateRig

#: Not the same thing under the same name: the plan names the dataset, the gate is told its path and columns.
OTHERWISE = {"dataset"}


async def test_the_client_is_told_all_that_its_owner_was_asked() -> None:
    rig = PrivateRig()
    rig.owners()
    for bank in ("bank-a", "bank-b"):
        made = rig.door.find(kinds.PARTICIPANT, bank, bank)
        assert made is not None
        made["spec"]["datasets"][0]["schema"] = {"label": "default", "features": ["age"]}
        made["spec"]["policy"]["recordApps"] = ["*"]
        spent = rig.door.find(kinds.PRIVACY_BUDGET, bank, owners.BUDGET)
        assert spent is not None
        spent["spec"]["unit"] = "Record"
        rig.door.put(made)
        rig.door.put(spent)
    asked = owners.job(unit="Record", sampleRate="0.05", mechanism="Distributed")
    asked["spec"]["privacy"]["encryption"] = {}
    asked["spec"]["compression"] = {"sparsity": {"fraction": "0.5"}}
    asked["spec"]["aggregation"]["strategy"] = "FedAdam"
    asked["spec"]["app"] |= {"config": {"size": "8"}, "personalLayers": ["head*"], "initialModel": {"seed": 7}}
    rig.door.put(asked)
    for _ in range(8):
        await rig.advance(0.5)
    assert rig.accepted()[0] == "True", rig.accepted()

    participation, job = rig.participation("bank-b"), rig.client_job("bank-b")
    assert participation is not None
    assert job is not None
    plan = ParticipationSpec.model_validate(participation["spec"]).plan
    found = rig.door.find(kinds.CONFIG_MAP, "bank-b", job["metadata"]["name"])
    assert found is not None
    told = ClientConfig.model_validate(json.loads(found["data"]["client.json"]))
    shared = set(type(plan).model_fields) & set(ClientConfig.model_fields) - OTHERWISE
    assert {name: getattr(told, name) for name in shared} == {name: getattr(plan, name) for name in shared}
    # The test would not see it forgotten if it were the default.
    defaults = {name: ClientConfig.model_fields[name].get_default(call_default_factory=True) for name in shared}
    assert [name for name in shared if getattr(plan, name) == defaults[name]] == []
