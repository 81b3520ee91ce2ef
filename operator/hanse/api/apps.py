"""The apps that come with the platform, by module:attribute. The operator refuses names that it knows to be wrong."""

from typing import Final

_PACKAGE: Final = "hanse.runtime.apps."

TABULAR: Final = f"{_PACKAGE}tabular:app"
VISION: Final = f"{_PACKAGE}vision:app"
COUNTING: Final = f"{_PACKAGE}counting:app"

BUILT_IN_APPS: Final = frozenset({TABULAR, VISION, COUNTING})
#: Apps that read the label and the features from the dataset's schema.
NEEDS_SCHEMA: Final = frozenset({TABULAR})


def is_platform_app(app: str) -> bool:
    """Whether the app's name is in the platform's own package."""
    return app.startswith(_PACKAGE)


#: Apps that clip each record's gradient: what unit Record needs.
RECORD_APPS: Final = frozenset({TABULAR, VISION})
#: Of the built-in apps those whose private replies hold histograms of features, and of scores.
COUNTS_FEATURES: Final = frozenset({TABULAR})
COUNTS_SCORES: Final = frozenset({TABULAR, COUNTING})
