"""Gradient inversion: the image that one gradient was computed of (Phong et al. 2018, IEEE TIFS 13(5), section 3).

In a layer y = W x + b the gradients are dW = d x^T and db = d, so any row of dW over its entry of db is the image. No
training step of a federation gives an attacker more: one owner, one image, the first round, all of epsilon in it.
The blind floor is what an attacker guesses who sees no update at all: the mean of its own images of that digit, whose
label it is told.
"""

from functools import cache
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest

from hanse.api.privacy import PrivacyPlan, Unit
from tests.attacks.digits import Arrays, Vector, clipped_sum, gradient, images, likeness, network, norm, stepped
from tests.attacks.world import CLIP, RATE, Owner, in_the_clear, plan, without_noise

HIDDEN = 16
TRIES = 24
MODEL = network(HIDDEN)
#: Above the last one the gate refuses: the sampler would need more of delta than its share.
EPSILONS = ("8", "16", "32", "64", "256")
#: An attack counts when it finds this part of what the blind guess misses; less is chance, with as many images.
COUNTS = 0.25


def rows(seen: Arrays) -> Vector:
    """The row with the largest bias gradient, over it."""
    row = int(np.argmax(np.abs(seen["0.bias"])))
    found: Vector = seen["0.weight"][row] / seen["0.bias"][row]
    return found


def matched(seen: Arrays, told: Vector) -> Vector:
    """The attacker is told how strongly each neuron answered (it is not): the best unbiased estimate there is."""
    found: Vector = told @ seen["0.weight"] / (told @ told)
    return found


@cache
def prior(label: int) -> tuple[Vector, Vector, Vector]:
    """Mean, principal axes and variances of the attacker's own images of a digit."""
    own = images("held-out").pixels[images("held-out").labels == label]
    variances, axes = np.linalg.eigh(np.cov(own.T))
    return own.mean(axis=0), axes, np.maximum(variances, 0.0)


def guided(seen: Arrays, label: int, deviation: float, sign: int) -> Vector:
    """The update weighed against the attacker's own images: the posterior mean under a Gaussian prior.

    How strongly each neuron answered it takes from what its mean image would have caused, at the clip.
    """
    mean, axes, variances = prior(label)
    one = gradient(MODEL, mean, label)
    factors = one["0.bias"] * (sign * CLIP / norm(one))
    gain = variances / (variances + deviation**2 / (factors @ factors))
    return mean + axes @ (gain * (axes.T @ (matched(seen, factors) - mean)))


def sent(unit: Unit | None, pixels: Vector, label: int) -> tuple[Arrays, Vector]:
    """What the honest trainer returns, and the factors of the image in what the server is to see of it."""
    one = gradient(MODEL, pixels, label)
    if unit == "Record":
        total = clipped_sum([one], CLIP)
        return total, total["0.bias"]
    step = RATE * one["0.bias"]
    if unit is None:
        return stepped(MODEL, [one], RATE), -step
    # The silo's clip: its whole update, made as long as the clip allows, which serves the attacker.
    scale = CLIP / (RATE * norm(one))
    return stepped(MODEL, [one], RATE * scale), -step * scale


def quality(root: Path, unit: Unit | None, chosen: PrivacyPlan | None) -> dict[str, float]:
    """Mean likeness over some of the owner's images: of each attack's result, and of the blind guess."""
    owned = images("hospital-a")
    found: dict[str, list[float]] = {"blind": [], "rows": [], "matched": [], "guided": []}
    for index in range(TRIES):
        pixels, label = owned.pixels[index * 83], int(owned.labels[index * 83])
        returned, told = sent(unit, pixels, label)
        place = root / f"{unit}-{index}-{chosen.epsilon if chosen else 'off'}"
        found["blind"].append(likeness(prior(label)[0], pixels))
        if chosen is None:
            seen = in_the_clear(place, MODEL, returned)
        else:
            seen = Owner(place, MODEL, chosen).update(returned)
            deviation = float(chosen.noise_multipliers[0]) * CLIP * (1 if unit == "Record" else 2)
            sign = 1 if unit == "Record" else -1
            found["guided"].append(likeness(guided(seen, label, deviation, sign), pixels))
        found["rows"].append(likeness(rows(seen), pixels))
        found["matched"].append(likeness(matched(seen, told), pixels))
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def gained(found: dict[str, float]) -> float:
    """Which part of what the blind guess misses the best of the attacks finds."""
    best = max(found["rows"], found["matched"], found.get("guided", 0.0))
    return (best - found["blind"]) / (1 - found["blind"])


def test_control_without_privacy_the_image_is_seen(tmp_path: Path) -> None:
    found = quality(tmp_path, None, None)
    assert found["blind"] < 0.8
    assert found["rows"] > 0.99


@pytest.mark.parametrize("unit", ["Record", "Silo"])
def test_control_the_clip_alone_hides_nothing(tmp_path: Path, unit: Unit) -> None:
    found = quality(tmp_path, unit, without_noise(unit))
    assert found["rows"] > 0.99
    assert gained(found) > 0.9


@pytest.mark.parametrize("unit", ["Record", "Silo"])
def test_epsilon_8_undoes_it(tmp_path: Path, unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    results = {epsilon: quality(tmp_path, unit, plan(unit, epsilon)) for epsilon in EPSILONS}
    stopped = list(takewhile(lambda epsilon: gained(results[epsilon]) < COUNTS, EPSILONS)) or ["none"]
    with capsys.disabled():
        print(f"\ninversion of one image, unit {unit}, delta 1e-5: the largest epsilon that stops it is {stopped[-1]}")
        for epsilon, found in results.items():
            told = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
            print(f"  epsilon {epsilon:>3}: {told}; the best finds {gained(found):.0%} of what blind misses")
    assert "8" in stopped
    assert max(results["8"]["rows"], results["8"]["matched"]) < results["8"]["blind"], "the update alone gives nothing"
    # The control again, in the noise: epsilons that mean nothing do not stop it.
    assert gained(results[EPSILONS[-1]]) > COUNTS, "no epsilon lets it through: the attack is too weak"
