"""Ray actors joined by torch.distributed (gloo, on CUDA nccl) that advance one training together."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nas.train.advance import Advancing

if TYPE_CHECKING:
    from ray.actor import ActorHandle


class WorkerLost(RuntimeError):
    """A process of the training ended; the epochs before are kept in the checkpoint."""


@dataclass(frozen=True)
class Plan:
    """What the members of a crew do.

    Attributes:
        begin: makes the training of one member, once the group has met; crosses processes.
        workers: members.
        device: "cpu" or "cuda", which gives every member a GPU of its own.
        threads: of each member, on the CPU.
        local: whether all are on this machine.
    """

    begin: Callable[[], Advancing[Any]]
    workers: int
    device: str
    threads: int
    local: bool


class Crew:
    """The actors of one training."""

    def __init__(self, plan: Plan, state: bytes | None, epoch: int) -> None:
        """Start them and let them meet.

        Args:
            plan: what they do.
            state: the checkpoint that they go on from.
            epoch: at which that stands.
        """
        import ray

        self._epoch = epoch
        gpus = 1 if plan.device == "cuda" else 0
        actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(Member)
        shared, saved = ray.put(plan), ray.put(state)
        self.members: list[ActorHandle[Any]] = [actor.remote(shared, saved, rank) for rank in range(plan.workers)]
        try:
            place = self._together([self.members[0].place.remote()])[0]
            self._together([member.join.remote(place) for member in self.members])
        except BaseException:  # an interrupt too: no process outlives a crew that did not meet
            self.close()
            raise

    def train_epoch(self) -> tuple[Any, bytes]:
        """The report and the checkpoint of the first member; both are those of all.

        Raises: WorkerLost; what the training itself raises.
        """
        self._together([member.train_epoch.remote() for member in self.members])
        self._epoch += 1
        report, state = self._together([self.members[0].state.remote()])[0]
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
                cause = error.cause or error
                if type(cause).__module__.startswith("nas."):
                    raise cause from None
                raise self._lost(str(cause)) from None  # others feel the end of a process before Ray tells of it
            except ray.exceptions.RayActorError as error:
                raise self._lost(str(error)) from None
        return list(ray.get(list(calls)))

    def _lost(self, reason: str) -> WorkerLost:
        lines = [line.strip() for line in reason.splitlines() if line.strip()] or ["no reason given"]
        return WorkerLost(
            f"training: a worker ended in epoch {self._epoch + 1} ({lines[0][:200]}); call again "
            f"to go on from the checkpoint of epoch {self._epoch}, perhaps with fewer workers"
        )

    def close(self) -> None:
        """End the actors."""
        import ray

        for member in self.members:
            ray.kill(member)


class Member:
    """One process of a crew."""

    def __init__(self, plan: Plan, state: bytes | None, rank: int) -> None:
        torch.set_num_threads(plan.threads)
        self._plan, self._state, self._rank = plan, state, rank
        self._training: Advancing[Any] | None = None
        self._report: Any = None

    def place(self) -> str:
        """Where the processes meet: a free port of this one's machine."""
        import ray

        host = "127.0.0.1" if self._plan.local else ray.util.get_node_ip_address()
        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"tcp://{host}:{probe.getsockname()[1]}"

    def join(self, place: str) -> None:
        """Meet the others and go back to the saved state."""
        if self._plan.local:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        backend = "nccl" if self._plan.device == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, init_method=place, rank=self._rank, world_size=self._plan.workers)
        self._training = self._plan.begin()
        if self._state is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "state.pt"
                path.write_bytes(self._state)
                self._training.load(path)
        self._state = None

    def train_epoch(self) -> None:
        """Train one epoch."""
        assert self._training is not None
        self._report = self._training.train_epoch()

    def state(self) -> tuple[Any, bytes]:
        """The last report and the checkpoint."""
        assert self._training is not None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state.pt"
            self._training.save(path)
            return self._report, path.read_bytes()

    def process(self) -> int:
        """Its process id."""
        return os.getpid()
