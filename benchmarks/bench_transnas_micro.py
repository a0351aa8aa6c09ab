"""How well counts rank TransNAS-Bench-101's cells on three tasks, beside the published zero-cost scores.

Parameters, MACs and depth follow from the space ``transnas-micro`` (the encoder, without the decoders of two of the
tasks). The published scores and accuracies are those of NAS-Bench-Suite-Zero, on the same cells. Needs the folder that
NETWRIGHT_DATA names (or ../shared/data); without it the figures are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
from json_line import REPOSITORY, emit, skip
from numpy.typing import NDArray

from hardware.counts import count
from predictors.rank import kendall, spearman
from search_spaces.blocks.cells import write_cell
from search_spaces.nas_bench_201 import TRANSNAS_MICRO

RESAMPLES = 1000
SHAPE, CLASSES = (3, 256, 256), 100
SCORES = ("nwot", "jacov", "snip", "grad_norm", "grasp", "fisher", "l2_norm", "plain")
Values = NDArray[np.float64]


def text_of(code: str) -> str:
    """The cell of a code like (1,0,0,2,1,0): an operation an edge, in the order of the text."""
    return write_cell(tuple(TRANSNAS_MICRO.operations[int(digit)] for digit in code.strip("()").split(",")))


def report(task: str, name: str, values: Values, accuracy: Values, **facts: object) -> None:
    """One line; values that are not finite are left out."""
    known = np.isfinite(values)
    values, accuracy = values[known], accuracy[known]
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile([spearman(values[pick], accuracy[pick]) for pick in picks], (2.5, 97.5))
    good = accuracy > np.median(accuracy)
    emit(
        f"transnas_micro.{task}.{name}",
        [spearman(values, accuracy)],
        "Spearman with accuracy",
        bootstrap_95=[round(float(low), 3), round(float(high), 3)],
        kendall=round(kendall(values, accuracy), 3),
        spearman_best_half=round(spearman(values[good], accuracy[good]), 3),
        cells=len(values),
        **facts,
    )


def main() -> None:
    folder = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data")
    path = folder / "nb_suite_zero" / "transnas_micro_3tasks_zc.csv.gz"
    if not path.exists():
        skip("transnas_micro", "set NETWRIGHT_DATA to the folder with nb_suite_zero")
        return
    for task, table in pd.read_csv(path).groupby("task"):
        counted = [count(TRANSNAS_MICRO.of_cell(text_of(code)), SHAPE, CLASSES) for code in table["arch"]]
        accuracy = table["val_accuracy"].to_numpy()
        params = np.array([c.params for c in counted], dtype=float)
        decoder = table["params"].to_numpy() * 1e6 - params
        spread = float(np.ptp(decoder))
        report(task, "params", params, accuracy, published_params_minus_ours=[float(decoder.min()), spread])
        report(task, "macs", np.array([c.macs for c in counted], dtype=float), accuracy)
        report(task, "depth", np.array([c.convs for c in counted], dtype=float), accuracy)
        for name in SCORES:
            report(task, f"published_{name}", table[name].to_numpy(), accuracy)


if __name__ == "__main__":
    main()
