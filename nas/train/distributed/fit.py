"""``fit`` by several processes: the same training, shared."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.runners.ray_session import RayUnavailable, start_ray
from nas.train.distributed.crew import Crew, Plan, WorkerLost
from nas.train.distributed.shared_training import SharedTraining
from nas.train.fit import EpochReport, FitReport, Training, fit
from nas.train.images import Dataset
from nas.train.recipe import InvalidRecipe, Recipe
from nas.train.torch_device import check_torch_device

MAX_RESTARTS = 3  # in a row, without an epoch between them
_LOG = logging.getLogger(__name__)


def fit_together(  # noqa: PLR0913 - the training's facts, all named
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    workers: int,
    device: str = "cpu",
    threads: int = 1,
    address: str | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> FitReport:
    """Train ``model`` in place, like ``fit``, by several processes with DistributedDataParallel.

    With the same seed the result is that of ``fit`` up to rounding. When a process ends, all are started again from the
    last checkpoint, up to three times in a row.

    Args:
        model: with its first weights; it crosses processes.
        dataset: held by every process.
        recipe: its ``batch_size`` is that of all workers together, and divisible by their number.
        seed: of batch order and augmentation.
        workers: processes; 1 without an address trains in this one, without Ray.
        device: "cuda" gives every worker a GPU of its own.
        threads: of each process, on the CPU.
        address: of a Ray cluster; None starts the processes here.
        checkpoint: written after every epoch; if it exists, the training goes on from it, whoever wrote it.
        on_epoch: called after every epoch, once its checkpoint is safe.
    Raises: InvalidRecipe, InvalidCheckpoint, TrainingDiverged, WorkerLost, RayUnavailable.
    """
    check_shares(min(recipe.batch_size, len(dataset.train)), workers)
    if workers == 1 and address is None:
        return fit(model, dataset, recipe, seed=seed, device=device, checkpoint=checkpoint, on_epoch=on_epoch)
    check_torch_device(device, "device")
    training = Training(model, dataset, recipe, seed=seed)
    begun = training.begun
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint or Path(folder) / "training.pt"
        if path.exists():
            training.load(path)
        if training.epoch < recipe.epochs:
            with start_ray(address, workers) as cpus:
                if cpus < workers:
                    raise RayUnavailable(f"training: {workers} workers on a Ray cluster of {cpus} CPUs, expected fewer")

                kind = torch.device(device).type  # each worker sees the GPU that is its own

                def begin() -> SharedTraining:
                    shared = SharedTraining(model, dataset, recipe, seed=seed, device=kind)
                    shared.begun = begun  # the model itself may stand at a checkpoint by now
                    return shared

                plan = Plan(begin, workers, kind, threads, local=address is None)
                advance_together(plan, training.epoch, recipe.epochs, path, on_epoch)
            training.load(path)
    model.load_state_dict(training.final.state_dict())
    model.to(device).eval()
    return FitReport(tuple(training.curve))


def check_shares(batch_size: int, workers: int) -> None:
    """Raise InvalidRecipe unless every worker gets as many images of a batch, and two at least."""
    if workers < 1 or batch_size % workers or (workers > 1 and batch_size // workers < 2):
        raise InvalidRecipe(
            f"recipe.batch_size={batch_size} for {workers} workers, expected a multiple of the number of workers, "
            "with at least 2 images for each"
        )


def advance_together(
    plan: Plan, epoch: int, epochs: int, path: Path, on_epoch: Callable[[Any], None] | None = None
) -> None:
    """Train until so many epochs are finished, by as many crews as that takes.

    Args:
        plan: what the members of a crew do.
        epoch: finished epochs.
        epochs: in all.
        path: of the checkpoint, which stands at ``epoch`` or is not there; written after every epoch.
        on_epoch: called with the report of every epoch, once its checkpoint is safe.
    Raises: WorkerLost: too often in a row; what the training itself raises.
    """
    restarts = 0
    while epoch < epochs:
        crew = None
        try:
            crew = Crew(plan, path.read_bytes() if path.exists() else None, epoch)
            while epoch < epochs:
                report, state = crew.train_epoch()
                write_whole(path, state)
                epoch, restarts = epoch + 1, 0
                if on_epoch is not None:
                    on_epoch(report)
        except WorkerLost as error:
            restarts += 1
            if restarts > MAX_RESTARTS:
                raise
            _LOG.warning("%s; starting again (%d of %d)", error, restarts, MAX_RESTARTS)
        finally:
            if crew is not None:
                crew.close()


def write_whole(path: Path, content: bytes) -> None:
    """So that a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
