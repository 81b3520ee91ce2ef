"""What a pod's status says, as one reason of the list."""

from datetime import timedelta
from typing import Any

import pytest

from hanse.api import names
from hanse.controller.reconcile.pods import CRASH_LOOP_RESTARTS, diagnose, failure, newest
from hanse.controller.views import parse_pod
from tests.unit.controller import world
from tests.unit.controller.world import START

JOB: dict[str, Any] = {
    "metadata": {"name": "credit-bank-a", "namespace": "bank-a", "uid": "job"},
    "spec": {"template": {"metadata": {"labels": {names.LABEL_ROLE: "client"}}}},
}


def scheduled(**status: Any) -> dict[str, Any]:
    made = {"type": "PodScheduled", "status": "True", "lastTransitionTime": START.isoformat()}
    return {"phase": "Pending", "conditions": [made], **status}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    status = {"name": "trainer", "state": {"waiting": {"reason": reason, "message": message}}}
    return scheduled(containerStatuses=[status])


UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        }
    ],
}

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("no gpu", UNSCHEDULABLE, "Unschedulable", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
    (
        "pull",
        waiting("ImagePullBackOff", 'Back-off pulling image "x"'),
        "ImagePullFailed",
        'Back-off pulling image "x"',
    ),
    ("pull first", waiting("ErrImagePull", "not found"), "ImagePullFailed", "not found"),
    ("name", waiting("InvalidImageName", "couldn't parse"), "ImagePullFailed", "couldn't parse"),
    ("config", waiting("CreateContainerConfigError", "secret not found"), "PodRefused", "secret not found"),
    ("import", world.ended("app-check", 65, init=True), "AppImportFailed", "exit code 65"),
    ("flower", world.ended("app-check", 66, init=True), "FlowerVersionMismatch", "exit code 66"),
    ("no data", world.ended("trainer", 67), "DatasetNotFound", "exit code 67"),
    ("bad data", world.ended("trainer", 68), "DatasetInvalid", "exit code 68"),
    ("memory of a child", world.ended("trainer", 69), "OutOfMemory", "exit code 69"),
    ("memory of PID 1", world.ended("trainer", 137, reason="OOMKilled"), "OutOfMemory", "exit code 137"),
    (
        "remedy",
        world.ended("trainer", 137, reason="OOMKilled"),
        "OutOfMemory",
        "memory in the Participant's podTemplate.resources",
    ),
    ("killed", world.ended("trainer", 137), "ContainerKilled", "exit code 137"),
    ("unknown", world.ended("trainer", 3), "ContainerFailed", "exit code 3"),
    ("drained", world.ended("trainer", 78), "Drained", "exit code 78"),
    ("evicted", {"phase": "Failed", "reason": "Evicted", "message": "node is low on memory"}, "PodRefused", "Evicted"),
]


@pytest.mark.parametrize(("status", "reason", "text"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_reason(status: dict[str, Any], reason: str, text: str) -> None:
    found = diagnose(parse_pod(world.pod(JOB, status=status)), START)
    assert found is not None
    assert found.reason == reason
    assert text in found.message


@pytest.mark.parametrize(
    "status",
    [world.running(), world.ended("trainer", 0), scheduled(), waiting("ContainerCreating"), {"phase": "Pending"}],
)
def test_nothing_is_wrong(status: dict[str, Any]) -> None:
    assert diagnose(parse_pod(world.pod(JOB, status=status)), START) is None


def test_volumes_are_waited_for_in_silence_for_a_while() -> None:
    pod = parse_pod(world.pod(JOB, status=scheduled()))
    assert diagnose(pod, START + timedelta(seconds=20)) is None
    found = diagnose(pod, START + timedelta(seconds=21))
    assert found is not None
    assert found.reason == "VolumeNotReady"
    assert "kubectl -n bank-a describe pod credit-bank-a-x1" in found.message


@pytest.mark.parametrize("code", [65, 67, 68, 69])
def test_permanent_codes_are_final_at_once(code: int) -> None:
    found = failure(parse_pod(world.pod(JOB, status=world.ended("trainer", code))))
    assert found is not None
    assert found.hopeless
    assert not found.unseen


@pytest.mark.parametrize("code", [70, 71, 78, 99, 137])
def test_other_codes_are_tried_again(code: int) -> None:
    found = failure(parse_pod(world.pod(JOB, status=world.ended("trainer", code))))
    assert found is not None
    assert not found.hopeless


def test_an_oom_kill_is_final_and_its_job_does_not_know() -> None:
    found = failure(parse_pod(world.pod(JOB, status=world.ended("trainer", 137, reason="OOMKilled"))))
    assert found is not None
    assert found.hopeless
    assert found.unseen


@pytest.mark.parametrize(
    ("restarts", "running", "reason"),
    [
        (0, False, None),
        (1, False, "GateFailed"),
        (CRASH_LOOP_RESTARTS - 1, False, "GateFailed"),
        (CRASH_LOOP_RESTARTS, False, "SidecarCrashLoop"),
        (CRASH_LOOP_RESTARTS, True, None),
    ],
)
def test_a_sidecar_that_restarts(restarts: int, running: bool, reason: str | None) -> None:
    gate = {
        "name": "gate",
        "restartCount": restarts,
        "state": {"running": {}} if running else {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 71}} if restarts else {},
    }
    found = failure(parse_pod(world.pod(JOB, status=scheduled(initContainerStatuses=[gate]))))
    assert (found.reason if found is not None else None) == reason
    assert found is None or found.hopeless == (reason == "SidecarCrashLoop")


def test_sidecars_that_end_with_their_pod_are_no_failure() -> None:
    status = world.ended("trainer", 0)
    gate = {"name": "gate", "restartCount": 0, "state": {"terminated": {"exitCode": 143}}}
    assert failure(parse_pod(world.pod(JOB, status={**status, "initContainerStatuses": [gate]}))) is None


def test_words_are_apart_from_the_message() -> None:
    found = failure(parse_pod(world.pod(JOB, status=world.ended("trainer", 68, message="row 4711"))))
    assert found is not None
    assert found.log == "row 4711"
    assert "4711" not in found.message


def test_newest() -> None:
    old = parse_pod(world.pod(JOB, name="b", created=START))
    new = parse_pod(world.pod(JOB, name="a", created=START + timedelta(seconds=1)))
    assert newest([new, old]) == new
    assert newest([]) is None


@pytest.mark.parametrize("restarts", [1, CRASH_LOOP_RESTARTS])
def test_a_gate_that_is_killed_for_memory_says_which_field_gives_it_more(restarts: int) -> None:
    gate = {
        "name": "gate",
        "restartCount": restarts,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }
    found = diagnose(parse_pod(world.pod(JOB, status={"phase": "Running", "initContainerStatuses": [gate]})), START)
    assert found is not None
    assert "(OutOfMemory): raise memory in the Participant's podTemplate.gateResources" in found.message
