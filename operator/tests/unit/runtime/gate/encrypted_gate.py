"""One gate of an encrypted job in memory, with real keys, ciphertexts and signatures.

Every message goes through the filter as the session would send it (`Gate.ask`).
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from hanse.api.encryption import EncryptingScheme, Half, Scheme
from hanse.api.paths import Paths
from hanse.api.replies import ReplyCode
from hanse.api.runconfig import ClientConfig
from hanse.runtime.agreement import messages as m
from hanse.runtime.gate.answers import Answer, Decider
from hanse.runtime.gate.encrypted import EncryptedFilter
from hanse.runtime.gate.encrypted_build import encrypted_filter
from hanse.runtime.gate.encrypted_workers import Workers
from hanse.runtime.he import Cipher, Points, Summing, engine_of

Arrays = dict[str, Any]
#: What the app makes of the model: (participant, round, arrays) -> arrays.
Train = Callable[[str, int, Arrays], Arrays]
R = TypeVar("R", bound=m.Message)


class GateRefused(Exception):
    """A gate answered with a code."""

    def __init__(self, name: str, code: ReplyCode | None) -> None:
        super().__init__(f"{name}: {None if code is None else code.name}")
        self.code = code


@contextmanager
def refused(*codes: ReplyCode) -> Iterator[None]:
    """The block must be refused, with one of these codes."""
    with pytest.raises(GateRefused) as caught:
        yield
    assert caught.value.code in codes, caught.value


def step(name: str, number: int, arrays: Arrays) -> Arrays:
    """Training that depends on participant, round and model, and on nothing else."""
    random = np.random.default_rng([number, *name.encode()])
    return {
        key: (array + random.normal(0, 0.05, array.shape)).astype(array.dtype) if array.dtype.kind == "f" else array
        for key, array in arrays.items()
    }


class _CipherHere(Cipher):
    """The same engine and keys without a process: tests that start a hundred gates have no time for one each."""

    def __init__(self, scheme: EncryptingScheme, key: bytes, processes: int | None = None) -> None:
        self._here, self._secret = engine_of(scheme), key

    def encrypt(self, round: int, points: Points) -> bytes:
        return self._here.encrypt(self._here.round_key(self._secret, round), points)

    def decrypt(self, round: int, total: bytes | memoryview, count: int) -> Points:
        return self._here.decrypt(self._here.round_key(self._secret, round), total, count)

    def close(self) -> None:
        pass


class _SummingHere(Summing):
    """As `_CipherHere`."""

    def __init__(self, scheme: Scheme, count: int, most: int = 0, half: Half | None = None) -> None:
        self._here, self._points = engine_of(scheme), count
        self._given: list[bytes | memoryview] = []
        self._half = half

    def add(self, ciphertext: bytes | memoryview) -> None:
        self._here.add([ciphertext], self._points, self._half)
        self._given.append(ciphertext)

    def total(self) -> bytes:
        return self._here.add(self._given, self._points, self._half)

    def reset(self, half: Half | None = None) -> None:
        self._given, self._half = [], half

    def close(self) -> None:
        self._given = []


#: Engines in the test's own process. `Workers()` are those of a pod.
HERE = Workers(_CipherHere, _SummingHere)


@dataclass(frozen=True)
class Reply:
    """What left a gate."""

    records: RecordDict

    def message(self, model: type[R]) -> R:
        """The text in it."""
        return model.model_validate_json(str(self.records.config_records[m.RECORD][m.TEXT]))

    def raw(self, record: str, name: str) -> bytes:
        """The bytes in it."""
        array: Any = self.records.array_records[record][name].numpy()
        return bytes(array.tobytes())

    def arrays(self, record: str = m.ARRAYS) -> Arrays:
        """The arrays in it."""
        return {name: array.numpy() for name, array in self.records.array_records[record].items()}


def request(
    message: m.Message | None = None, arrays: Mapping[str, Mapping[str, bytes]] | None = None, number: int | None = None
) -> RecordDict:
    """A message of the server's: text, bytes by record and name, `server-round`."""
    content = RecordDict()
    if message is not None:
        content[m.RECORD] = ConfigRecord({m.TEXT: message.to_text()})
    if number is not None:
        content["config"] = ConfigRecord({"server-round": number})
    for record, named in (arrays or {}).items():
        content[record] = ArrayRecord({n: Array(np.frombuffer(data, np.uint8)) for n, data in named.items()})
    return content


@dataclass
class Gate:
    """One participant: its directories, its filter (again after `kill`), its app."""

    name: str
    config: ClientConfig
    paths: Paths
    train: Train = step
    workers: Workers = field(default_factory=lambda: HERE)
    trained: list[int] = field(default_factory=list)
    filter: EncryptedFilter | None = None

    @property
    def running(self) -> EncryptedFilter:
        """The filter, made anew after a kill."""
        if self.filter is None:
            assert self.config.encryption is not None
            self.filter = encrypted_filter(self.config, self.config.encryption, self.paths, self.workers)
        return self.filter

    def kill(self) -> None:
        """As kill -9: memory is gone, the directory stays."""
        if self.filter is not None:
            self.filter._parts.close()  # the worker processes, which a container's end takes with it
        self.filter = None

    def replace(self) -> None:
        """Another pod: the directory is gone too."""
        self.kill()
        shutil.rmtree(self.paths.state)

    def ask(self, kind: str, content: RecordDict) -> Reply:
        """One message through the gate, and through its app if the gate lets it. Raises GateRefused."""
        decider = Decider(self.running)
        asked = decider.before(kind, content)
        answer = asked if isinstance(asked, Answer) else decider.after(asked, self._app(kind, content))
        if answer.content is None:
            raise GateRefused(self.name, answer.code)
        return Reply(answer.content)

    def _app(self, kind: str, content: RecordDict) -> RecordDict:
        config = dict(content.config_records["config"]) if "config" in content else {}
        number = int(str(config.get("server-round", 0)))
        if kind == m.EVALUATE:
            arrays = {n: a.numpy() for n, a in content.array_records["arrays"].items()}
            loss = float(sum(float(np.square(a).sum()) for a in arrays.values()))
            return RecordDict({"metrics": MetricRecord({"num-examples": 10, "loss": loss})})
        assert kind == m.TRAIN, kind
        self.trained.append(number)
        made = self.train(self.name, number, {n: a.numpy() for n, a in content.array_records["arrays"].items()})
        arrays_record = ArrayRecord({name: Array(np.asarray(value)) for name, value in made.items()})
        return RecordDict({"arrays": arrays_record, "metrics": MetricRecord({"num-examples": 7})})
