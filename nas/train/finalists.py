"""The short trainings of a few finalists: successive halving, in this process or under Ray Tune.

Both engines train every candidate identically (one thread, all randomness keyed by seed, id and epoch) and
decide by the same rule (``nas.train.halving``), so the results are equal whatever the engine and the number
of workers.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import torch

from nas.runners.ray_session import RayUnavailable, available_cpus
from nas.train.data import Dataset, load_dataset
from nas.train.entrant import Entrant
from nas.train.fit import EpochReport, Training, TrainingDiverged
from nas.train.halving import Halving, Verdict
from nas.train.recipe import Recipe
from search_spaces.arch import Architecture

GRACE_STEPS = 150  # before so many steps all networks look alike, and a comparison would be a lottery
SERIAL_BELOW_SECONDS = 20.0  # Ray needs about ten seconds to start
Engine = Literal["auto", "serial", "ray"]
_LOG = logging.getLogger(__name__)


class InvalidRace(ValueError):
    """The candidates cannot be trained together, or the folder holds another race."""


class CandidateLike(Protocol):
    """What is trained: anything with an id and an architecture."""

    @property
    def id(self) -> int:
        """Unique among the candidates."""

    @property
    def arch(self) -> Architecture:
        """The design."""


@dataclass(frozen=True, slots=True)
class FinalistResult:
    """One candidate after the race.

    Attributes:
        id: the candidate's.
        curve: one report per trained epoch.
        top1: validation accuracy after its last epoch, 0..1; None when it failed before the first.
        epochs: trained.
        stopped_early: it fell out at a rung, or failed.
        failure: why the training broke; None otherwise.
    """

    id: int
    curve: tuple[EpochReport, ...]
    top1: float | None
    epochs: int
    stopped_early: bool
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Race:
    """Everything that both engines need; plain data except for the listeners."""

    entrants: tuple[Entrant, ...]
    halving: Halving
    storage_dir: Path
    on_epoch: Callable[[int, EpochReport], None] = field(default=lambda _id, _report: None)
    on_result: Callable[[FinalistResult], None] = field(default=lambda _result: None)

    def result(self, entrant_id: int, curve: Sequence[EpochReport], failure: str | None) -> FinalistResult:
        """The outcome of one entrant."""
        top1 = curve[-1].validation_top1 if curve else None
        early = len(curve) < self.halving.max_epochs
        return FinalistResult(entrant_id, tuple(curve), top1, len(curve), early, failure)


def train_finalists(  # noqa: PLR0913 - the race's facts, all named
    candidates: Sequence[CandidateLike],
    dataset_spec: str,
    recipe: Recipe,
    *,
    seed: int,
    max_epochs: int,
    storage_dir: Path,
    engine: Engine = "auto",
    address: str | None = None,
    device: str = "cpu",
    drop: bool = True,
    grace_steps: int = GRACE_STEPS,
    on_result: Callable[[FinalistResult], None] | None = None,
    on_epoch: Callable[[int, EpochReport], None] | None = None,
) -> list[FinalistResult]:
    """Train candidates side by side and drop the weaker two thirds at each rung.

    A race that was killed goes on from its checkpoints when it is called again with the same arguments.

    Args:
        candidates: the finalists, a few dozen at most; ids unique.
        dataset_spec: as for ``load_dataset``; only training and validation images are used.
        recipe: settings; its ``epochs`` is replaced by ``max_epochs``.
        seed: of initial weights, batch order and augmentation, combined with each id.
        max_epochs: of those who never fall out; rungs lie at 1/3, 1/9, ... of it, but not
            before ``grace_steps``.
        storage_dir: for checkpoints; on a cluster a folder that all nodes see.
        engine: "auto" takes Ray when the estimated work exceeds 20 s and there are two cores or an address.
        address: of a Ray cluster; None starts a private one.
        device: "cpu" or "cuda"; under Ray each training takes one CPU and, on CUDA, one GPU.
        drop: False trains everyone to the end, to compare them on equal terms.
        grace_steps: no candidate falls out before so many steps of training.
        on_result: called once per candidate when it has finished or fallen out, in no promised order.
        on_epoch: called with (id, report) after every epoch trained now.
    Returns: one result per candidate, in the order given.
    Raises: InvalidRace, InvalidDataset, InvalidRecipe, RayUnavailable (only when engine is "ray").
    """
    recipe = replace(recipe, epochs=max_epochs)
    entrants = tuple(Entrant(c.id, c.arch.to_dict(), dataset_spec, recipe.to_dict(), seed, device) for c in candidates)
    dataset = load_dataset(dataset_spec)
    steps = max(1, len(dataset.train) // recipe.batch_size)  # of one epoch
    field_size = len(entrants) if drop else 1  # a race of one has no rungs
    race = Race(entrants, Halving(field_size, max_epochs, grace=math.ceil(grace_steps / steps)), Path(storage_dir))
    race = replace(race, on_result=on_result or race.on_result, on_epoch=on_epoch or race.on_epoch)
    _check(race)
    if engine == "auto":
        engine = choose_engine(race, dataset, address)
        try:
            return _train(engine, race, dataset, address)
        except RayUnavailable as error:
            _LOG.warning("finalists: %s; training serially", error)
            engine = "serial"
    return _train(engine, race, dataset, address)


def _train(engine: Engine, race: Race, dataset: Dataset, address: str | None) -> list[FinalistResult]:
    if engine == "serial":
        return _train_serially(race, dataset)
    from nas.train.finalists_ray import train_with_ray  # loads ray

    return train_with_ray(race, address)


def choose_engine(race: Race, dataset: Dataset, address: str | None) -> Engine:
    """Serial for short work or a single core, else Ray; says so in one log line."""
    seconds = estimate_seconds(race, dataset)
    cores = available_cpus()
    engine: Engine = "serial" if address is None and (seconds < SERIAL_BELOW_SECONDS or cores == 1) else "ray"
    _LOG.info(
        "finalists: %d candidates, about %.0f s of training on one core, %d core(s): engine %s",
        len(race.entrants), seconds, cores, engine,
    )  # fmt: skip
    return engine


def estimate_seconds(race: Race, dataset: Dataset) -> float:
    """Seconds of the race on one thread, from timing one step of every candidate."""
    epoch_seconds = 0.0
    with threads(1):
        for entrant in race.entrants:
            epoch_seconds += entrant.start(dataset).estimate_epoch_seconds()
    return epoch_seconds / len(race.entrants) * race.halving.total_epochs


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many CPU threads.

    One is the default everywhere: results then do not depend on the machine's cores, and small networks train many
    times faster than with threads that wait for each other.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train_serially(race: Race, dataset: Dataset) -> list[FinalistResult]:
    """Train each candidate as far as its fate is certain, round after round, until all are decided."""
    trainings: dict[int, Training] = {}
    failures: dict[int, str] = {}
    running = list(race.entrants)
    with threads(1):
        for entrant in running:
            trainings[entrant.id] = entrant.start(dataset)
            if (path := _checkpoint(race, entrant)).exists():
                trainings[entrant.id].load(path)
        while running:
            running = [entrant for entrant in running if _advance(race, entrant, trainings, failures)]
    return [race.result(e.id, trainings[e.id].curve, failures.get(e.id)) for e in race.entrants]


def _advance(race: Race, entrant: Entrant, trainings: dict[int, Training], failures: dict[int, str]) -> bool:
    """Train one candidate until it must wait (True) or is done (False)."""
    training = trainings[entrant.id]
    while (verdict := _verdict(race, entrant.id, trainings, failures)) == "continue":
        try:
            report = training.train_epoch()
        except TrainingDiverged as error:
            failures[entrant.id] = str(error)
            continue
        training.save(_checkpoint(race, entrant))
        race.on_epoch(entrant.id, report)
    if verdict == "stop":
        race.on_result(race.result(entrant.id, training.curve, failures.get(entrant.id)))
    return verdict == "wait"


def _verdict(race: Race, entrant_id: int, trainings: dict[int, Training], failures: dict[int, str]) -> Verdict:
    curves = {i: tuple(report.validation_top1 for report in t.curve) for i, t in trainings.items()}
    return race.halving.verdict(entrant_id, curves, frozenset(failures))


def _checkpoint(race: Race, entrant: Entrant) -> Path:
    return race.storage_dir / f"finalist-{entrant.id}.pt"


def _check(race: Race) -> None:
    """Refuse an empty or ambiguous race, and a folder that holds another one; note what this one is."""
    ids = [entrant.id for entrant in race.entrants]
    if not ids or len(set(ids)) != len(ids):
        raise InvalidRace(f"finalists: ids {ids}, expected at least one candidate and no id twice")
    note = race.storage_dir / "race.json"
    # through JSON, so that tuples and lists compare equal
    mine = json.loads(json.dumps({"version": 1, "entrants": [entrant.to_dict() for entrant in race.entrants]}))
    if note.exists():
        try:
            theirs = json.loads(note.read_text())
        except ValueError:
            theirs = None
        if theirs != mine:
            raise InvalidRace(
                f"{race.storage_dir}: holds a race of other candidates, data, recipe or seed; "
                "give another folder or delete it"
            )
        return
    race.storage_dir.mkdir(parents=True, exist_ok=True)
    temporary = note.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(mine))
    temporary.replace(note)
