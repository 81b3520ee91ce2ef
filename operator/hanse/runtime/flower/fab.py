"""The app archive (FAB) that Flower wants with each run. Used by the launcher.

Nothing in it is ever imported: the aggregator and the trainers have their code from the image, by module:attribute.
"""

from flwr.cli.build import build_fab_from_files

_PROJECT = """\
[project]
name = "hanse-job"
version = "1.0.0"
description = "Placeholder archive; the code is in the images"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "hanse"

[tool.flwr.app.components]
serverapp = "hanse_job:server"
clientapp = "hanse_job:client"

[tool.flwr.app.config]
"""


def placeholder_fab() -> bytes:
    """A valid FAB without code: the same bytes each time."""
    return build_fab_from_files({"pyproject.toml": _PROJECT.encode(), "hanse_job.py": b'"""Empty."""\n'})[0]
