"""One training as plain data that crosses processes, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Self

from nas.train.data import Dataset, load_dataset
from nas.train.entrant import build_network
from nas.train.fit import EpochReport, Training, TrainingDiverged
from nas.train.recipe import Recipe
from nas.train.subset import without_test
from nas.train.trials.hits import hits_on_test
from search_spaces.arch import Architecture


@dataclass(frozen=True)
class Trial:
    """JSON-ready description of one training: ``Trial.from_dict(trial.to_dict())`` trains identically.

    Attributes:
        id: its place among the trials, from 0.
        arch: the design.
        dataset: as for ``load_dataset``.
        recipe: settings; of all trials side by side they may differ.
        seed: of initial weights, batch order and augmentation.
        device: "cpu" or "cuda".
        images: most training images, and most validation images; None takes all.
        rungs: (epoch, least validation top-1): it ends after that epoch when it shows less.
        test: whether the finished network is held against the test images; the data of others has none.
    """

    id: int
    arch: Mapping[str, Any]
    dataset: str
    recipe: Mapping[str, Any]
    seed: int
    device: str = "cpu"
    images: int | None = None
    rungs: Sequence[tuple[int, float]] = ()
    test: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        return cls(**{**data, "rungs": tuple((epoch, least) for epoch, least in data["rungs"])})

    def data(self) -> Dataset:
        """The images, loaded once per process."""
        return _whole(self.dataset) if self.test else without_test(self.dataset, self.images)

    def start(self) -> Training:
        """The network with its initial weights, ready for the first epoch."""
        dataset = self.data()
        network = build_network(Architecture.from_dict(self.arch), dataset, seed=self.seed)
        return Training(network, dataset, Recipe.from_dict(self.recipe), seed=self.seed, device=self.device)

    def falls_out(self, curve: Sequence[EpochReport]) -> bool:
        """Whether it shows less than a rung asks for; a rung that it lies on, or passed before."""
        return any(
            len(curve) >= epoch and curve[epoch - 1].validation_top1 < least
            for epoch, least in self.rungs
            if epoch < self.recipe["epochs"]
        )

    def has_ended(self, curve: Sequence[EpochReport]) -> bool:
        """Whether nothing is left to train."""
        return len(curve) >= self.recipe["epochs"] or self.falls_out(curve)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial. Outcomes are equal when all but seconds is, bit for bit.

    Attributes:
        id: the trial's.
        curve: one report per trained epoch.
        dropped: it fell out at a rung.
        failure: why it broke or diverged; None otherwise.
        hits: of the test images, see ``unpack_hits``; None unless the trial is tested.
    """

    id: int
    curve: tuple[EpochReport, ...] = ()
    dropped: bool = False
    failure: str | None = None
    hits: str | None = None

    @property
    def top1(self) -> float | None:
        """Validation accuracy after the last epoch, 0..1; None where it did not reach that."""
        return self.curve[-1].validation_top1 if self.finished else None

    @property
    def finished(self) -> bool:
        """Whether it was trained to its end."""
        return self.failure is None and not self.dropped and bool(self.curve)

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``asdict`` gave; further names are left out."""
        names = ("id", "dropped", "failure", "hits")
        curve = tuple(EpochReport(**report) for report in data["curve"])
        return cls(curve=curve, **{name: data[name] for name in names})


def train_on(trial: Trial, training: Training, after_epoch: Callable[[Training], None]) -> Outcome:
    """Train from where it stands to its end.

    Args:
        trial: which training.
        training: at its start, or gone back to a checkpoint.
        after_epoch: called after every epoch that is trained now.
    """
    while not trial.has_ended(training.curve):
        try:
            training.train_epoch()
        except TrainingDiverged as error:
            return Outcome(trial.id, tuple(training.curve), failure=str(error))
        after_epoch(training)
    dropped = trial.falls_out(training.curve)
    hits = hits_on_test(training.final, trial.data(), trial.device) if trial.test and not dropped else None
    return Outcome(trial.id, tuple(training.curve), dropped, hits=hits)


@lru_cache(maxsize=1)
def _whole(spec: str) -> Dataset:
    return load_dataset(spec)
