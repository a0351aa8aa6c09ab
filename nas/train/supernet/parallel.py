"""Training of one supernet by several processes: each takes a share of every batch, gradients are averaged.

The processes are Ray actors joined by torch.distributed (gloo, on CUDA nccl). All have the same weights: they
begin with the same ones and apply the same averaged gradients. Norms see the share of their own process; the
stored statistics of the first process are given to all after every epoch. So with batch norms the result depends on the
number of workers, as it does on the batch size; networks without (vision transformers) are trained as by one process up
to rounding. The checkpoint is that of a training by one process: it can go on with another number of workers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from nas.runners.ray_session import start_ray
from nas.train.distributed.crew import Plan
from nas.train.distributed.fit import advance_together, check_shares
from nas.train.images import Dataset
from nas.train.supernet.recipe import SupernetRecipe
from nas.train.supernet.training import Share, SupernetEpoch, SupernetTraining, train_supernet
from search_spaces.supernet import Supernet


def train_supernet_in_parallel(  # noqa: PLR0913 - the training's facts, all named
    supernet: Supernet,
    dataset: Dataset,
    recipe: SupernetRecipe,
    *,
    seed: int,
    workers: int,
    device: torch.device | str = "cpu",
    address: str | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[SupernetEpoch], None] | None = None,
) -> tuple[SupernetEpoch, ...]:
    """Train a supernet in place, like ``train_supernet``, by several processes.

    Args:
        supernet: with its first weights.
        dataset: held by every process.
        recipe: its ``batch_size`` is that of all workers together, and divisible by their number.
        seed: of everything random but the first weights.
        workers: processes; 1 trains in this one, without Ray.
        device: "cuda" gives every worker a GPU of its own.
        address: of a Ray cluster; None starts processes here.
        checkpoint: written after every epoch; if it exists, the training goes on from it.
        on_epoch: called after every epoch, once its checkpoint is safe.
    Returns: one report per epoch.
    Raises: InvalidRecipe, InvalidCheckpoint, WorkerLost, TrainingDiverged, RayUnavailable.
    """
    if workers == 1:
        return train_supernet(
            supernet, dataset, recipe, seed=seed, device=device, checkpoint=checkpoint, on_epoch=on_epoch
        )
    check_shares(min(recipe.batch_size, len(dataset.train)), workers)
    with tempfile.TemporaryDirectory() as folder, start_ray(address, workers):
        path = checkpoint or Path(folder) / "supernet.pt"
        training = SupernetTraining(supernet, dataset, recipe, seed=seed)
        if path.exists():
            training.load(path)
        if training.epoch < recipe.epochs:
            kind = torch.device(device).type

            def begin() -> _Member:
                share = Share(torch.distributed.get_rank(), torch.distributed.get_world_size(), _average)
                return _Member(supernet, dataset, recipe, seed=seed, device=kind, share=share)

            plan = Plan(begin, workers, kind, threads=1, local=address is None)
            advance_together(plan, training.epoch, recipe.epochs, path, on_epoch)
            training.load(path)
    supernet.to(device).eval()
    return tuple(training.curve)


class _Member(SupernetTraining):
    """The whole training on one process's share of every batch."""

    def train_epoch(self) -> SupernetEpoch:
        """Train one epoch; then all have the stored statistics of the first process."""
        report = super().train_epoch()
        for buffer in self.supernet.buffers():
            torch.distributed.broadcast(buffer, 0)
        return report


def _average(tensors: Sequence[Tensor]) -> None:
    """The mean over processes, in place, by one message."""
    flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
    torch.distributed.all_reduce(flat)
    parts = torch.split(flat / torch.distributed.get_world_size(), [tensor.numel() for tensor in tensors])
    with torch.no_grad():
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))
