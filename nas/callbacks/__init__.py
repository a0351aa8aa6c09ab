"""Callbacks: what else may be told of a running search. None can end it. Adding one is one file and one row."""

from nas.callbacks.callback import Callback, RunStart, TrialReport
from nas.callbacks.standing import Standing

__all__ = ["CALLBACKS", "Callback", "RunStart", "Standing", "TrialReport"]

CALLBACKS: dict[str, str] = {
    "jsonl": "nas.callbacks.json_lines:JsonLines",
    "csv": "nas.callbacks.csv_table:CsvTable",
    "tensorboard": "nas.callbacks.tensorboard_log:TensorBoardLog",
    "mlflow": "nas.callbacks.mlflow_run:MlflowRun",
    "wandb": "nas.callbacks.wandb_run:WandbRun",
}
"""Class of each callback in text; the fields of the class are its options."""
