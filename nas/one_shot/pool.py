"""Scores from many processes: Ray actors that hold weights and images once, and a file that forgets nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nas.one_shot.scores import ScoringSettings, SubnetScorer
from nas.runners.ray_session import start_ray
from nas.train.data import load_dataset
from nas.train.supernet.file import load_supernet, weights_digest
from nas.train.supernet.judge import SubnetScore
from search_spaces.arch import Architecture

BATCH = 24  # networks of a message at most: neighbours share the blocks that they begin with
IN_FLIGHT = 2  # batches a worker: one is computed while the next is on its way
MOST_DEATHS = 8  # of workers in one call
READY_SECONDS = 120.0  # for workers to start
_LOG = logging.getLogger(__name__)


class ScoringFailed(RuntimeError):
    """Workers cannot start, or died again and again."""


class ScoreFile:
    """Scores by design, a line each; belongs to one supernet and one choice of images.

    A line cut short by a kill is dropped on reading.
    """

    def __init__(self, path: Path | None, identity: str) -> None:
        """Read what is known.

        Args:
            path: of the file; None keeps scores in memory.
            identity: of supernet, weights and images; scores of another one are not read.
        """
        self._path, self._identity = path, identity
        self.known: dict[str, SubnetScore] = {}
        if path is None or not path.exists():
            return
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
                if row.pop("of") == identity:
                    self.known[row["digest"]] = SubnetScore(**row)
            except (ValueError, KeyError, TypeError):
                continue

    def add(self, scores: Sequence[SubnetScore]) -> None:
        """Remember, durably where there is a file."""
        new = [score for score in scores if score.digest not in self.known]
        self.known.update((score.digest, score) for score in new)
        if self._path is not None and new:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps({"of": self._identity, **score.to_dict()}) + "\n" for score in new)


class ScorePool:
    """Scores the networks of a saved supernet; use it in a ``with`` statement.

    Workers hold the supernet and the images; a message to them is a few designs. A worker that dies is replaced and its
    batch is computed again. Scores do not depend on the number of workers: each network is computed alone, on one
    thread.
    """

    def __init__(  # noqa: PLR0913 - what is scored and where
        self,
        folder: Path,
        data: str,
        settings: ScoringSettings | None = None,
        *,
        workers: int = 1,
        address: str | None = None,
        device: str = "cpu",
        file: Path | None = None,
    ) -> None:
        """Name what is scored; nothing is loaded yet.

        Args:
            folder: of the supernet, seen by all workers.
            data: dataset, as ``load_dataset`` takes it.
            settings: which images and statistics.
            workers: 1 computes in this process.
            address: of a Ray cluster; None starts a private one when there are more workers.
            device: where workers compute; each takes one GPU on CUDA.
            file: of scores, so that a call after a kill repeats nothing.
        Raises: InvalidSupernet.
        """
        self._folder, self._data, self._settings = Path(folder).resolve(), data, settings or ScoringSettings()
        self._workers, self._address, self._device = workers, address, device
        self._file = ScoreFile(file, f"{weights_digest(self._folder)}/{data}/{self._settings}")
        self._stack = ExitStack()
        self._scorer: SubnetScorer | None = None
        self._crew: _Crew | None = None
        self.computed = 0  # networks, in this session

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; leave Ray as it was found."""
        if self._crew is not None:
            self._crew.close()
        self._crew = None
        self._stack.close()

    def scores(self, archs: Sequence[Architecture]) -> list[SubnetScore]:
        """In the order given; known ones are not computed again.

        Raises: InvalidArchitecture, RayUnavailable, ScoringFailed.
        """
        new = list({arch.digest: arch for arch in archs if arch.digest not in self._file.known}.values())
        if new:
            self.computed += len(new)
            if self._workers == 1:
                self._in_process(new)
            else:
                self._in_crew(new)
        return [self._file.known[arch.digest] for arch in archs]

    def _in_process(self, archs: Sequence[Architecture]) -> None:
        from nas.train.finalists import threads

        with threads(1):
            if self._scorer is None:
                self._scorer = make_scorer(self._folder, self._data, self._settings, self._device)
            for arch in archs:
                self._file.add([self._scorer.score(arch)])

    def _in_crew(self, archs: Sequence[Architecture]) -> None:
        if self._crew is None:
            self._stack.enter_context(start_ray(self._address, self._workers))
            self._crew = _Crew((str(self._folder), self._data, self._settings, self._device), self._workers)
        size = min(BATCH, -(-len(archs) // (IN_FLIGHT * self._workers)))
        for scores in self._crew.run([archs[at : at + size] for at in range(0, len(archs), size)]):
            self._file.add(scores)


def make_scorer(folder: Path, data: str, settings: ScoringSettings, device: str = "cpu") -> SubnetScorer:
    """A scorer of a saved supernet on a dataset by name."""
    supernet, _ = load_supernet(folder)
    return SubnetScorer(supernet, load_dataset(data), settings, device=device)


class _Crew:
    """Actors and the batches that they hold."""

    def __init__(self, task: tuple[str, str, ScoringSettings, str], workers: int) -> None:
        import ray

        self._ray, self._task = ray, task
        gpus = 0 if task[3] == "cpu" else 1
        self._make = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_ScoringActor)
        room = int(ray.cluster_resources().get("GPU" if gpus else "CPU", 0.0))
        if room < workers:
            unit = "GPUs" if gpus else "CPUs"
            _LOG.warning("Ray: asked for %d workers, the cluster has %d %s; going on with that", workers, room, unit)
        self.actors = [self._make.remote(*task) for _ in range(max(1, min(workers, room)))]
        self._await_start()

    def _await_start(self) -> None:
        """Go on with the actors that have started; others may occupy what the cluster has."""
        starting = {actor.pid.remote(): actor for actor in self.actors}
        ready, late = self._ray.wait(list(starting), num_returns=len(starting), timeout=READY_SECONDS)
        try:
            self._ray.get(ready)
        except self._ray.exceptions.RayActorError as error:
            self.close()
            reason = [line for line in str(error).splitlines() if line.strip()][-1].strip()
            raise ScoringFailed(
                f"scores: workers cannot start: {reason}; do they see the supernet's folder {self._task[0]}?"
            ) from None
        for ref in late:
            self._ray.kill(starting[ref])
            self.actors.remove(starting[ref])
        if not self.actors:
            raise ScoringFailed(
                f"scores: no worker started within {READY_SECONDS:g} s; free some of the cluster, or use one worker"
            )
        if late:
            _LOG.warning("Ray: asked for %d workers, going on with %d", len(starting), len(self.actors))

    def run(self, batches: Sequence[Sequence[Architecture]]) -> Any:
        """Scores of each batch as it comes back, in no promised order."""
        waiting, running, deaths = list(reversed(batches)), dict[Any, tuple[Any, Any]](), 0
        while waiting or running:
            for actor in self.actors:
                while waiting and sum(held is actor for held, _ in running.values()) < IN_FLIGHT:
                    batch = waiting.pop()
                    running[actor.score.remote([arch.to_json() for arch in batch])] = (actor, batch)
            done, _ = self._ray.wait(list(running), num_returns=1)
            for ref in done:
                if ref not in running:
                    continue
                actor, batch = running.pop(ref)
                try:
                    yield self._ray.get(ref)
                except self._ray.exceptions.RayActorError:
                    deaths += 1
                    if deaths > MOST_DEATHS:
                        raise ScoringFailed(
                            f"scores: {deaths} workers died; the last held {batch[0].digest}; see the log of Ray, or "
                            "use one worker"
                        ) from None
                    lost = [other for other, (held, _) in running.items() if held is actor]
                    waiting += [batch, *(running.pop(other)[1] for other in lost)]
                    self.actors[self.actors.index(actor)] = self._make.remote(*self._task)

    def close(self) -> None:
        for actor in self.actors:
            self._ray.kill(actor)


class _ScoringActor:
    """Lives in a worker: a supernet, the images, one thread."""

    def __init__(self, folder: str, data: str, settings: ScoringSettings, device: str) -> None:
        import torch

        torch.set_num_threads(1)
        self._scorer = make_scorer(Path(folder), data, settings, device)

    def pid(self) -> int:
        """Of the worker's process."""
        import os

        return os.getpid()

    def score(self, texts: list[str]) -> list[SubnetScore]:
        """Of designs as JSON."""
        return [self._scorer.score(Architecture.from_json(text)) for text in texts]
