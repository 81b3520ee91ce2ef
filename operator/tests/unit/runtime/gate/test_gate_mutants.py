"""Mutants of the private gate, each a plausible mistake: the audit that every release must pass catches every one.

(Mutants of noise, clip and sensitivity are in operator/tests/audit.)
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.runtime.codec import Codec
from hanse.runtime.gate.content import Content
from hanse.runtime.gate.filter import Ready
from hanse.runtime.gate.npy import read_array
from hanse.runtime.gate.outbox import Outbox, digest_of
from hanse.runtime.gate.private import PrivateFilter
from hanse.runtime.gate.refused import Refused
from hanse.runtime.gate.release import Releases
from hanse.runtime.ledger.file import FileLease
from tests.unit.runtime.gate.private_pod import MODEL, Pod, answer, metrics, record, train


def updated(by: float, count: int = 42) -> Content:
    arrays = {name: value + np.asarray(by, value.dtype) for name, value in MODEL.items()}
    return {"arrays": record(arrays), "metrics": metrics(**{"num-examples": count, "train_loss": by})}


def payload(content: Content) -> bytes:
    return read_array("grid", content["update"].arrays["grid"]).tobytes()


def audit(root: Path) -> None:
    """Two rounds, the first asked again before and after a restart; raises AssertionError for what must not be."""
    pod = Pod(root)
    gate = pod.gate()
    first = answer(gate, train(), updated(0.01, count=17))
    moved = {name: value + np.asarray(0.01, value.dtype) for name, value in MODEL.items()}
    left = [first]
    for again in (gate, pod.gate()):
        decision = again.before(train())
        left.append(decision.content if isinstance(decision, Ready) else again.after(train().bare(), updated(5.0, 18)))
        gate = again
    second = answer(gate, train(2, moved), updated(0.02, count=99))
    left.append(second)
    paid = _digests(pod)
    assert {digest_of(payload(content)) for content in left} <= paid, "bytes left that nobody paid for"
    assert len({payload(content) for content in left[:3]}) == 1, "one charge, two noisings"
    assert payload(first) != payload(second)
    for content in left:
        assert content.keys() == {"update", "metrics"}
        assert content["metrics"].values == {"num-examples": 100}, "something of the app's own leaves"


def _digests(pod: Pod) -> set[str]:
    account = pod.known()
    return set() if account is None else {release.digest for release in account.releases.values()}


def test_the_gate_passes(tmp_path: Path) -> None:
    audit(tmp_path)


def _skip_the_charge(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FileLease, "charge", lambda self, slot, digest: None)


def _charge_something_else(patch: pytest.MonkeyPatch) -> None:
    charge = FileLease.charge
    patch.setattr(FileLease, "charge", lambda self, slot, digest: charge(self, slot, digest_of(b"")))


def _store_nothing(patch: pytest.MonkeyPatch) -> None:
    """A resend is made anew, and its charge is believed to be there."""
    patch.setattr(Outbox, "get", lambda self, slot: None)
    patch.setattr(Releases, "_paid", lambda self: {})
    charge = FileLease.charge

    def once(self: Any, slot: Any, digest: str) -> None:
        if slot not in self.releases():
            charge(self, slot, digest)

    patch.setattr(FileLease, "charge", once)


def _tell_the_apps_count(patch: pytest.MonkeyPatch) -> None:
    """The realised batch."""
    after = PrivateFilter.after

    def telling(self: Any, asked: Any, reply: Content) -> Content:
        return {**after(self, asked, reply), "metrics": metrics(**dict(reply["metrics"].values))}

    patch.setattr(PrivateFilter, "after", telling)


def _reuse_the_last_message(patch: pytest.MonkeyPatch) -> None:
    encode, kept = Codec.encode, []

    def once(self: Any, *args: Any) -> Any:
        kept.append(encode(self, *args))
        return kept[0]

    patch.setattr(Codec, "encode", once)


@pytest.mark.parametrize(
    "mutate",
    [_skip_the_charge, _charge_something_else, _store_nothing, _tell_the_apps_count, _reuse_the_last_message],
)
def test_a_mutant_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutate: Callable[[pytest.MonkeyPatch], None]
) -> None:
    mutate(monkeypatch)
    with pytest.raises((AssertionError, Refused)):
        audit(tmp_path)
