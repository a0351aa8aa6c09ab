"""Learning anew on the training part of every fold, in processes of their own where that pays."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nas.fitting.learner import AUTO, Learner
from nas.fitting.table import LabelledTable
from predictors.conformal import conformal_quantile
from predictors.regressor import Floats
from predictors.schema import Schema

Rows = NDArray[np.intp]
Progress = Callable[[str, float | None], None]
SPAWN_ROWS, SPAWN_S = 150, 20.0  # from so many rows or seconds of choosing on processes of their own pay


class WorkerLost(RuntimeError):
    """A process of a fit was killed from outside, mostly because the memory ran out."""


@dataclass(frozen=True)
class Job:
    """One fit; plain data, so that it can go to another process."""

    learner: Learner
    schema: Schema
    raw: Floats
    labels: Floats
    weights: Floats

    def run(self) -> Any:
        """The fitted predictor."""
        return self.learner.learn(self.schema, self.raw, self.labels, self.weights)


def job_of(table: LabelledTable, learner: Learner, rows: Rows) -> Job:
    """The fit on some rows of a table."""
    return Job(learner, table.schema, table.raw[rows], table.labels[rows], table.weights[rows])


def run_jobs(jobs: Sequence[Job], workers: int, progress: Progress) -> list[Any]:
    """Fitted predictors in the order of the jobs.

    Where time limits are not reached they do not depend on the number of workers.
    """
    found: list[Any] = [None] * len(jobs)
    for done, (at, predictor) in enumerate(_run(jobs, workers), 1):
        found[at] = predictor
        progress(f"fitted {done} of {len(jobs)} times", done / len(jobs))
    return found


def _run(jobs: Sequence[Job], workers: int) -> Iterator[tuple[int, Any]]:
    if workers <= 1 or len(jobs) == 1 or _is_short(jobs):
        for at, job in enumerate(jobs):
            yield at, job.run()
        return
    pool = ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), _quiet)
    try:
        asked = {pool.submit(_alone, job): at for at, job in enumerate(jobs)}
        for done in as_completed(asked):
            yield asked[done], done.result()
    except BrokenProcessPool:
        raise WorkerLost(
            f"fit: a process was killed, mostly for want of memory; fit fewer rows than {len(jobs[0].labels)}, or ask "
            "for --workers 1"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _is_short(jobs: Sequence[Job]) -> bool:
    learner = jobs[0].learner
    seconds = learner.time_limit * len(jobs) if learner.model == AUTO else 0.0
    return max(len(job.labels) for job in jobs) < SPAWN_ROWS and seconds < SPAWN_S


def _quiet() -> None:
    """The parent alone answers Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _alone(job: Job) -> Any:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return job.run()


class OnRows:
    """A model whose networks are numbers of rows of a table, for ``predictors.evaluation``.

    Args:
        table: whose rows they are.
        learner: how to learn.
        sign: -1 where lower labels are better, because the evaluation takes higher ones for better.
        fitted: predictors that are fitted already, by the bytes of their training rows.
    """

    def __init__(
        self, table: LabelledTable, learner: Learner, sign: int, fitted: Mapping[bytes, Any] | None = None
    ) -> None:
        self._table, self._learner, self._sign, self._fitted = table, learner, sign, fitted or {}

    def fit(self, rows: Rows, y: Floats) -> Self:
        """Learn from these rows."""
        known = self._fitted.get(rows.tobytes())
        self._predictor = known if known is not None else job_of(self._table, self._learner, rows).run()
        return self

    def predict(self, rows: Rows, return_std: bool = False) -> Any:
        """Means, and standard deviations."""
        mean, deviations = self._predictor._estimate_with_std(self._table.raw[rows])
        return (self._sign * mean, deviations) if return_std else self._sign * mean

    def predict_interval(self, rows: Rows, coverage: float = 0.9) -> tuple[Floats, Floats]:
        """The predictor's intervals. Raises TooFewLabels."""
        width = conformal_quantile(np.abs(self._predictor.scores_), coverage)
        mean, deviations = self.predict(rows, return_std=True)
        return mean - width * deviations, mean + width * deviations
