"""Evaluation of a committed model by the gates that hold it. Used by the encrypted round loop."""

from dataclasses import dataclass

from hanse.api.conditions import Reason
from hanse.runtime.aggregation.metrics import NUM_EXAMPLES, weighted_mean
from hanse.runtime.agreement import messages
from hanse.runtime.agreement.messages import EvaluateRequest
from hanse.runtime.flower.rounds_encrypted_state import EncryptedState
from hanse.runtime.flower.rounds_fleet import Answer
from hanse.runtime.flower.rounds_keys import Keys
from hanse.runtime.flower.rounds_private import metrics_of
from hanse.runtime.flower.rounds_relay import Relay, question
from hanse.runtime.flower.rounds_training import standard
from hanse.runtime.flower.rounds_updates import metric_refusal, scalars


@dataclass
class Evaluation:
    """Asks who is there; histograms with noise under differential privacy, plain metrics without."""

    relay: Relay
    keys: Keys
    state: EncryptedState

    def ask(self, number: int, seed: int, reasons: dict[str, str]) -> dict[str, float]:
        """Metrics over all that answer; whose reply is refused is named in `reasons`. None where none are released."""
        private = self.relay.config.privacy
        if private is not None and not private.evaluates(number):
            return {}
        configs = {"config": {"server-round": number, "round-seed": seed}, **standard(self.state.saved.statistics)}
        request = EvaluateRequest(commit=self.state.saved.commit)
        asked = question(messages.EVALUATE, number, request, configs=configs)
        here = sorted(self.keys.ready & self.relay.reporter.connected)
        told: list[Answer] = []
        failures: dict[int, Reason] = {}
        for index, answer in sorted(self.relay.ask(dict.fromkeys(here, asked)).items()):
            if (failure := answer.failure or metric_refusal(answer)) is not None:
                failures[index] = failure
            else:
                told.append(answer)
        self.relay.note(failures, [])
        self.keys.drop(failures.items())
        for index, failure in failures.items():
            reasons.setdefault(self.relay.name(index), str(failure))
        if private is not None:
            return metrics_of(told)
        return weighted_mean([(scalars(a), int(a.metrics[NUM_EXAMPLES])) for a in told])
