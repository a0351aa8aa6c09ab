"""The whole of ``netwright fit``: judge by folds outside, learn from all rows, gather the facts."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nas.fitting.curve import curve_of
from nas.fitting.facts import Judged, facts_of
from nas.fitting.folds import OnRows, Progress, job_of, run_jobs
from nas.fitting.learner import Learner
from nas.fitting.plots import plots_of
from nas.fitting.table import Columns, LabelledTable, labelled_table
from predictors.evaluation import Evaluation, TooFewRows, cross_validate, repeated_folds
from predictors.reading import read_csv


@dataclass(frozen=True)
class Asked:
    """What a user asks of a fit.

    Attributes:
        columns: of the table.
        learner: how to learn.
        folds: of the evaluation, from 2 on.
        repeats: how often the folds are drawn anew.
        lower_is_better: as of a latency; matters for regret, bounds and words.
        learning_curve: also judge with fewer labels.
        workers: processes; None takes one for each CPU.
    """

    columns: Columns
    learner: Learner = Learner()  # noqa: RUF009 - frozen
    folds: int = 5
    repeats: int = 1
    lower_is_better: bool = False
    learning_curve: bool = False
    workers: int | None = 1


@dataclass(frozen=True)
class Fitted:
    """What came of it.

    Attributes:
        predictor: an ``AutoPredictor``, fitted on all rows.
        facts: JSON-ready: how well it predicts, on what, and how that was found out.
        plots: JSON-ready: what the card draws.
        warnings: sentences that a user must see.
    """

    predictor: Any
    facts: dict[str, Any]
    plots: dict[str, Any]
    warnings: tuple[str, ...]


def fit_table(table: str | Path | pd.DataFrame, asked: Asked, progress: Progress | None = None) -> Fitted:
    """Judge a predictor on the networks of a table, and fit it on all of them.

    Everything that is chosen is chosen inside the training part of each fold. The last fit, on all rows, is not
    judged itself: it has seen all labels.

    Args:
        table: a CSV file or a DataFrame; one row a labelled network.
        asked: what to do.
        progress: told what is going on.
    Raises: InvalidTable, InvalidColumns, InvalidTarget, TooFewRows, InvalidModel.
    """
    started = time.perf_counter()
    frame = table if isinstance(table, pd.DataFrame) else read_csv(table)
    labelled = labelled_table(frame, asked.columns)
    check_folds(labelled, asked.folds)
    judged, predictor = _judge(labelled, asked, progress or _silent)
    facts = facts_of(judged, predictor, asked)
    facts["table"] = "" if isinstance(table, pd.DataFrame) else str(table)
    facts["seconds"] = round(time.perf_counter() - started, 2)
    return Fitted(predictor, facts, plots_of(judged), labelled.warnings)


def check_folds(table: LabelledTable, folds: int) -> None:
    """Raise TooFewRows before anything is fitted."""
    networks = int(table.networks.max()) + 1
    if networks < folds:
        raise TooFewRows(f"{networks} labelled networks for {folds} folds; label more or ask for fewer with --folds")


def _judge(table: LabelledTable, asked: Asked, progress: Progress) -> tuple[Judged, Any]:
    rows = np.arange(len(table.labels))
    seed, sign = asked.learner.seed, -1 if asked.lower_is_better else 1
    splits = repeated_folds(len(rows), asked.folds, asked.repeats, seed, table.networks)
    jobs = [job_of(table, asked.learner, part) for part in (*(train for train, _ in splits), rows)]
    workers = asked.workers or os.cpu_count() or 1
    *in_folds, predictor = run_jobs(jobs, workers, progress)
    fitted = {train.tobytes(): found for (train, _), found in zip(splits, in_folds, strict=True)}
    evaluation: Evaluation = cross_validate(
        lambda: OnRows(table, asked.learner, sign, fitted),
        rows,
        sign * table.labels,
        folds=asked.folds,
        repeats=asked.repeats,
        seed=seed,
        costs=table.baselines,
        groups=table.networks,
    )
    curve = curve_of(table, asked.learner, sign, progress) if asked.learning_curve else []
    chosen = [found.model_ for found in in_folds]
    return Judged(table, evaluation, sign, chosen, curve), predictor


def _silent(what: str, share: float | None) -> None:
    """Nobody listens."""
