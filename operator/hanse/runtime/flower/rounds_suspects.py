"""Whose update is left out of the next round after a sum that was none. Used by the encrypted round loop.

One made-up ciphertext, rightly signed, spoils the sum, and nobody can say whose it is without decrypting less than a
sum. But rounds are apart: every sum that was none had the culprit in it, and every one that was a sum had not. So
suspicion is on whose updates all spoiled sums had in common, less those of good ones since, and as many of them as the
quorum can spare are left out of the next round, half at first. Nothing is decrypted that would not be otherwise: each
round has one list, with a quorum of updates of its own.
"""

from collections.abc import Collection, Sequence


def still_suspect(suspects: Sequence[str], spoiled: Collection[str]) -> list[str]:
    """After a spoiled sum of the updates of `spoiled`; `suspects` are those before it, none at first.

    Where no one was in all of them, there are several culprits or it stopped for a while: it begins anew.
    """
    return [name for name in suspects if name in spoiled] or list(spoiled)


def left_out(suspects: Sequence[str], present: Collection[str], quorum: int, *, again: bool) -> list[str]:
    """Of `present`, who is left out of the next round: never so many that no quorum is left.

    `again`: the newest round was spoiled, so the next one should not be: all of them where that is possible.
    """
    here = [name for name in suspects if name in present]
    spare = max(len(present) - quorum, 0)
    if len(here) <= spare and (again or len(suspects) == 1):
        return here
    return here[: min(spare, -(-len(suspects) // 2))]
