"""A server with the parts of a round, for attacks on honest gates. Used by test_round_attacks and test_half_attacks.

The victim is city-a, whose update is VALUE.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from hanse.api.encryption import Half
from hanse.runtime.agreement import checks, list_digest, roster
from hanse.runtime.agreement.statements import Contribution, Recomputed, Vote
from tests.unit.runtime.agreement.cases import Case
from tests.unit.runtime.agreement.world import UID, Gate, World, add, half_of, halves_of, with_roster, world

VALUE, OTHERS = 777_001, 3
ALL = ["city-a", "city-b", "city-c"]


class Server:
    """Three honest gates of a job with t = 0, and what they have sent in round 1."""

    def __init__(self, root: Path, judge: ModuleType = checks, job: World | None = None) -> None:
        self.job = job or world()
        self.gates = {name: Gate(self.job, name, root, judge) for name in self.job.names}
        sent = {name: self.job.contribution(name, VALUE if name == "city-a" else OTHERS) for name in self.job.names}
        self.contributions = [contribution for contribution, _ in sent.values()]
        self.ciphertexts = {name: ciphertext for name, (_, ciphertext) in sent.items()}

    def of(self, *names: str) -> list[Contribution]:
        return [one for one in self.contributions if one.participant in names]

    def sum_of(self, *names: str) -> bytes:
        return add(self.ciphertexts[name] for name in names)

    def collect(self, listed: Sequence[Contribution], voters: Sequence[str]) -> tuple[list[Vote], list[Recomputed]]:
        """Votes; the sum of the bodies by the first of the voters, that of the seeds by the second or a liar."""
        votes = [self.gates[name].vote(1, listed) for name in voters]
        recomputed = [self.verify(voters[0], listed, "Bodies")]
        if len(voters) > 1:
            return votes, [*recomputed, self.verify(voters[1], listed, "Seeds")]
        total = self.sum_of(*(one.participant for one in listed))
        liar = next(name for name in reversed(self.job.names) if name not in voters)
        return votes, [*recomputed, self.lie(liar, listed, "Seeds", total)]

    def verify(self, name: str, listed: Sequence[Contribution], half: Half, round: int = 1) -> Recomputed:
        """A gate's sum of what the server gives it."""
        sent = {one.participant: half_of(self.ciphertexts[one.participant], half) for one in listed}
        return self.gates[name].verify(round, listed, half, sent)[1]

    def lie(
        self, name: str, listed: Sequence[Contribution], half: Half, total: bytes, round: int = 1, other: str = ""
    ) -> Recomputed:
        """What a participant signs that has added up nothing."""
        digest = other or list_digest(list(listed))
        return self.job.signers[name].recomputed(round, digest, half, halves_of(total)[half])

    def read(self) -> list[int]:
        return [value for gate in self.gates.values() for value in gate.read]


def unguarded(root: Path, case: Case[Server]) -> Server:
    """Gates without the refusal that stands in the case's way."""
    mutant = case.mutant()
    server = Server(root, job=world())
    for gate in server.gates.values():
        if case.module is checks:
            gate.judge = mutant
        elif case.module is roster:
            gate.world = with_roster(server.job, _tolerant(mutant, server.job))
        else:
            gate.ballot = mutant.Ballot(root / gate.name, server.job.roster.agreement)
    return server


def _tolerant(mutant: ModuleType, job: World) -> roster.Roster:
    """A roster of a mutant; of one that takes strangers, with city-d as what it is looked up as."""
    tolerant: roster.Roster = mutant.Roster(job.plan, UID)
    member = tolerant.member
    tolerant.member = lambda name: member(name) or world(4).plan.member(name)  # type: ignore[method-assign]
    return tolerant
