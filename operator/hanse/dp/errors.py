"""What the accountant refuses. All are permanent: the same question gets the same answer.

AccountingError
├── UnknownRelease      a release that the plan does not have: it is refused, never guessed
├── Unreachable         no noise gives the epsilon that was asked
├── BadSchedule         a list of factors that is not one for each round
├── RecordsUnknown      unit Record without the number of records
├── UnitsDiffer         a budget that cannot be charged in the job's unit
├── TooCoarse           a grid on which the bound for the discrete Gaussian does not hold
└── AccountantsDisagree our closed form and dp-accounting differ: nothing may start
"""


class AccountingError(ValueError):
    """Base of all that hanse.dp refuses. Its text is for people and holds no data."""


class UnknownRelease(AccountingError):
    """The plan has no such release, or the accountant no such mechanism."""


class Unreachable(AccountingError):
    """No noise multiplier in the supported range gives the epsilon that was asked."""


class BadSchedule(AccountingError):
    """A schedule that does not say the noise of each round."""


class RecordsUnknown(AccountingError):
    """Unit Record needs the number of records, which the owner declares."""


class UnitsDiffer(AccountingError):
    """A job's unit is weaker than the budget's."""


class TooCoarse(AccountingError):
    """Noise of so few grid steps that the discrete and the continuous Gaussian differ."""


class AccountantsDisagree(AccountingError):
    """Two computations of one loss differ. A fault of ours or of dp-accounting: fail closed."""
