"""The work behind a trust report as plain data: score a network, train it briefly; here, on Ray and under Tune."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nas.objective import Objective
from nas.records import Candidate, Failure
from nas.runners.evaluate import evaluate
from nas.runners.ray_session import start_ray
from nas.train.entrant import Entrant, entrant_seed
from nas.train.finalists import threads
from nas.train.subset import without_test
from nas.train.trials.engine import Placement, Work, train_trials
from nas.train.trials.source import FixedTrials
from nas.train.trials.trial import Outcome as Ended
from nas.train.trials.trial import Trial
from search_spaces.arch import Architecture

__all__ = ["Job", "Outcome", "estimate_seconds", "lost", "score_here", "score_on_ray", "train", "without_test"]

Outcome = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        kind: "scores" of a network by all proxies, or one "training".
        id: unique within its kind.
        network: its number in the report.
        payload: JSON-ready arguments.
    """

    kind: Literal["scores", "training"]
    id: int
    network: int
    payload: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, int]:
        """Unique."""
        return self.kind, self.id


def score(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Score a network on one thread; what was found, or why it failed, as plain data."""
    with threads(1):
        return _score(payload)


def _score(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Outcome of the scores: "scores" by name (None: does not apply), "reasons" for those, "seconds" of each."""
    arch = Architecture.from_dict(payload["arch"])
    found: dict[str, Any] = {"scores": {}, "reasons": {}, "seconds": {}}
    for data in payload["objectives"]:
        objective = Objective.from_dict(data)
        scorer = objective.scorer()
        started = time.perf_counter()
        [result] = evaluate(scorer, [Candidate(payload["id"], arch)], objective.seed)
        found["seconds"][objective.score] = time.perf_counter() - started
        found["scores"][objective.score] = None if isinstance(result, Failure) else result.metrics["score"]
        if isinstance(result, Failure):
            found["reasons"][objective.score] = result.message
    return found


def trial_of(job: Job, number: int = 0) -> Trial:
    """The training of a job as a trial of this number: with the seed of a finalist, and without test images."""
    entrant = Entrant.from_dict(job.payload["entrant"])
    seed = entrant_seed(entrant.seed, entrant.id)
    return Trial(number, entrant.arch, entrant.dataset, entrant.recipe, seed, images=job.payload["images"])


def train(
    jobs: Sequence[Job],
    done: Collection[int],
    folder: Path,
    placement: Placement,
    on_done: Callable[[Job, Outcome], None],
) -> None:
    """Train all that are not done yet; those under way when it was killed go on from their checkpoints.

    Args:
        jobs: all trainings.
        done: places of those that are not trained again.
        folder: for checkpoints.
        placement: here or under Ray Tune.
        on_done: called with the outcome: validation "top1" and "loss" (None: it failed), "epochs", "seconds" and
            "failure".
    Raises: RayUnavailable.
    """

    def tell(trial: Trial, ended: Ended) -> None:
        last = asdict(ended.curve[-1]) if ended.finished else {}
        outcome = {
            "top1": last.get("validation_top1"),
            "loss": last.get("validation_loss"),
            "epochs": len(ended.curve),
            "seconds": sum(report.seconds for report in ended.curve),
            "failure": ended.failure,
        }
        on_done(jobs[trial.id], outcome)

    known = {number: Ended(number) for number in done}
    source = FixedTrials([trial_of(job, number) for number, job in enumerate(jobs)])
    train_trials(Work(source, folder, known, on_outcome=tell), placement)


def estimate_seconds(jobs: Sequence[Job]) -> float:
    """Seconds of the trainings among these jobs on one thread, from timing a step of a few of them."""
    trainings = [job for job in jobs if job.kind == "training"]
    probes = trainings[:: max(1, len(trainings) // 4)][:5]
    spent = []
    with threads(1):
        for job in probes:
            try:
                training = trial_of(job).start()
                spent.append(training.estimate_epoch_seconds() * training.recipe.epochs)
            except (ValueError, RuntimeError):  # it will fail in earnest, and be counted then
                continue
    return float(np.mean(spent)) * len(trainings) if spent else 0.0


def score_here(jobs: Sequence[Job], on_done: Callable[[Job, Outcome], None]) -> None:
    """One after the other in this process."""
    for job in jobs:
        on_done(job, score(job.payload))


def score_on_ray(
    jobs: Sequence[Job], on_done: Callable[[Job, Outcome], None], *, workers: int | None, address: str | None
) -> None:
    """Side by side on Ray, one CPU each; results come back in any order and do not depend on it.

    Raises: RayUnavailable.
    """
    with start_ray(address, workers) as cpus:
        import ray

        one_thread = {"env_vars": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}}
        remote = ray.remote(score).options(num_cpus=1, max_retries=1, runtime_env=one_thread)
        waiting: deque[Job] = deque(jobs)
        running: dict[Any, Job] = {}
        while waiting or running:
            while waiting and len(running) < min(workers or cpus, cpus):
                job = waiting.popleft()
                running[remote.remote(job.payload)] = job
            for ref in ray.wait(list(running), num_returns=1)[0]:
                job = running.pop(ref)
                try:
                    outcome = ray.get(ref)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause if isinstance(error.cause, ValueError | RuntimeError) else error from None
                except ray.exceptions.RayError as error:
                    outcome = lost(job, str(error).splitlines()[0])
                on_done(job, outcome)


def lost(job: Job, reason: str) -> dict[str, Any]:
    """The outcome of scores whose worker died twice."""
    message = f"its worker died: {reason}"[:300]
    names = [objective["score"] for objective in job.payload["objectives"]]
    return {"scores": dict.fromkeys(names), "reasons": dict.fromkeys(names, message), "seconds": {}}
