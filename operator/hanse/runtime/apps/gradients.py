"""Unit Record in torch: the sum of the drawn records' clipped gradients, which is all that the app returns.

The built-in apps call `record_reply`, and an app of your own may. Per-sample gradients are those of Opacus
(GradSampleModule; Yousefpour et al. 2021, arXiv:2109.12298). One round is one step; the server makes it, from the sum
that the gate has noised. Everything is float64: the rounding of all other records' gradients, which changes with their
place in a batch, then stays far below the margin that the gate's sensitivity has for it.
"""

from typing import Final

import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord
from opacus import GradSampleModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hanse.api.privacy import PrivacyPlan
from hanse.runtime.apps import ConfigError
from hanse.runtime.apps.sampling import poisson_sample
from hanse.runtime.apps.training import Loss, reply

#: Per-sample gradients are held for so many records, and so many numbers, at once.
_RECORDS: Final = 1024
_ENTRIES: Final = 1 << 24

Sums = dict[str, torch.Tensor]


def check_module(module: nn.Module) -> None:
    """Raise ConfigError for a layer that mixes records, so that no record's gradient is its own."""
    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm):
            raise ConfigError(
                f"layer {name} is BatchNorm, which mixes the records of a batch: unit Record needs GroupNorm instead"
            )


def clipped_sum(module: nn.Module, loss: Loss, data: tuple[torch.Tensor, torch.Tensor], clip: float) -> Sums:
    """The sum over all records of their gradients, each cut to the L2 norm `clip` over all parameters; float64.

    `loss` is a mean over records. A record whose gradient is not finite counts as zero: it must neither spoil the sum
    nor be seen in a refusal. No record at all gives zeros. The module becomes float64. Raises ConfigError.
    """
    check_module(module)
    inputs, targets = (part.double() if part.is_floating_point() else part for part in data)
    wrapped = GradSampleModule(module.double(), loss_reduction="mean")
    wrapped.train()
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    sums = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}
    size = sum(p.numel() for p in parameters.values())
    step = max(1, min(_RECORDS, _ENTRIES // max(size, 1)))
    for start in range(0, len(inputs), step):
        wrapped.zero_grad(set_to_none=True)
        loss(wrapped(inputs[start : start + step]), targets[start : start + step]).backward()
        samples = {name: p.grad_sample for name, p in parameters.items()}
        norms = torch.stack([g.flatten(1).square().sum(1) for g in samples.values()]).sum(0).sqrt()
        kept = norms.isfinite()
        factors = clip / norms[kept].clamp(min=clip)
        for name, gradients in samples.items():
            sums[name] += torch.tensordot(factors, gradients[kept], dims=1)
    return sums


def record_reply(
    module: nn.Module, loss: Loss, data: tuple[torch.Tensor, torch.Tensor], plan: PrivacyPlan, message: Message
) -> Message:
    """The reply to `train` under unit Record: sums by the model's names; `num-examples` is the fixed expected batch."""
    others = {name: tensor.cpu().numpy() for name, tensor in module.state_dict().items()}
    drawn = torch.from_numpy(poisson_sample(len(data[0]), plan.sample_rate or "1")).to(data[0].device)
    sums = clipped_sum(module, loss, (data[0][drawn], data[1][drawn]), float(plan.clip))
    arrays = {name: sums[name].cpu().numpy() if name in sums else array for name, array in others.items()}
    return reply(
        message,
        arrays=ArrayRecord({name: Array(array) for name, array in arrays.items()}),
        metrics=MetricRecord({"num-examples": plan.expected_batch or 1}),
    )
