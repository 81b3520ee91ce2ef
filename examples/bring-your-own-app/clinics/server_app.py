"""The ServerApp, as `flwr new` writes it: nothing of Hanse is imported."""

from pathlib import Path

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from safetensors.numpy import save_file

from clinics import task

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run FedAvg and save the model."""
    config = context.run_config
    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=1.0)
    result = strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(task.initial_model()),
        num_rounds=int(config["num-server-rounds"]),
    )
    weights, bias = result.arrays.to_numpy_ndarrays()
    path = Path(str(config["model-path"]))
    if path.parent.is_dir():
        save_file({"weights": weights, "bias": bias}, path)
    else:
        print(f"{path.parent} does not exist: the model is not kept")
