"""Training of one supernet by several processes: each takes a share of every batch, gradients are averaged.

The processes are Ray actors joined by torch.distributed (gloo, on CUDA nccl). All have the same weights: they
begin with the same ones and apply the same averaged gradients. Norms see the share of their own process; the
stored statistics of the first process are given to all after every epoch. So with batch norms the result depends on the
number of workers, as it does on the batch size; networks without (vision transformers) are trained as by one process up
to rounding. The checkpoint is that of a training by one process: it can go on with another number of workers.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nas.runners.ray_session import start_ray
from nas.train.images import Dataset
from nas.train.recipe import InvalidRecipe
from nas.train.supernet.recipe import SupernetRecipe
from nas.train.supernet.training import Share, SupernetEpoch, SupernetTraining, train_supernet
from search_spaces.supernet import Supernet

if TYPE_CHECKING:
    from ray.actor import ActorHandle


class WorkerLost(RuntimeError):
    """A process of the training ended; the epochs before are kept in the checkpoint."""


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
    _check_divisible(min(recipe.batch_size, len(dataset.train)), workers)
    with tempfile.TemporaryDirectory() as folder, start_ray(address, workers):
        path = checkpoint or Path(folder) / "supernet.pt"
        training = SupernetTraining(supernet, dataset, recipe, seed=seed)
        if path.exists():
            training.load(path)
        if training.epoch < recipe.epochs:
            crew = _Crew(training, path, workers, torch.device(device), local=address is None)
            try:
                for _ in range(training.epoch, recipe.epochs):
                    report, state = crew.train_epoch()
                    _write(path, state)
                    if on_epoch is not None:
                        on_epoch(report)
            finally:
                crew.close()
            training.load(path)
    supernet.to(device).eval()
    return tuple(training.curve)


def _check_divisible(batch_size: int, workers: int) -> None:
    if workers < 1 or batch_size % workers or batch_size // workers < 2:
        raise InvalidRecipe(
            f"recipe.batch_size={batch_size} for {workers} workers, expected a multiple of the number of workers, "
            "with at least 2 images for each"
        )


class _Crew:
    """The actors of one training."""

    def __init__(self, training: SupernetTraining, path: Path, workers: int, device: torch.device, *, local: bool):
        import ray

        gpus = 1 if device.type == "cuda" else 0
        actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Member)
        facts = ray.put((training.supernet, training.dataset, training.recipe, training.seed))
        state = ray.put(path.read_bytes() if path.exists() else None)
        self._members: list[ActorHandle[Any]] = [
            actor.remote(facts, state, rank, workers, device.type) for rank in range(workers)
        ]
        self._epoch = training.epoch
        place = self._together([self._members[0].place.remote(local)])[0]
        self._together([member.join.remote(place, local) for member in self._members])

    def train_epoch(self) -> tuple[SupernetEpoch, bytes]:
        """The report and the checkpoint of the first member; both are those of all."""
        self._together([member.train_epoch.remote() for member in self._members])
        self._epoch += 1
        report, state = self._together([self._members[0].state.remote()])[0]
        return report, state

    def _together(self, calls: Sequence[Any]) -> list[Any]:
        """The results of all; the first failure ends the waiting, as the others may wait for it for ever."""
        import ray

        waiting = list(calls)
        while waiting:
            ended, waiting = ray.wait(waiting)
            try:
                ray.get(ended)
            except ray.exceptions.RayTaskError as error:
                raise (error.cause or error) from None
            except ray.exceptions.RayActorError:
                raise WorkerLost(
                    f"supernet: a worker ended in epoch {self._epoch + 1}; call again to go on from the checkpoint of "
                    f"epoch {self._epoch}, perhaps with fewer workers"
                ) from None
        return list(ray.get(list(calls)))

    def close(self) -> None:
        """End the actors."""
        import ray

        for member in self._members:
            ray.kill(member)


class _Member:
    """One process: the whole training on its share of every batch."""

    def __init__(
        self,
        facts: tuple[Supernet, Dataset, SupernetRecipe, int],
        state: bytes | None,
        rank: int,
        world: int,
        device: str,
    ) -> None:
        torch.set_num_threads(1)
        self._facts, self._state, self._device = facts, state, device
        self._rank, self._world = rank, world
        self._training: SupernetTraining | None = None

    def place(self, local: bool) -> str:
        """Where the processes meet: a free port of this one's machine."""
        import ray

        host = "127.0.0.1" if local else ray.util.get_node_ip_address()
        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"tcp://{host}:{probe.getsockname()[1]}"

    def join(self, place: str, local: bool) -> None:
        """Meet the others and go back to the saved state."""
        if local:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        backend = "nccl" if self._device == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, init_method=place, rank=self._rank, world_size=self._world)
        supernet, dataset, recipe, seed = self._facts
        share = Share(self._rank, self._world, self._average)
        training = SupernetTraining(supernet, dataset, recipe, seed=seed, device=self._device, share=share)
        if self._state is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "state.pt"
                path.write_bytes(self._state)
                training.load(path)
        self._training, self._state = training, None

    def train_epoch(self) -> None:
        """Train one epoch; then all have the stored statistics of the first process."""
        assert self._training is not None
        self._training.train_epoch()
        for buffer in self._training.supernet.buffers():
            torch.distributed.broadcast(buffer, 0)

    def state(self) -> tuple[SupernetEpoch, bytes]:
        """The last report and the checkpoint."""
        assert self._training is not None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state.pt"
            self._training.save(path)
            return self._training.curve[-1], path.read_bytes()

    def _average(self, tensors: Sequence[Tensor]) -> None:
        """The mean over processes, in place, by one message."""
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        torch.distributed.all_reduce(flat)
        parts = torch.split(flat / self._world, [tensor.numel() for tensor in tensors])
        with torch.no_grad():
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view(tensor.shape))


def _write(path: Path, content: bytes) -> None:
    """So that a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
