"""The short trainings of a few finalists: successive halving, in this process or under Ray Tune.

Both engines train every candidate identically (one thread, all randomness keyed by seed, id and epoch) and
decide by the same rule (``nas.train.halving``), so the results are equal whatever the engine and the number
of workers.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from nas.runners.ray_session import RayUnavailable, available_cpus
from nas.train.data import Dataset, load_dataset
from nas.train.entrant import Entrant
from nas.train.fit import EpochReport, Training, TrainingDiverged
from nas.train.halving import Halving, Verdict
from nas.train.race import CandidateLike, FinalistResult, Race, check_race, checkpoint_path
from nas.train.recipe import Recipe
from nas.train.torch_device import check_torch_device

GRACE_STEPS = 150  # before so many steps all networks look alike, and a comparison would be a lottery
SERIAL_BELOW_SECONDS = 20.0  # Ray needs about ten seconds to start
Engine = Literal["auto", "serial", "ray"]
_LOG = logging.getLogger(__name__)


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
    workers: int | None = None,
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
        workers: most trainings side by side under Ray; None takes the CPUs there are.
        device: "cpu" or "cuda"; under Ray each training takes one CPU and, on CUDA, one GPU.
        drop: False trains everyone to the end, to compare them on equal terms.
        grace_steps: no candidate falls out before so many steps of training.
        on_result: called once per candidate when it has finished or fallen out, in no promised order.
        on_epoch: called with (id, report) after every epoch trained now.
    Returns: one result per candidate, in the order given.
    Raises: InvalidRace, InvalidDataset, InvalidRecipe, InvalidTorchDevice, RayUnavailable (only when engine is "ray").
    """
    check_torch_device(device, "device")
    recipe = replace(recipe, epochs=max_epochs)
    entrants = tuple(Entrant(c.id, c.arch.to_dict(), dataset_spec, recipe.to_dict(), seed, device) for c in candidates)
    dataset = load_dataset(dataset_spec)
    steps = max(1, len(dataset.train) // recipe.batch_size)  # of one epoch
    grace = math.ceil(grace_steps / steps) if drop else max_epochs  # no comparison before the end: no rungs
    race = Race(entrants, Halving(len(entrants), max_epochs, grace=grace), Path(storage_dir))
    race = replace(race, on_result=on_result or race.on_result, on_epoch=on_epoch or race.on_epoch)
    check_race(race)
    if engine == "auto":
        engine = choose_engine(race, dataset, address, workers)
        try:
            return _train(engine, race, dataset, address, workers)
        except RayUnavailable as error:
            _LOG.warning("finalists: %s; training serially", error)
            engine = "serial"
    return _train(engine, race, dataset, address, workers)


def _train(
    engine: Engine, race: Race, dataset: Dataset, address: str | None, workers: int | None
) -> list[FinalistResult]:
    if engine == "serial":
        return _train_serially(race, dataset)
    from nas.train.finalists_ray import train_with_ray  # loads ray

    return train_with_ray(race, address, workers)


def choose_engine(race: Race, dataset: Dataset, address: str | None, workers: int | None = None) -> Engine:
    """Serial for short work or a single core or worker, else Ray; says so in one log line."""
    seconds = estimate_seconds(race, dataset)
    cores = workers or available_cpus()
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
            if (path := checkpoint_path(race, entrant)).exists():
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
        training.save(checkpoint_path(race, entrant))
        race.on_epoch(entrant.id, report)
    if verdict == "stop":
        race.on_result(race.result(entrant.id, training.curve, failures.get(entrant.id)))
    return verdict == "wait"


def _verdict(race: Race, entrant_id: int, trainings: dict[int, Training], failures: dict[int, str]) -> Verdict:
    curves = {i: tuple(report.validation_top1 for report in t.curve) for i, t in trainings.items()}
    return race.halving.verdict(entrant_id, curves, frozenset(failures))
