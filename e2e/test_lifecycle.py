"""The fields that steer a job's life: suspend, deadlines, ttl, backoffLimit, quorum, dropout, early stop."""

from __future__ import annotations

from e2e.cluster.backend import Cluster
from e2e.harness import faults, objects
from e2e.harness.federation import Federation, completed, participant_status
from e2e.harness.kube import condition, is_true, wait_until
from e2e.harness.objects import COORDINATOR
from e2e.harness.session import OWNERS

TWO = OWNERS[:2]
SLOW = {"config": {"fail": "slow", "seconds": "0.5"}}


def absent(federation: Federation, owner: str = OWNERS[2]) -> dict[str, object]:
    """A Participant whose pod can never be scheduled: one that never comes."""
    federation.kube.apply(
        objects.participant(
            "absent",
            [objects.dataset("numbers", "numbers", "numbers.csv")],
            namespace=owner,
            pod_template={"nodeSelector": {"no-such-label": "true"}},
        )
    )
    return {"name": "absent", "participantRef": {"namespace": owner, "name": "absent"}, "dataset": "numbers"}


def test_suspend_and_resume(federation: Federation, name: str) -> None:
    """Suspending stops all pods, loses at most the running round; resuming goes on from the checkpoint."""
    kube = federation.kube
    federation.submit(name, TWO, rounds=10, app=SLOW)
    federation.wait_round(name, 3)
    kube.patch("federatedjob", name, COORDINATOR, {"spec": {"suspend": True}})
    suspended = federation.wait(name, "Suspended")
    done = completed(suspended)
    wait_until("no pod is left", lambda: not kube.list("pods", selector=f"hanse.dev/job={name}"), timeout=60)
    assert suspended["status"]["summary"]["state"] == "Suspended"
    kube.patch("federatedjob", name, COORDINATOR, {"spec": {"suspend": False}})
    job = federation.wait(name, "Complete")
    assert completed(job) == 10
    assert done >= 3
    now = {r["number"]: r for r in job["status"]["rounds"]}
    known = suspended["status"]["rounds"]
    assert [now[r["number"]] for r in known] == known, "what was done before was not done again"
    assert sorted(r["number"] for r in job["status"]["rounds"]) == list(range(1, 11))
    assert is_true(job, "Complete")
    assert condition(job, "Suspended")["status"] == "False"


def test_active_deadline_fails_the_job_and_removes_its_pods(federation: Federation, name: str) -> None:
    federation.submit(name, TWO, rounds=1000, activeDeadlineSeconds=20, app=SLOW)
    job = federation.wait(name, "Failed")
    assert condition(job, "Failed")["reason"] == "DeadlineExceeded"
    wait_until(
        "its pods are gone",
        lambda: (
            not [
                p
                for p in federation.kube.list("pods", selector=f"hanse.dev/job={name}")
                if p["status"]["phase"] in ("Pending", "Running")
            ]
        ),
        timeout=60,
    )


def test_ttl_deletes_the_finished_job(federation: Federation, name: str) -> None:
    federation.submit(name, TWO, rounds=1, ttlSecondsAfterFinished=3)
    uid = federation.uid(name)
    wait_until(
        "the job has deleted itself",
        lambda: federation.kube.find("federatedjob", name, COORDINATOR) is None,
        timeout=180,
    )
    wait_until("nothing is left", lambda: not federation.leftovers(uid), timeout=90)


def test_backoff_limit(federation: Federation, cluster: Cluster, name: str) -> None:
    """One resume is allowed; the second failure is the end."""
    federation.submit(name, TWO, rounds=60, backoffLimit=1, app=SLOW)
    federation.wait_round(name, 1)
    for number in (2, 3):
        faults.kill(cluster, federation.server_pod(name), "hanse.runtime.flower.aggregator")
        if number == 2:
            federation.wait_round(name, completed(federation.job(name)) + 2)
    job = federation.wait(name, "Failed")
    assert condition(job, "Failed")["reason"] == "BackoffLimitExceeded"


def test_one_never_comes_and_the_quorum_is_reached(federation: Federation, name: str) -> None:
    spec = objects.federated_job(name, federation.trainer, TWO, quorum=2, startTimeoutSeconds=25)
    spec["spec"]["participants"].append(absent(federation))
    federation.jobs.append(name)
    federation.kube.apply(spec)
    unschedulable = federation.wait_reason(name, "ParticipantsReady", "Unschedulable")
    assert "node" in unschedulable["message"]
    job = federation.wait(name, "Complete")
    assert completed(job) == 3
    assert condition(job, "FullParticipation")["reason"] == "SubsetOnly"
    assert "absent" in condition(job, "FullParticipation")["message"]
    assert job["status"]["rounds"][0]["missing"] == ["absent"]


def test_one_that_has_failed_for_good_is_not_waited_for(federation: Federation, name: str) -> None:
    """startTimeoutSeconds is longer than this test may take: nobody else can come, so the two start at once."""
    missing = [objects.dataset("numbers", "numbers", "no-such-file.csv")]
    federation.kube.apply(objects.participant("dataless", missing, namespace=OWNERS[2]))
    spec = objects.federated_job(name, federation.trainer, TWO, quorum=2, startTimeoutSeconds=3600)
    reference = {"namespace": OWNERS[2], "name": "dataless"}
    spec["spec"]["participants"].append({"name": "dataless", "participantRef": reference, "dataset": "numbers"})
    federation.jobs.append(name)
    federation.kube.apply(spec)
    job = federation.wait(name, "Complete")
    assert completed(job) == 3
    assert job["status"]["rounds"][0]["missing"] == ["dataless"]
    assert participant_status(job, "dataless")["reason"] == "DatasetNotFound"


def test_one_never_comes_and_the_quorum_is_missed(federation: Federation, name: str) -> None:
    spec = objects.federated_job(name, federation.trainer, TWO, quorum=3, startTimeoutSeconds=20)
    spec["spec"]["participants"].append(absent(federation))
    federation.jobs.append(name)
    federation.kube.apply(spec)
    job = federation.wait(name, "Failed")
    failed = condition(job, "Failed")
    assert failed["reason"] == "QuorumNotReached"
    assert "absent" in failed["message"]


def test_round_timeout_skips_a_participant_that_hangs(federation: Federation, name: str) -> None:
    app = {"config": {"fail": "hang", "fail-participant": "1", "fail-round": "2"}}
    federation.submit(name, TWO, rounds=3, quorum=1, roundTimeoutSeconds=8, app=app)
    job = federation.wait(name, "Complete")
    second = next(r for r in job["status"]["rounds"] if r["number"] == 2)
    assert second["reasons"] == {OWNERS[1]: "RoundTimeout"}
    third = next(r for r in job["status"]["rounds"] if r["number"] == 3)
    assert third["contributed"] == 2, "it is back in the next round"


def test_on_dropout_skip_round_repeats_the_round(federation: Federation, cluster: Cluster, name: str) -> None:
    """Below the quorum the round does not count; with everybody back it is done again."""
    federation.submit(name, TWO, rounds=8, quorum=2, onDropout="SkipRound", app=SLOW)
    federation.wait_round(name, 2)
    faults.kill(cluster, federation.client_pod(name, OWNERS[1]), "hanse.runtime.trainer")
    job = federation.wait(name, "Complete", timeout=300)
    assert completed(job) == 8
    assert all(r["contributed"] == 2 for r in job["status"]["rounds"])


def test_on_dropout_fail(federation: Federation, cluster: Cluster, name: str) -> None:
    federation.submit(name, TWO, rounds=60, quorum=1, onDropout="Fail", app=SLOW)
    federation.wait_round(name, 2)
    faults.kill(cluster, federation.client_pod(name, OWNERS[1]), "hanse.runtime.trainer")
    job = federation.wait(name, "Failed")
    assert condition(job, "Failed")["reason"] == "ParticipantDropped"
    assert OWNERS[1] in condition(job, "Failed")["message"]


def test_stop_when(federation: Federation, name: str) -> None:
    federation.submit(name, TWO, rounds=50, stopWhen=[{"metric": "loss", "operator": "<=", "value": "1000000"}])
    job = federation.wait(name, "Complete")
    assert condition(job, "Complete")["reason"] == "StoppedByMetric"
    assert completed(job) == 1
