"""The protocol that gates and server of an encrypted job share: signed statements, key wrapping, pure checks, messages.

Gates speak to each other through the server, which may lie. So every word of a gate is signed by its owner's pinned
identity and bound to `agreement`, the hash of the job's uid and the plan that all owners have seen; the server can
withhold and repeat words, not make or change them. `checks` judges words, `ballot` keeps a gate to its own,
`messages` carries them; n participants, t = collusionThreshold, q = quorum.

What each step rests on:

- *Key.* The plan's maker signs the fingerprint, a one-way commitment to the key material (`KeyStatement`). Whoever
  holds the key may wrap it for another gate: HPKE to a prekey that the other gate process has signed. Base mode of HPKE
  does not authenticate its sender, so the envelope is signed; who unwraps computes the fingerprint anew and compares it
  with the maker's word. A gate confirms one key for ever (`Ballot`) and encrypts once q gates have confirmed it.
- *One list for a round.* A gate votes for one list, on disk before the vote leaves. Two lists with v votes each take
  2v votes, and n gates of which t vote twice cast at most n + t: with v = (n + t) // 2 + 1 only one list can have
  them (as in Byzantine quorums, Malkhi and Reiter 1998). Without it two subsets that differ in one participant could
  be decrypted at two gates.
- *A list is a crowd.* At least q >= t + 2 distinct participants, each with a ciphertext of its own, this round's, on
  this model, under this key, with the roster's weight: two of them at least do not collude. The denominator of the mean
  and who is in the model come from this list.
- *The sum is the list's.* A decryptor cannot tell a sum from one upload, so of each half of the ciphertexts t + 1 gates
  get all, hash and add them (adding needs no secret and is canonical: the same bytes everywhere) and sign the digest.
  At most t lie, so for each half one has really done it, and the halves of the sum are the sums of the halves. The
  others see digests alone. Verifiers rotate; a gate need not ask who was chosen.
- *Nobody gets another's whole ciphertext.* Verifiers hold the key. So a gate takes bodies or seeds of a round, never
  both (`Ballot.take`), and one gate's words for both do not count: half a ciphertext says nothing (`hanse.runtime.he`).
  That needs q >= 2 (t + 1) (`keeps_halves_apart`); in a plan with a smaller quorum a gate may take both.
- *One model.* Gates apply the sum in the same order of float64 operations and sign the digests; v equal statements
  (`Commit`) make it the job's, and by the same count no other one of the round can be. Fewer: the round is void.
- *Release.* The plain model leaves with the signature of everybody whose update is in it.

What the server can do alone: stop, delay, leave participants out of a list while q remain, choose the verifiers, end
the job. With t gates that lie in the protocol (vote twice, sign a wrong sum or model): no more; the honest gates
neither decrypt what is not the sum of a list, nor two lists, nor commit two models. With one gate that *hands out the
job's key*: read every upload that it relays. Two participants that run changed gates read those of the rounds in which
they verify both halves. No check here can help against that, only keys that are held by threshold; status and
certificate state the epsilon for each case. A gate whose pod and directory are replaced
has forgotten its votes of the round under way and counts among the t until that round is over (with differential
privacy the ledger remembers, and it does not vote). What the protocol does not count is who owners are: a coordinator
that owns q - 1 participants subtracts theirs from the sum, as does one that runs two jobs with lists that differ in
one participant; against both there is the policy (who, how many) and differential privacy. Digests of a model are
public in the job: of a model of four parameters and fewer the server could find the values by trying.

Bytes of a round for M shared parameters; c, s: bytes for a parameter of an upload (seeded BFV: 3.34) and of the sum
(6.67), S = (4 + 8 for each moment of the optimiser) M, with a float32 model:

    to the server    n c M  + S from one gate (the sealed state)
    from the server  n s M  + (t + 1) n c M to the verifiers, bodies and seeds together
    statements       below 2 KiB for each pair of gates: n^2 * 2 KiB in all

With t = 0, n = 10 and ResNet-18 (M = 11.69 million): 0.39 GB and 0.05 to 0.23 GB up, 0.78 GB + 0.39 GB down (plain
float32: 0.47 GB each way). Verification costs a participant t + 1 uploads' worth for a round in the mean, whatever n
is: all bodies in t + 1 of n rounds, seeds (0.2 % of them) in as many, nothing in the others. Statements are 0.2 MB, and
5 ms of CPU at each gate to check; with n = 1,024 that is 2 MB to each gate and 0.6 s.
"""

from hanse.runtime.agreement.ballot import Ballot
from hanse.runtime.agreement.checks import (
    Outcome,
    check_applied,
    check_ciphertexts,
    check_confirmation,
    check_confirmations,
    check_contribution,
    check_contributions,
    check_key,
    check_key_statement,
    check_prekeys,
    check_recomputed,
    check_releases,
    check_round,
    check_vote,
    check_votes,
    settle,
    verifiers,
)
from hanse.runtime.agreement.messages import Commit, read
from hanse.runtime.agreement.roster import Roster, Signer
from hanse.runtime.agreement.sealing import seal, sealed_bytes, state_key, unseal
from hanse.runtime.agreement.statements import (
    Applied,
    Confirmation,
    Contribution,
    Envelope,
    KeyStatement,
    Prekey,
    Recomputed,
    Release,
    Statement,
    Vote,
    digest_of,
    list_digest,
    prekeys_digest,
)
from hanse.runtime.agreement.wrapping import PrekeyPair, new_prekey, unwrap, wrap
from hanse.runtime.refused import Refused

__all__ = [
    "Applied",
    "Ballot",
    "Commit",
    "Confirmation",
    "Contribution",
    "Envelope",
    "KeyStatement",
    "Outcome",
    "Prekey",
    "PrekeyPair",
    "Recomputed",
    "Refused",
    "Release",
    "Roster",
    "Signer",
    "Statement",
    "Vote",
    "check_applied",
    "check_ciphertexts",
    "check_confirmation",
    "check_confirmations",
    "check_contribution",
    "check_contributions",
    "check_key",
    "check_key_statement",
    "check_prekeys",
    "check_recomputed",
    "check_releases",
    "check_round",
    "check_vote",
    "check_votes",
    "digest_of",
    "list_digest",
    "new_prekey",
    "prekeys_digest",
    "read",
    "seal",
    "sealed_bytes",
    "settle",
    "state_key",
    "unseal",
    "unwrap",
    "verifiers",
    "wrap",
]
