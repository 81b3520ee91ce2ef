"""The model file at the end of a run, and what stands in its header. Used by both round loops."""

import json
from typing import Any

from hanse.api.exitcodes import ExitCode
from hanse.api.paths import Paths
from hanse.api.progress import ModelFile
from hanse.api.runconfig import RunConfig
from hanse.runtime.aggregation import Arrays
from hanse.runtime.aggregation.model import ModelFileError, write_model
from hanse.runtime.flower.rounds_fleet import RunFailedError


def model_about(config: RunConfig, metadata: str, statistics: dict[str, Any] | None, completed: int) -> dict[str, str]:
    """All that a prediction needs beside the arrays; `metadata` is what the app said of its model."""
    about = {"hanse": metadata} if metadata else {}
    about |= {"job": f"{config.job.namespace}/{config.job.name}", "app": config.client_app, "rounds": str(completed)}
    if statistics is not None:
        # Whose feature list came first matters to late participants only, not to who predicts.
        kept = {name: value for name, value in statistics.items() if name != "participant"}
        about["statistics"] = json.dumps(kept, sort_keys=True)
    return about


def written(config: RunConfig, paths: Paths, arrays: Arrays, about: dict[str, str]) -> ModelFile:
    """Write the model where the job's output goes. Raises RunFailedError(OUTPUT_FAILED)."""
    path = paths.output / config.output_path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_model(path, arrays, about, volume=paths.output)
    except (OSError, ModelFileError) as error:
        raise RunFailedError(ExitCode.OUTPUT_FAILED, str(error)) from error
