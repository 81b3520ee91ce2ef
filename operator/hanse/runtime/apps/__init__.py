"""Built-in ClientApps: `tabular:app` and `vision:app`, and what they share. The trainer imports them.

Importing this package imports neither torch nor flwr.

AppSetupError           the app cannot start here; the trainer exits with a permanent code
├── DatasetError        the data is not what the schema or the app says: names columns, never a value of the data
└── ConfigError         a key or value of spec.app.config is wrong
"""


class AppSetupError(Exception):
    """The app cannot start here."""


class DatasetError(AppSetupError):
    """The data is not what the schema or the app says. The text may name columns, never a value of the data."""


class ConfigError(AppSetupError):
    """A key or value of spec.app.config is wrong."""
