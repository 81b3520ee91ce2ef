"""Writes what the programs of a `hanse run` read, as the operator would mount it: configs, keys, certificates, data."""

import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hanse.api.encryptionplan import encryption_plan, smallest_batch
from hanse.api.job import FederatedJobSpec, JobParticipant
from hanse.api.participant import ParticipantSpec
from hanse.api.participation import JobRef
from hanse.api.paths import Paths
from hanse.api.planhash import canonical_hash
from hanse.api.privacy import PrivacyPlan
from hanse.api.runconfig import ClientConfig, ClientDataset, RunConfig, ServerParticipant
from hanse.cli.localpki import LocalCA
from hanse.cli.rundir import Identity, RunDirectory
from hanse.pki.certificates import Pair
from hanse.pki.identity import identity_public_key
from hanse.pki.nodekeys import NodeKey, new_node_key

MODEL_FILE: Final = "model.safetensors"
#: Below the output: one directory for each owner, where modelRelease gives the model to them.
MODELS: Final = "models"


@dataclass(frozen=True)
class Member:
    """One participant of a local run and its data."""

    participant: JobParticipant
    index: int
    owner: ParticipantSpec
    data: Path


@dataclass(frozen=True)
class Privacy:
    """One participant's privacy plan and where its releases are charged."""

    plan: PrivacyPlan
    plan_hash: str
    population: str
    ledger: Path


def free_port() -> int:
    """A free port of the loopback interface."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def lay_out(
    directory: RunDirectory,
    identity: Identity,
    spec: FederatedJobSpec,
    members: list[Member],
    output: Path,
    *,
    port: int,
    privacy: Mapping[str, Privacy] | None = None,
    identities: Mapping[str, str] | None = None,
) -> RunConfig:
    """Write every file that the programs read, with new keys. `port` is SuperLink's, on loopback.

    There is no front: it keeps strangers out of a pod, and here nobody else reaches the port. `privacy` and, where
    gates sign, the owners' private `identities` (PEM) are by participant.
    """
    privacy, identities = privacy or {}, identities or {}
    spec = _with_local_paths(spec, output)
    job = JobRef(namespace=identity.namespace, name=identity.name, uid=identity.uid)
    authority = LocalCA()
    keys = [new_node_key() for _ in members]
    server = directory.server
    _directories(server)
    _link(server.output, output)
    _write_tls(server, authority.certificate, authority.server(job.name, job.namespace))
    address = f"127.0.0.1:{port}"
    clients = [_client_config(job, spec, m, len(members), address, privacy.get(m.participant.name)) for m in members]
    plan = next((each.plan.model_copy(update={"expected_batch": None}) for each in privacy.values()), None)
    clients = _agreed(clients, spec, identities, plan)
    encryption = clients[0].encryption
    participants = [_server_participant(c, k.public) for c, k in zip(clients, keys, strict=True)]
    config = RunConfig.from_spec(spec, job, participants, output_path=MODEL_FILE).model_copy(
        update={"superlink_port": port, "privacy": plan, "encryption": encryption}
    )
    server.run_config.write_text(config.model_dump_json(by_alias=True, exclude_none=True))
    for member, client, key in zip(members, clients, keys, strict=True):
        name = member.participant.name
        _lay_out_client(directory, member, client, key, authority)
        if name in identities:
            _lay_out_signer(directory, member, client, identities[name])
        if (found := privacy.get(name)) is not None:
            _lay_out_privacy(directory, member, found)
        if encryption is not None and encryption.model_release == "Participants":
            _lay_out_models(directory, member, output)
    return config


def _agreed(
    clients: list[ClientConfig], spec: FederatedJobSpec, identities: Mapping[str, str], plan: PrivacyPlan | None
) -> list[ClientConfig]:
    """The same with what depends on all of them. `spec` has the paths of this machine: it is what the gates act on."""
    records = {client.participant: client.dataset.records for client in clients}
    public = {name: identity_public_key(key) for name, key in identities.items()}
    encryption = encryption_plan(spec, public, records, plan, (None, None))
    update = {"smallest_batch": smallest_batch(plan, records), "encryption": encryption}
    return [client.model_copy(update=update) for client in clients]


def _server_participant(client: ClientConfig, public_key: str) -> ServerParticipant:
    return ServerParticipant(
        name=client.participant,
        index=client.index,
        public_key=public_key,
        records=client.dataset.records,
        expected_batch=client.privacy.expected_batch if client.privacy is not None else None,
        plan_hash=client.plan_hash,
    )


def _with_local_paths(spec: FederatedJobSpec, output: Path) -> FederatedJobSpec:
    """The spec with the pod's output volume in the app's config replaced by the directory that stands for it."""
    volume = str(Paths().output)
    config = {
        key: f"{output}{value.removeprefix(volume)}" if value == volume or value.startswith(f"{volume}/") else value
        for key, value in spec.app.config.items()
    }
    return spec.model_copy(update={"app": spec.app.model_copy(update={"config": config})})


def _client_config(
    job: JobRef, spec: FederatedJobSpec, member: Member, count: int, address: str, privacy: Privacy | None
) -> ClientConfig:
    dataset = member.owner.dataset(member.participant.dataset)
    initial = spec.app.initial_model
    return ClientConfig(
        job=job,
        participant=member.participant.name,
        index=member.index,
        participants=count,
        server_address=address,
        client_app=spec.app.client_app,
        config=spec.app.config,
        dataset=ClientDataset(
            name=member.participant.dataset,
            path=member.data.name,
            records=dataset.records if dataset else None,
            schema_=dataset.schema_ if dataset else None,
        ),
        plan_hash=privacy.plan_hash if privacy else canonical_hash({"uid": job.uid, "name": member.participant.name}),
        privacy=privacy.plan if privacy else None,
        population=privacy.population if privacy else None,
        compression=spec.compression,
        personal_layers=spec.app.personal_layers,
        initial_seed=initial.seed if initial is not None else 0,
        aggregation=spec.aggregation,
        ledger="File",
    )


def _lay_out_client(
    directory: RunDirectory, member: Member, config: ClientConfig, key: NodeKey, authority: LocalCA
) -> None:
    name = member.participant.name
    gate, trainer = directory.gate(member.index, name), directory.trainer(member.index, name)
    shutil.rmtree(gate.state, ignore_errors=True)  # the gate's own emptyDir
    _directories(gate)
    _directories(trainer, shared=gate.shared)  # one emptyDir in the pod
    for paths in (gate, trainer):
        paths.client_config.write_text(config.model_dump_json(by_alias=True, exclude_none=True))
    _write_tls(gate, authority.certificate, authority.client(name))
    _private(gate.tls / "node.key", key.private)
    trainer.data.mkdir(parents=True, exist_ok=True)
    _link(trainer.data / member.data.name, member.data.resolve())


def _lay_out_signer(directory: RunDirectory, member: Member, config: ClientConfig, identity: str) -> None:
    """What a gate has that signs what leaves it: the owner's identity key, and a model made without data."""
    name = member.participant.name
    gate, check = directory.gate(member.index, name), directory.check(member.index, name)
    _directories(check)
    check.check_config.write_text(config.check().model_dump_json(by_alias=True, exclude_none=True))
    check.initial.mkdir(parents=True, exist_ok=True)
    _link(gate.initial, check.initial)
    gate.identity_key.parent.mkdir(parents=True, exist_ok=True)
    _private(gate.identity_key, identity)


def _lay_out_privacy(directory: RunDirectory, member: Member, privacy: Privacy) -> None:
    """What the gate of a private job has beside that: its owner's ledger, and the data for its digest there."""
    gate = directory.gate(member.index, member.participant.name)
    _link(gate.ledger, privacy.ledger)
    gate.data.mkdir(parents=True, exist_ok=True)
    _link(gate.data / member.data.name, member.data.resolve())


def _lay_out_models(directory: RunDirectory, member: Member, output: Path) -> None:
    """Where the owner gets the model: beside the coordinator's, which gets none."""
    gate = directory.gate(member.index, member.participant.name)
    own = output / MODELS / member.participant.name
    own.mkdir(parents=True, exist_ok=True)
    _link(gate.models, own)


def _directories(paths: Paths, shared: Path | None = None) -> None:
    for path in (paths.config, paths.tls, paths.state, paths.termination_log.parent, paths.root / "tmp"):
        path.mkdir(parents=True, exist_ok=True)
    paths.tls.chmod(0o700)
    paths.termination_log.unlink(missing_ok=True)
    paths.shared.parent.mkdir(parents=True, exist_ok=True)
    if shared is not None:
        _link(paths.shared, shared)
        return
    shutil.rmtree(paths.shared, ignore_errors=True)  # an emptyDir is empty at each start
    paths.shared.mkdir()


def _write_tls(paths: Paths, authority: str, pair: Pair) -> None:
    (paths.tls / "ca.crt").write_text(authority)
    (paths.tls / "tls.crt").write_text(pair.certificate)
    _private(paths.tls / "tls.key", pair.key)


def _private(path: Path, content: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)


def _link(link: Path, target: Path) -> None:
    if link.is_symlink():
        link.unlink()
    link.symlink_to(target.absolute(), target_is_directory=target.is_dir())
