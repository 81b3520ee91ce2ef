"""How a job ends because of its server."""

from tests.unit.controller.rig import Rig


async def test_a_sidecar_that_crash_loops_fails_the_job(rig: Rig) -> None:
    await rig.start()

    def crashed(restarts: int) -> dict[str, object]:
        status = {
            "name": "superlink",
            "restartCount": restarts,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1}},
        }
        return {"phase": "Pending", "initContainerStatuses": [status]}

    rig.pod_of(rig.server_job(), crashed(4))
    await rig.settle()
    assert rig.condition("ServerReady") == ("False", "ContainerFailed")
    assert rig.condition("Failed")[0] == "False"
    rig.pod_of(rig.server_job(), crashed(5))
    await rig.settle()
    assert rig.condition("Failed") == ("True", "SidecarCrashLoop")
