"""Trials trained in this process or under Ray Tune; the outcomes are equal."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nas.runners.ray_session import RayUnavailable, available_cpus
from nas.train.finalists import threads
from nas.train.fit import EpochReport, Training
from nas.train.trials.source import Source
from nas.train.trials.trial import Outcome, Trial, train_on
from nas.typed_fields import check_types

ENGINES = ("auto", "serial", "ray")
SERIAL_BELOW_SECONDS = 20.0  # Ray needs about ten seconds to start
_LOG = logging.getLogger(__name__)


class InvalidTrials(ValueError):
    """The folder holds checkpoints of other trials."""


class InvalidPlacement(ValueError):
    """No such engine, or no number of workers."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where trials are trained.

    Attributes:
        engine: "auto" takes Ray when the estimated work exceeds 20 s and there are two cores or an address.
        workers: most trainings side by side; None takes the CPUs there are.
        address: of a Ray cluster; None starts a private one.
    """

    engine: Literal["auto", "serial", "ray"] = "auto"
    workers: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise InvalidPlacement(f"engine={self.engine!r}, expected one of {', '.join(ENGINES)}")
        check_types(self, "", InvalidPlacement)
        if self.workers is not None and self.workers < 1:
            raise InvalidPlacement(f"workers={self.workers}, expected at least 1, or None for one per CPU")


@dataclass(frozen=True, slots=True)
class Work:
    """Trials on their way.

    Attributes:
        source: which ones.
        folder: for checkpoints; on a cluster one that all nodes see.
        known: outcomes of before; those are not trained again.
        on_epoch: called with (id, report) after every epoch trained now.
        on_outcome: called with a trial and its outcome once it has ended, in no promised order.
    """

    source: Source
    folder: Path
    known: Mapping[int, Outcome] = field(default_factory=dict)
    on_epoch: Callable[[int, EpochReport], None] = field(default=lambda _id, _report: None)
    on_outcome: Callable[[Trial, Outcome], None] = field(default=lambda _trial, _outcome: None)


def train_trials(work: Work, placement: Placement) -> list[Outcome]:
    """Train all trials; what was interrupted goes on from its checkpoints when called again.

    Each is trained on one thread.

    Returns: one outcome per trial, in their order.
    Raises: InvalidTrials, InvalidDataset, RayUnavailable (only when the engine is "ray").
    """
    if all(index in work.known for index in range(work.source.count)):
        return [work.known[index] for index in range(work.source.count)]
    check_folder(work.folder, work.source.identity)
    if placement.engine != "auto":
        return _train(work, placement, placement.engine)
    engine, done = choose_engine(work, placement), dict(work.known)
    if engine == "serial":
        return _train(work, placement, engine)

    def note(trial: Trial, outcome: Outcome) -> None:
        done[outcome.id] = outcome
        work.on_outcome(trial, outcome)

    try:
        return _train(Work(work.source, work.folder, work.known, work.on_epoch, note), placement, engine)
    except RayUnavailable as error:
        _LOG.warning("trials: %s; training serially", error)
        return _train(Work(work.source, work.folder, done, work.on_epoch, work.on_outcome), placement, "serial")


def _train(work: Work, placement: Placement, engine: str) -> list[Outcome]:
    if engine == "serial":
        return train_serially(work)
    from nas.train.trials.on_ray import train_with_ray  # loads ray

    return train_with_ray(work, placement)


def choose_engine(work: Work, placement: Placement) -> Literal["serial", "ray"]:
    """Serial for short work or a single core or worker, else Ray; says so in one log line."""
    cores, left = placement.workers or available_cpus(), work.source.count - len(work.known)
    seconds = estimate_epoch_seconds(work) * left
    alone = placement.address is None and (seconds < SERIAL_BELOW_SECONDS or cores == 1)
    engine: Literal["serial", "ray"] = "serial" if alone else "ray"
    _LOG.info(
        "trials: %d trainings, at most about %.0f s on one core, %d core(s): engine %s", left, seconds, cores, engine
    )
    return engine


def estimate_epoch_seconds(work: Work) -> float:
    """Seconds of a whole trial on one thread, from timing steps of the first."""
    trial = work.source.trial(0, {})
    assert trial is not None
    with threads(1):
        try:
            training = trial.start()
            return training.estimate_epoch_seconds() * training.recipe.epochs
        except (ValueError, RuntimeError):  # it will fail in earnest, and be counted then
            return 0.0


def train_serially(work: Work) -> list[Outcome]:
    """One after the other in this process, in their order."""
    outcomes = dict(work.known)
    with threads(1):
        for index in range(work.source.count):
            if index not in outcomes:
                trial = work.source.trial(index, outcomes)
                assert trial is not None, "all before it are finished"
                outcomes[index] = _train_here(work, trial)
                work.on_outcome(trial, outcomes[index])
                checkpoint_path(work, index).unlink(missing_ok=True)
    return [outcomes[index] for index in range(work.source.count)]


def _train_here(work: Work, trial: Trial) -> Outcome:
    path = checkpoint_path(work, trial.id)

    def after_epoch(training: Training) -> None:
        training.save(path)
        work.on_epoch(trial.id, training.curve[-1])

    try:
        training = trial.start()
        if path.exists():
            training.load(path)
        return train_on(trial, training, after_epoch)
    except (ValueError, RuntimeError) as error:  # a design that cannot be built or trained
        return Outcome(trial.id, failure=f"{type(error).__name__}: {error}".splitlines()[0][:300])


def checkpoint_path(work: Work, index: int) -> Path:
    """Where the serial engine keeps one training."""
    return work.folder / f"trial-{index}.pt"


def check_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a folder that holds other trials; note which these are."""
    note, mine = folder / "trials.json", hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    if note.exists():
        try:
            theirs = json.loads(note.read_text()).get("identity")
        except (ValueError, AttributeError):
            theirs = None
        if theirs != mine:
            raise InvalidTrials(
                f"{folder}: holds trainings of other networks, data, recipes or seeds; give another folder or delete it"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    temporary = note.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({"version": 1, "identity": mine}))
    temporary.replace(note)
