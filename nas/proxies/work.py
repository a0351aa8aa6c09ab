"""The work behind a trust report as plain data: score a network, train it briefly; here or on Ray."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from nas.objective import Objective
from nas.records import Candidate, Failure
from nas.runners.evaluate import evaluate
from nas.runners.ray_session import start_ray
from nas.train.data import Dataset, load_dataset
from nas.train.entrant import Entrant
from nas.train.finalists import threads
from nas.train.images import Split
from search_spaces.arch import Architecture

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


def do(kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Do a job on one thread; what it finds, or why it failed, as plain data."""
    with threads(1):
        return _score(payload) if kind == "scores" else _train(payload)


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


def _train(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Outcome of a training: validation "top1" and "loss" (None: it failed), "epochs", "seconds", "failure"."""
    started = time.perf_counter()
    entrant = Entrant.from_dict(payload["entrant"])
    dataset = without_test(entrant.dataset, payload["images"])
    curve, failure = [], None
    try:
        training = entrant.start(dataset)
        while training.epoch < training.recipe.epochs:
            curve.append(training.train_epoch())
    except (ValueError, RuntimeError) as error:  # diverged, or a design that cannot be built or trained
        failure = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    last = asdict(curve[-1]) if curve and failure is None else {}
    return {
        "top1": last.get("validation_top1"),
        "loss": last.get("validation_loss"),
        "epochs": len(curve),
        "seconds": time.perf_counter() - started,
        "failure": failure,
    }


@lru_cache(maxsize=1)
def without_test(spec: str, images: int | None) -> Dataset:
    """The dataset with at most so many training and validation images, and no test image at all.

    Every class keeps an equal share, as far as it has as many.

    Args:
        spec: as for ``load_dataset``.
        images: most images of each of both splits; None keeps all.
    """
    dataset = load_dataset(spec)
    none = Split(dataset.test.images[:0], dataset.test.labels[:0])
    train, validation = (_fewer(split, images, dataset.num_classes) for split in (dataset.train, dataset.validation))
    return replace(dataset, train=train, validation=validation, test=none)


def _fewer(split: Split, images: int | None, classes: int) -> Split:
    if images is None or images >= len(split):
        return split
    order = np.random.default_rng(0).permutation(len(split))
    turn = np.empty(len(split), dtype=np.int64)  # 0 for the first image of its class in that order, 1, ...
    for label in range(classes):
        members = order[split.labels[order] == label]
        turn[members] = np.arange(len(members))
    kept = np.sort(order[np.argsort(turn[order], kind="stable")[: max(images, classes)]])
    return Split(split.images[kept], split.labels[kept])


def estimate_seconds(jobs: Sequence[Job]) -> float:
    """Seconds of the trainings among these jobs on one thread, from timing a step of a few of them."""
    trainings = [job for job in jobs if job.kind == "training"]
    probes = trainings[:: max(1, len(trainings) // 4)][:5]
    spent = []
    with threads(1):
        for job in probes:
            entrant = Entrant.from_dict(job.payload["entrant"])
            try:
                training = entrant.start(without_test(entrant.dataset, job.payload["images"]))
                spent.append(training.estimate_epoch_seconds() * training.recipe.epochs)
            except (ValueError, RuntimeError):  # it will fail in earnest, and be counted then
                continue
    return float(np.mean(spent)) * len(trainings) if spent else 0.0


def work_here(jobs: Sequence[Job], on_done: Callable[[Job, Outcome], None]) -> None:
    """One after the other in this process."""
    for job in jobs:
        on_done(job, do(job.kind, job.payload))


def work_on_ray(
    jobs: Sequence[Job], on_done: Callable[[Job, Outcome], None], *, workers: int | None, address: str | None
) -> None:
    """Side by side on Ray, one CPU each; results come back in any order and do not depend on it.

    Raises: RayUnavailable.
    """
    with start_ray(address, workers) as cpus:
        import ray

        one_thread = {"env_vars": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}}
        remote = ray.remote(do).options(num_cpus=1, max_retries=1, runtime_env=one_thread)
        waiting: deque[Job] = deque(jobs)
        running: dict[Any, Job] = {}
        while waiting or running:
            while waiting and len(running) < min(workers or cpus, cpus):
                job = waiting.popleft()
                running[remote.remote(job.kind, job.payload)] = job
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
    """The outcome of a job whose worker died twice."""
    message = f"its worker died: {reason}"[:300]
    if job.kind == "training":
        return {"top1": None, "loss": None, "epochs": 0, "seconds": 0.0, "failure": message}
    names = [objective["score"] for objective in job.payload["objectives"]]
    return {"scores": dict.fromkeys(names), "reasons": dict.fromkeys(names, message), "seconds": {}}
