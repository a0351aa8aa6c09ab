"""P-GaP's copies on Ray's workers, with the bits that training them in this process gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import Tensor

from nas.compress.gap.workers import Here, Job, MaskedRun
from nas.runners.ray_session import start_ray
from nas.train.fit import EpochReport

Item = TypeVar("Item")


class WorkerDied(RuntimeError):
    """A worker's process ended in the middle of its work."""


class OnRay:
    """Trainings shared out over Ray's actors, each of which computes with one thread.

    Args:
        job: of the trainings; goes to the object store once.
        actors: number of workers.
    """

    def __init__(self, job: Job, actors: int) -> None:
        import ray

        gpu = int(job.device != "cpu")
        remote = ray.remote(num_cpus=1, num_gpus=gpu)(Here)
        shared = ray.put(job)
        self._actors = [remote.remote(shared, one_thread=True) for _ in range(actors)]

    def begin(self, weights: Mapping[str, Tensor], runs: Sequence[MaskedRun]) -> None:
        """Start trainings anew, run i on worker i modulo their number."""
        import ray

        shared = ray.put(dict(weights))
        self._fetch([actor.begin.remote(shared, share) for actor, share in self._shared_out(runs)])

    def train_epoch(self) -> list[EpochReport]:
        """Train an epoch of each."""
        return self._collect("train_epoch")

    def save(self) -> list[Tensor]:
        """The checkpoint of each."""
        return self._collect("save")

    def load(self, states: Sequence[Tensor]) -> None:
        """Go back."""
        self._fetch([actor.load.remote(share) for actor, share in self._shared_out(states)])

    def weights(self) -> list[dict[str, Tensor]]:
        """Of each."""
        return self._collect("weights")

    def _shared_out(self, items: Sequence[Item]) -> Iterator[tuple[Any, list[Item]]]:
        for at, actor in enumerate(self._actors):
            yield actor, list(items[at :: len(self._actors)])

    def _collect(self, method: str) -> list[Any]:
        shares = self._fetch([getattr(actor, method).remote() for actor in self._actors])
        found: list[Any] = [None] * sum(map(len, shares))
        for at, share in enumerate(shares):
            found[at :: len(shares)] = share
        return found

    def _fetch(self, references: list[Any]) -> list[Any]:
        import ray

        try:
            found: list[Any] = ray.get(references)
        except ray.exceptions.RayActorError as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise WorkerDied(
                f"P-GaP: a worker died ({reason}); run the same again, it goes on from the checkpoint if one was given"
            ) from None
        return found


@contextmanager
def ray_workers(job: Job, partitions: int, workers: int) -> Iterator[OnRay]:
    """Workers for the block, on the session of Ray that runs already or on a private one.

    Args:
        job: of the trainings.
        partitions: trainings side by side.
        workers: most of them at a time; never more than the session has CPUs.
    Raises: RayUnavailable.
    """
    with start_ray(workers=workers) as cpus:
        yield OnRay(job, max(1, min(partitions, workers, cpus)))
