"""Trainings under masks, side by side: what a worker does, in this process or in one of Ray's."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from nas.compress.masks import Masks
from nas.compress.saved_training import load_saved, saved
from nas.train.distill import Distillation
from nas.train.fit import EpochReport, Training
from nas.train.images import Dataset
from nas.train.recipe import Recipe
from nas.train.torch_device import check_torch_device


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What all trainings of a pruning share.

    Attributes:
        model: its structure; the weights are given for each stage.
        dataset: of every training.
        recipe: of every training, but for its epochs.
        device: where to compute.
        distillation: a teacher for every training.
    """

    model: nn.Module
    dataset: Dataset
    recipe: Recipe
    device: str
    distillation: Distillation | None = None

    def __post_init__(self) -> None:
        check_torch_device(self.device, "device")


@dataclass(frozen=True, slots=True, eq=False)
class MaskedRun:
    """One training: its masks, which stay as they are, its length and its seed."""

    masks: Masks
    recipe: Recipe
    seed: int


class Workers(Protocol):
    """Trainings that advance together; the order of every list is that of the runs begun."""

    def begin(self, weights: Mapping[str, Tensor], runs: Sequence[MaskedRun]) -> None:
        """Start trainings anew from these weights, with a new optimiser each."""

    def train_epoch(self) -> list[EpochReport]:
        """Train an epoch of each."""

    def save(self) -> list[Tensor]:
        """The checkpoint of each, as bytes."""

    def load(self, states: Sequence[Tensor]) -> None:
        """Go back to what ``save`` gave."""

    def weights(self) -> list[dict[str, Tensor]]:
        """State dict of each network to deliver, on the CPU."""


class Here:
    """Trainings one after the other in this process.

    Attributes:
        trainings: that run now.
    """

    def __init__(self, job: Job, *, one_thread: bool = False) -> None:
        self._job, self._one_thread = job, one_thread
        self.trainings: list[Training] = []

    def begin(self, weights: Mapping[str, Tensor], runs: Sequence[MaskedRun]) -> None:
        """Start trainings anew."""
        self.trainings = [self._start(weights, run) for run in runs]

    def _start(self, weights: Mapping[str, Tensor], run: MaskedRun) -> Training:
        model = copy.deepcopy(self._job.model)
        model.load_state_dict(dict(weights))
        run.masks.apply_(model)
        job = self._job
        return Training(
            model,
            job.dataset,
            run.recipe,
            seed=run.seed,
            device=job.device,
            distillation=job.distillation,
            after_step=run.masks.apply_,
        )

    def train_epoch(self) -> list[EpochReport]:
        """Train an epoch of each."""
        with _threads(1 if self._one_thread else None):
            return [training.train_epoch() for training in self.trainings]

    def save(self) -> list[Tensor]:
        """The checkpoint of each."""
        return [saved(training) for training in self.trainings]

    def load(self, states: Sequence[Tensor]) -> None:
        """Go back."""
        for training, state in zip(self.trainings, states, strict=True):
            load_saved(training, state)

    def weights(self) -> list[dict[str, Tensor]]:
        """Of each."""
        return [cpu_weights(training.final) for training in self.trainings]


def cpu_weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the state dict, on the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """So many threads of PyTorch for a while; None leaves them as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
