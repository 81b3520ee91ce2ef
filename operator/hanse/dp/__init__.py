"""Privacy accounting: what releases cost and how much noise keeps them within an epsilon. A pure library.

Called by the operator (admission, ledger), by the command line (`hanse check`, `hanse run`, certificates) and by the
benchmarks. Below the programs, above hanse.api. The gate needs none of it: it releases what its plan pays for.
The only importer of dp-accounting is `hanse.dp.reference`, when it is called; importing this package costs no numpy.
What the numbers mean: docs/privacy-accounting.md.
"""

from hanse.dp.bounds import enforced_epsilon
from hanse.dp.calibrate import left_epsilon
from hanse.dp.errors import (
    AccountantsDisagree,
    AccountingError,
    BadSchedule,
    RecordsUnknown,
    TooCoarse,
    UnitsDiffer,
    UnknownRelease,
    Unreachable,
)
from hanse.dp.plan import check_units, epsilons, plan_rdp, release_rdp, spent_rdp, sums_rdp
from hanse.dp.rdp import ORDERS, SAMPLER_SHARE, ZERO, Rdp, compose, epsilon, fits, parse, times
from hanse.dp.reference import pld_epsilon
from hanse.dp.resolve import resolve
from hanse.dp.shares import MIN_SHARE_STEPS, unknown_shares

__all__ = [
    "MIN_SHARE_STEPS",
    "ORDERS",
    "SAMPLER_SHARE",
    "ZERO",
    "AccountantsDisagree",
    "AccountingError",
    "BadSchedule",
    "Rdp",
    "RecordsUnknown",
    "TooCoarse",
    "UnitsDiffer",
    "UnknownRelease",
    "Unreachable",
    "check_units",
    "compose",
    "enforced_epsilon",
    "epsilon",
    "epsilons",
    "fits",
    "left_epsilon",
    "parse",
    "plan_rdp",
    "pld_epsilon",
    "release_rdp",
    "resolve",
    "spent_rdp",
    "sums_rdp",
    "times",
    "unknown_shares",
]
