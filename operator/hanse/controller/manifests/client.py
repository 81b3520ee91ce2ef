"""What lies in the owner's namespace: the Participation, and from it client Job, config and Secret.

Built by `reconcile.running` (the Participation), `reconcile.participation` and, where a key is inside, by `execute`.
"""

import json
from collections.abc import Mapping
from typing import Final

from hanse.api import names
from hanse.api.participant import Dataset, ParticipantSpec, PodTemplate, Resources
from hanse.api.participation import ParticipationSpec
from hanse.api.paths import Paths
from hanse.api.podsecurity import pod_security
from hanse.api.rbac import GATE_ACCOUNT
from hanse.api.runconfig import ClientConfig
from hanse.controller.kinds import PARTICIPATION
from hanse.controller.manifests import common
from hanse.controller.manifests.common import Manifest, metadata, mount
from hanse.controller.views import Meta

#: For an app that will not stop and a job that has no deadline of its own.
DEFAULT_DEADLINE_SECONDS: Final = 7 * 24 * 3600
#: The kubelet renews it at four fifths of its life.
LEDGER_TOKEN_SECONDS: Final = 3600
#: A verifier parses others' ciphertexts in a process of its own: 4.1 bytes for each parameter, one at a time.
ENCRYPTED_GATE_REQUESTS: Final = {"cpu": "250m", "memory": "512Mi"}
#: Sealed model and candidate (20 bytes for each parameter with FedAdam), ciphertexts of some rounds, what is carried:
#: 80 bytes for each of 100 million. Who exceeds it is evicted, and its copy of the key goes too.
ENCRYPTED_JOURNAL_SIZE: Final = "8Gi"
ANNOTATION_GENERATION: Final = f"{names.GROUP}/participation-generation"
_PATHS: Final = Paths()


def build_participation(name: str, namespace: str, spec: ParticipationSpec) -> Manifest:
    """The Participation. No ownerReference reaches across namespaces: the job's uid is a label and is swept."""
    return {
        "apiVersion": PARTICIPATION.api_version,
        "kind": PARTICIPATION.kind,
        "metadata": metadata(name, namespace, _labels(spec)),
        "spec": spec.to_wire(),
    }


def build_client_config(meta: Meta, spec: ParticipationSpec, config: ClientConfig) -> Manifest:
    """client.json, and check.json for the container whose log may leave the namespace."""
    check = config.check()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(names.client_name(meta.name), meta.namespace, _labels(spec), (PARTICIPATION, meta)),
        "data": {
            _PATHS.client_config.name: json.dumps(config.to_wire(), sort_keys=True, indent=1),
            _PATHS.check_config.name: json.dumps(check.to_wire()),
        },
    }


def build_client_secret(meta: Meta, spec: ParticipationSpec, *, certificate: str, key: str, node_key: str) -> Manifest:
    """The gate's certificate and SuperNode key."""
    made = metadata(names.client_name(meta.name), meta.namespace, _labels(spec), (PARTICIPATION, meta))
    made["annotations"] = {ANNOTATION_GENERATION: str(meta.generation)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": made,
        "data": common.encoded(
            {"ca.crt": spec.plan.ca_certificate, "tls.crt": certificate, "tls.key": key, "node.key": node_key}
        ),
    }


def build_client_job(meta: Meta, spec: ParticipationSpec, dataset: Dataset, owner: ParticipantSpec) -> Manifest:
    """The client Job. With a queue label it starts suspended and is the queue's from then on."""
    template = owner.pod_template
    labels = {**_labels(spec), names.LABEL_ROLE: names.ROLE_CLIENT}
    queue = template.queue_name
    made: Manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(
            names.client_name(meta.name),
            meta.namespace,
            {**labels, names.LABEL_QUEUE: queue} if queue else labels,
            (PARTICIPATION, meta),
        ),
        "spec": {
            "backoffLimit": spec.plan.backoff_limit,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": spec.plan.active_deadline_seconds or DEFAULT_DEADLINE_SECONDS,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": common.failure_policy(names.CONTAINER_TRAINER, names.CONTAINER_APP_CHECK),
            "template": {"metadata": {"labels": labels}, "spec": _pod(meta, spec, dataset, owner)},
        },
    }
    if queue:
        made["spec"]["suspend"] = True
    return made


def _pod(meta: Meta, spec: ParticipationSpec, dataset: Dataset, owner: ParticipantSpec) -> Manifest:
    template = owner.pod_template
    made: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": common.GRACE_SECONDS,
        "securityContext": pod_security(),
        "initContainers": [_app_check(spec), _gate(spec, template)],
        "containers": [_trainer(spec, template)],
        "volumes": [*_volumes(meta, spec, dataset), *_trusted_volumes(spec, owner)],
    }
    if spec.plan.privacy is not None:
        # Mounted nowhere by itself: the gate alone has the token.
        made["serviceAccountName"] = GATE_ACCOUNT
    if template.node_selector:
        made["nodeSelector"] = dict(template.node_selector)
    if template.tolerations:
        made["tolerations"] = [t.to_wire() for t in template.tolerations]
    if template.runtime_class_name:
        made["runtimeClassName"] = template.runtime_class_name
    return made


def _makes_model(spec: ParticipationSpec) -> bool:
    """Whether the gate makes the first model itself, and signs what leaves it."""
    return spec.plan.privacy is not None or spec.plan.encryption is not None


def _gets_model(spec: ParticipationSpec) -> bool:
    return spec.plan.encryption is not None and spec.plan.encryption.model_release == "Participants"


def _app_check(spec: ParticipationSpec) -> Manifest:
    # No data, and nothing that the owner has said of it: the log of this import may reach the FederatedJob.
    mounts = [mount("check", _PATHS.config), _tmp()]
    if _makes_model(spec):
        mounts.append(mount("initial", _PATHS.initial, read_only=False))
    return common.container(
        names.CONTAINER_APP_CHECK,
        spec.plan.image,
        common.program("trainer", "check"),
        mounts,
        resources={"requests": {"cpu": "100m", "memory": "128Mi"}},
    )


def _gate(spec: ParticipationSpec, template: PodTemplate) -> Manifest:
    mounts = [
        mount("config", _PATHS.config),
        mount("tls", _PATHS.tls),
        mount("shared", _PATHS.shared, read_only=False),
        # What it has taken and the app's state: out of the reach of the trainer's container.
        mount("journal", _PATHS.state, read_only=False),
    ]
    if _makes_model(spec):
        # The first model as it was made without data, and the owner's key, which signs: in no other container.
        mounts += [mount("initial", _PATHS.initial), mount("identity", _PATHS.identity_key.parent)]
    if spec.plan.privacy is not None:
        # The data for its digest in the owner's ledger, and how what it releases is written into the PrivacyBudget.
        mounts += [mount("data", _PATHS.data), mount("ledger", _PATHS.ledger_access)]
    if _gets_model(spec):
        mounts.append(mount("models", _PATHS.models, read_only=False))
    # Encrypted it holds the model in float64, and the ciphertexts of those whose sum it verifies.
    requests = {"cpu": "50m", "memory": "128Mi"} if spec.plan.encryption is None else ENCRYPTED_GATE_REQUESTS
    resources = _resources(requests, template.gate_resources)
    return common.sidecar(
        names.CONTAINER_GATE, spec.plan.gate_image, common.program("gate"), mounts, resources=resources
    )


def _trainer(spec: ParticipationSpec, template: PodTemplate) -> Manifest:
    mounts = [
        mount("config", _PATHS.config),
        mount("shared", _PATHS.shared, read_only=False),
        mount("data", _PATHS.data),
        _tmp(),
    ]
    resources = _resources({"cpu": "100m", "memory": "256Mi"}, template.resources)
    return common.container(
        names.CONTAINER_TRAINER, spec.plan.image, common.program("trainer"), mounts, resources=resources
    )


def _resources(requests: Mapping[str, str], owner: Resources) -> Manifest:
    """Of a container: our requests, unless the owner has others."""
    made: Manifest = {"requests": {**requests, **owner.requests}}
    if owner.limits:
        made["limits"] = dict(owner.limits)
        # A request above its limit is refused by the API server; what the owner limits is also what is asked for.
        for name in ("cpu", "memory"):
            if name in owner.limits and name not in owner.requests:
                del made["requests"][name]
    return made


def _volumes(meta: Meta, spec: ParticipationSpec, dataset: Dataset) -> list[Manifest]:
    name, check = names.client_name(meta.name), _PATHS.check_config.name
    claim = dataset.source.persistent_volume_claim.claim_name
    made: list[Manifest] = [
        {"name": "config", "configMap": {"name": name}},
        {"name": "check", "configMap": {"name": name, "items": [{"key": check, "path": check}]}},
        {"name": "tls", "secret": {"secretName": name, "defaultMode": common.DEFAULT_MODE}},
        {"name": "data", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}},
        common.empty_dir("shared", common.SHARED_SIZE),
        common.empty_dir("journal", common.SHARED_SIZE if spec.plan.encryption is None else ENCRYPTED_JOURNAL_SIZE),
        common.empty_dir("tmp", common.TMP_SIZE),
        common.empty_dir(f"tmp-{names.CONTAINER_GATE}", common.TMP_SIZE),
    ]
    return made


def _trusted_volumes(spec: ParticipationSpec, owner: ParticipantSpec) -> list[Manifest]:
    """What the gate alone has, beside what every gate has."""
    made: list[Manifest] = []
    if _makes_model(spec):
        key = {"key": _PATHS.identity_key.name, "path": _PATHS.identity_key.name}
        identity = {"secretName": names.OWNER_IDENTITY, "defaultMode": common.DEFAULT_MODE, "items": [key]}
        made += [common.empty_dir("initial", common.SHARED_SIZE), {"name": "identity", "secret": identity}]
    if spec.plan.privacy is not None:
        made.append(_ledger_volume())
    if _gets_model(spec) and owner.models is not None:  # without a claim the owner's terms refuse
        made.append({"name": "models", "persistentVolumeClaim": {"claimName": owner.models.claim_name}})
    return made


def _ledger_volume() -> Manifest:
    """A short-lived token of the owner's account for gates, and the API server's CA."""
    sources: list[Manifest] = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": LEDGER_TOKEN_SECONDS}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    return {"name": "ledger", "projected": {"defaultMode": common.DEFAULT_MODE, "sources": sources}}


def _tmp() -> Manifest:
    return mount("tmp", "/tmp", read_only=False)  # noqa: S108 - an emptyDir of this pod


def _labels(spec: ParticipationSpec) -> dict[str, str]:
    job = spec.job_ref
    return common.labels(
        job=job.name, namespace=job.namespace, uid=job.uid, **{names.LABEL_PARTICIPANT: spec.plan.participant}
    )
