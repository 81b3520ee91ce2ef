"""What both built-in apps do with torch: device, seeds, arrays in and out, the local training loop.

Imported before the trainer forks; nothing here touches CUDA or starts a thread until a message is handled.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

# torch.optim imports it on first use, 0.9 CPU seconds: once here, before the trainer forks, not in every child.
import torch._dynamo
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from torch import nn

from hanse.api.participant import DatasetSchema
from hanse.api.privacy import PrivacyPlan
from hanse.runtime.apps import ConfigError, DatasetError
from hanse.runtime.apps.counts import RECORD as HISTOGRAMS
from hanse.runtime.apps.counts import Counts
from hanse.runtime.apps.settings import Settings

#: A round of unit Record is one step over the records that are drawn: it has no epochs, batches or momentum.
_NOT_FOR_RECORD: Final = ("local-epochs", "batch-size", "momentum", "weight-decay")

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def prepare(settings: Settings) -> torch.device:
    """Choose the device and make this process deterministic on it (on CUDA as far as its kernels go)."""
    chosen = settings.device
    if chosen == "auto":
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
    elif chosen != "cpu" and not torch.cuda.is_available():
        raise ConfigError(f"spec.app.config: device is {chosen}, but the pod has no CUDA device")
    device = torch.device(chosen)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    return device


def check_device(settings: Settings) -> None:
    """Raise ConfigError when CUDA is asked for and cannot be there; for `preflight`, so it does not touch CUDA."""
    if not settings.device.startswith("cuda"):
        return
    if torch.version.cuda is None:
        raise ConfigError(f"spec.app.config: device is {settings.device}, but the image's torch is a CPU build")
    # The driver's device files; /dev/dxg is that of WSL. Asking the driver itself would spoil it for forked children.
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        raise ConfigError(f"spec.app.config: device is {settings.device}, but the pod has no CUDA device")


def schema_of(context: Context) -> DatasetSchema:
    """The Participant's dataset schema, which the built-in apps need. Raises DatasetError."""
    text = str(context.node_config.get("dataset-schema", ""))
    if not text:
        raise DatasetError("the Participant's dataset has no schema: the built-in apps need its label and features")
    return DatasetSchema.model_validate_json(text)


def plan_of(context: Context) -> PrivacyPlan | None:
    """What the job's releases may be; None without differential privacy, and where the first model is made."""
    text = str(context.node_config.get("privacy", ""))
    return PrivacyPlan.model_validate_json(text) if text else None


def check_unit(context: Context) -> None:
    """Raise ConfigError for what unit Record cannot do, and import what it needs before the trainer forks."""
    plan = plan_of(context)
    if plan is None or plan.unit != "Record":
        return
    for key in _NOT_FOR_RECORD:
        if key in context.run_config:
            raise ConfigError(
                f"spec.app.config: {key} has no effect with unit Record, whose round is one step: remove it"
            )
    try:
        import hanse.runtime.apps.gradients  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"unit Record needs {error.name} in the trainer's image") from error


def train_private(
    module: nn.Module, loss: Loss, data: tuple[torch.Tensor, torch.Tensor], plan: PrivacyPlan, message: Message
) -> Message:
    """The reply to `train` under unit Record: the sum of the drawn records' clipped gradients."""
    # Only here: an image without Opacus serves every job but these.
    from hanse.runtime.apps.gradients import record_reply

    return record_reply(module, loss, data, plan, message)


def counts_reply(message: Message, counts: Counts) -> Message:
    """The reply of integer histograms, which the gate noises."""
    return reply(message, **{HISTOGRAMS: ArrayRecord({name: Array(array) for name, array in counts.items()})})


def arrays_of(module: nn.Module) -> ArrayRecord:
    """The module's parameters and buffers, in the order of its state dict."""
    return ArrayRecord({name: Array(tensor.cpu().numpy()) for name, tensor in module.state_dict().items()})


def load_arrays(module: nn.Module, record: ArrayRecord) -> None:
    """Set the module's parameters and buffers; raises RuntimeError (torch's) when names or shapes differ."""
    module.load_state_dict({name: torch.from_numpy(array.numpy().copy()) for name, array in record.items()})


def config_of(message: Message) -> ConfigRecord:
    """The message's config; empty when the server sends none."""
    return message.content.config_records.get("config", ConfigRecord())


def floats_of(config: ConfigRecord, key: str) -> list[float]:
    """A list of floats from a config record."""
    values: Any = config[key]
    return [float(value) for value in values]


def reply(message: Message, **records: Any) -> Message:
    """The reply that carries `records`."""
    return Message(RecordDict(records), reply_to=message)


def train_reply(
    module: nn.Module,
    loss: Loss,
    data: tuple[torch.Tensor, torch.Tensor],
    settings: Settings,
    asked: tuple[Message, Context],
) -> Message:
    """Minibatch SGD for the local epochs, FedProx's term included; the reply with arrays and metrics.

    `data` lies on the module's device. Seed, round and participant alone decide the order of the records.
    """
    message, context = asked
    config = config_of(message)
    seed = (settings.seed, _number(config, "server-round"), _number(context.node_config, "partition-id"))
    mu: Any = config.get("proximal-mu", 0.0)
    mean_loss = _epochs(module, loss, data, settings, float(mu), seed)
    metrics = MetricRecord({"num-examples": len(data[0]), "train_loss": mean_loss})
    return reply(message, arrays=arrays_of(module), metrics=metrics)


def _number(record: Mapping[str, Any], key: str) -> int:
    return int(record.get(key, 0))


def _epochs(
    module: nn.Module,
    loss: Loss,
    data: tuple[torch.Tensor, torch.Tensor],
    settings: Settings,
    proximal_mu: float,
    seed: tuple[int, ...],
) -> float:
    """The mean loss (without the proximal term) per record."""
    inputs, targets = data
    generator = np.random.default_rng(seed)
    parameters = list(module.parameters())
    start = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.SGD(
        parameters, lr=settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    module.train()
    total = torch.zeros((), dtype=torch.float64, device=inputs.device)
    for _ in range(settings.local_epochs):
        order = torch.from_numpy(generator.permutation(len(inputs))).to(inputs.device)
        for batch in order.split(settings.batch_size):
            optimizer.zero_grad()
            value = loss(module(inputs[batch]), targets[batch])
            total += value.detach() * len(batch)
            if proximal_mu > 0:
                distance = torch.stack([(p - s).square().sum() for p, s in zip(parameters, start, strict=True)]).sum()
                value = value + proximal_mu / 2 * distance
            value.backward()
            optimizer.step()
    return float(total) / (len(inputs) * settings.local_epochs)


def outputs_of(module: nn.Module, inputs: torch.Tensor, batch_size: int = 1024) -> torch.Tensor:
    """The module's outputs for all inputs, without gradients, on the CPU."""
    module.eval()
    with torch.no_grad():
        return torch.cat([module(batch).cpu() for batch in inputs.split(batch_size)])
