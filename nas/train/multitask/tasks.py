"""Tasks on the same images: targets, losses and scores, and the splits they come in."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Generator, Tensor

from nas.train.images import ImageTask, InvalidDataset

Targets = tuple[Tensor, ...]  # each (N, ...); what they mean is between the data and the task's loss
Augment = Callable[[Tensor, dict[str, Targets], Generator], tuple[Tensor, dict[str, Targets]]]


class Meter(Protocol):
    """Collects a score over the batches of a split."""

    def add(self, output: Any, targets: Targets) -> None:
        """One batch: what the network says for the task, and its targets."""

    def value(self) -> float:
        """0..1, higher is better."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One task of a network.

    Attributes:
        name: also the key of its output: the network returns a mapping from task names to outputs.
        loss: (output, targets) -> scalar, mean over the batch, not weighted; 0 for a batch without labels of the task.
        meter: makes an empty meter.
        score: what the meter's value is called, for example "top1".
        weight: of the loss in the sum that training minimises.
    """

    name: str
    loss: Callable[[Any, Targets], Tensor]
    meter: Callable[[], Meter]
    score: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class MultitaskSplit:
    """N images (N, C, H, W), uint8 or float32, and for each task its targets."""

    images: Tensor
    targets: Mapping[str, Targets]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class MultitaskData:
    """Images that several tasks are trained on. Trainings read ``train`` and look at ``validation`` only.

    Attributes:
        image_task: name, input shape and normalisation.
        tasks: at least one; names are distinct and could name a Python variable.
        test: for one look at the very end; None when there are too few images.
        augment: (raw images, targets, generator) -> the same, changed at random; None for none.
    """

    image_task: ImageTask
    tasks: tuple[Task, ...]
    train: MultitaskSplit
    validation: MultitaskSplit
    test: MultitaskSplit | None = None
    augment: Augment | None = None

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        if not names or len(set(names)) < len(names):
            raise InvalidDataset(f"{self.name}: tasks {names}, expected at least one and distinct names")
        for name in names:
            if not name.isidentifier() or keyword.iskeyword(name):
                raise InvalidDataset(
                    f"{self.name}: task {name!r}, expected a Python name (modules are called by it), for example "
                    f"{name.strip() or 'task'}_1"
                )
        for part in ("train", "validation", "test"):
            split: MultitaskSplit | None = getattr(self, part)
            if split is not None:
                _check(f"{self.name} {part}", split, names)

    @property
    def name(self) -> str:
        """Of the data."""
        return self.image_task.name


def _check(where: str, split: MultitaskSplit, names: list[str]) -> None:
    if len(split) < 2:
        raise InvalidDataset(f"{where}: {len(split)} image(s), expected at least two")
    for name in names:
        if name not in split.targets:
            raise InvalidDataset(f"{where}: no targets of task {name!r}, only of {', '.join(split.targets)}")
        for target in split.targets[name]:
            if len(target) != len(split):
                raise InvalidDataset(f"{where}: {len(target)} targets of task {name!r} for {len(split)} images")
