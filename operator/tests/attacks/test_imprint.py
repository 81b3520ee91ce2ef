"""Imprint: a layer that a malicious server (or app) makes so that its gradient is a list of the owner's images.

Fowl, Geiping, Czaja, Goldblum, Goldstein 2021, "Robbing the Fed" (arXiv:2110.13057), section 3: every neuron measures
the same quantity (here the mean brightness) against its own threshold. The difference of two neighbours' gradients is
that of the images whose brightness lies between the two, and most often that is one.
"""

from pathlib import Path

import numpy as np
import pytest

from hanse.api.privacy import Unit
from hanse.api.replies import ReplyCode
from hanse.runtime.gate.refused import Refused
from tests.attacks.digits import (
    CLASSES,
    PIXELS,
    Arrays,
    Vector,
    clipped_sum,
    gradient,
    images,
    likeness,
    network,
    stepped,
)
from tests.attacks.world import CLIP, RATE, Owner, in_the_clear, plan, without_noise

BINS = 64
BATCH = 12
#: A recovered image is more alike than this; the mean of the attacker's own images is not.
RECOVERED = 0.95


def batch() -> list[tuple[Vector, int]]:
    """The owner's images of one round."""
    owned = images("hospital-a")
    return [(owned.pixels[i * 151], int(owned.labels[i * 151])) for i in range(BATCH)]


def imprint() -> Arrays:
    """The layer, its thresholds at the quantiles of the attacker's own images; all its neurons count alike after it."""
    brightness = images("held-out").pixels.mean(axis=1)
    thresholds = np.quantile(brightness, np.linspace(0, 1, BINS + 2)[1:-1])
    spread = np.random.default_rng(1).normal(size=CLASSES)
    return {
        "0.weight": np.full((BINS, PIXELS), 1 / PIXELS, np.float32),
        "0.bias": -thresholds.astype(np.float32),
        "2.weight": np.repeat(spread[:, None], BINS, axis=1).astype(np.float32),
        "2.bias": np.zeros(CLASSES, np.float32),
    }


def recovered(seen: Arrays) -> int:
    """How many of the owner's images are among what the server reads out of the gradient."""
    rows = np.diff(np.vstack([seen["0.weight"], np.zeros(PIXELS)]), axis=0)
    return sum(max(abs(likeness(row, pixels)) for row in rows) > RECOVERED for pixels, _ in batch())


def trained(unit: Unit | None, model: Arrays) -> Arrays:
    """What an honest app returns of one step on the batch."""
    gradients = [gradient(model, pixels, label) for pixels, label in batch()]
    return clipped_sum(gradients, CLIP) if unit == "Record" else stepped(model, gradients, RATE)


# -- in the initial weights: nobody can tell them from honest ones, so noise alone counts


def test_control_with_privacy_off_most_images_are_read_out(tmp_path: Path) -> None:
    model = imprint()
    assert recovered(in_the_clear(tmp_path, model, trained(None, model))) >= BATCH / 2


@pytest.mark.parametrize("unit", ["Record", "Silo"])
def test_control_the_clip_alone_changes_nothing(tmp_path: Path, unit: Unit) -> None:
    model = imprint()
    owner = Owner(tmp_path, model, without_noise(unit, records=BATCH), BATCH)
    assert recovered(owner.update(trained(unit, model))) >= BATCH / 2


@pytest.mark.parametrize("unit", ["Record", "Silo"])
def test_in_the_initial_weights_it_fails_at_epsilon_8(tmp_path: Path, unit: Unit) -> None:
    model = imprint()
    owner = Owner(tmp_path, model, plan(unit, "8", records=BATCH), BATCH)
    assert recovered(owner.update(trained(unit, model))) == 0


# -- in the middle of the job


@pytest.mark.parametrize("epsilon", ["8", "1"])
def test_a_server_that_changes_the_model_in_the_middle_is_refused(tmp_path: Path, epsilon: str) -> None:
    model = network(BINS)
    owner = Owner(tmp_path, model, plan("Record", epsilon, rounds=2, records=BATCH), BATCH)
    owner.update(trained("Record", model))
    with pytest.raises(Refused) as refused:
        owner.update(trained("Record", imprint()), 2, imprint())
    assert refused.value.code == ReplyCode.STEP_TOO_LARGE
    assert owner.pod.paid() == ["Train-1-1"]


def test_control_without_the_step_bound_it_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without noise too, which would stop it as in the initial weights."""
    monkeypatch.setattr("hanse.runtime.gate.models.Models._allowed", lambda *_: float("inf"))
    model = network(BINS)
    owner = Owner(tmp_path, model, without_noise("Record", rounds=2, records=BATCH), BATCH)
    owner.update(trained("Record", model))
    assert recovered(owner.update(trained("Record", imprint()), 2, imprint())) >= BATCH / 2


def test_without_noise_the_bound_is_what_refuses_it(tmp_path: Path) -> None:
    model = network(BINS)
    owner = Owner(tmp_path, model, without_noise("Record", rounds=2, records=BATCH), BATCH)
    owner.update(trained("Record", model))
    with pytest.raises(Refused) as refused:
        owner.update(trained("Record", imprint()), 2, imprint())
    assert refused.value.code == ReplyCode.STEP_TOO_LARGE


def test_unit_silo_where_honest_steps_are_as_large_noise_stops_it(tmp_path: Path) -> None:
    """Noise makes honest steps large, and this layer is small enough to hide among them; then the noise is on it."""
    model = network(BINS)
    owner = Owner(tmp_path, model, plan("Silo", "8", rounds=2, records=BATCH), BATCH)
    owner.update(trained("Silo", model))
    assert recovered(owner.update(trained("Silo", imprint()), 2, imprint())) == 0
