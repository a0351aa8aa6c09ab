"""The training loop of a detector: schedule, weight average, checkpoints and seeds as in ``nas.train.fit``.

All randomness of epoch e comes from (seed, e) alone, so a training that was killed after any epoch and
resumed is, on the CPU with the same number of threads, equal bit for bit to one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from nas.train.advance import advance
from nas.train.begun_network import begun_network
from nas.train.checkpoint import load_checkpoint, save_checkpoint
from nas.train.detection.augment import augment
from nas.train.detection.average_precision import AveragePrecision, average_precision
from nas.train.detection.dataset import DetectionDataset, DetectionSplit
from nas.train.detection.losses import detection_losses
from nas.train.detection.network import Detector
from nas.train.detection.predict import Detections, detect
from nas.train.detection.recipe import DetectionRecipe
from nas.train.detection.targets import assign, places
from nas.train.ema import WeightAverage
from nas.train.evaluate import Normaliser
from nas.train.fit import TrainingDiverged
from nas.train.images import ImageTask, InvalidDataset
from nas.train.optimiser import nesterov_sgd
from nas.train.schedule import set_learning_rate
from nas.train.seeding import seeded
from nas.train.torch_device import check_torch_device

_HOPELESS = 1e3  # untrained, the three losses together are about 3
_EVALUATION_BATCH = 16


@dataclass(frozen=True, slots=True)
class DetectionEpoch:
    """One epoch. Reports are equal when all but ``seconds`` is, bit for bit.

    Attributes:
        epoch: from 1.
        learning_rate: of its last step.
        class_loss, box_loss, centre_loss: means over its steps.
        validation: average precision of the averaged weights on the held-out images; None when not looked at.
        seconds: wall time, validation included.
    """

    epoch: int
    learning_rate: float
    class_loss: float
    box_loss: float
    centre_loss: float
    validation: AveragePrecision | None
    seconds: float = field(compare=False)

    @property
    def train_loss(self) -> float:
        """Sum of the three."""
        return self.class_loss + self.box_loss + self.centre_loss


def fit_detector(  # noqa: PLR0913 - the training's facts, all named
    model: Detector,
    dataset: DetectionDataset,
    recipe: DetectionRecipe,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_epoch: Callable[[DetectionEpoch], None] | None = None,
) -> tuple[DetectionEpoch, ...]:
    """Train ``model`` in place on the training images; its weights end as their moving average.

    Args:
        model: as ``build_detector`` makes it.
        dataset: ``train`` is learned from; ``validation`` is only looked at.
        recipe: the settings.
        seed: of batch order and augmentation; the initial weights are the caller's.
        device: where to compute; the model stays there.
        checkpoint: written after every epoch; if it exists, the training goes on from it.
        on_epoch: called after every epoch that is trained now, once its checkpoint is safe.
    Returns: one report per epoch.
    Raises: TrainingDiverged, InvalidCheckpoint, InvalidDataset.
    """
    training = DetectionTraining(model, dataset, recipe, seed=seed, device=device)
    advance(training, recipe.epochs, checkpoint, on_epoch)
    model.load_state_dict(training.final.state_dict())
    model.eval()
    return tuple(training.curve)


class DetectionTraining:
    """A training that advances epoch by epoch and can be saved after each.

    Attributes:
        curve: one report per finished epoch.
        final: the network to evaluate and deliver: averaged weights, or the model itself without averaging.
    """

    def __init__(
        self,
        model: Detector,
        dataset: DetectionDataset,
        recipe: DetectionRecipe,
        *,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        check_sides(model, dataset.input_shape)
        self.device = torch.device(check_torch_device(device, "device"))
        self._begun = begun_network(model)
        self.recipe, self.seed, self.dataset = recipe, seed, dataset
        self.curve: list[DetectionEpoch] = []
        self.model = model.to(self.device)
        self.average = WeightAverage(self.model, recipe.ema_decay) if recipe.ema_decay > 0 else None
        self.optimiser = nesterov_sgd(
            self.model,
            learning_rate=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        split = dataset.train
        self._images = torch.from_numpy(split.images).to(self.device)
        self._boxes = torch.from_numpy(split.boxes)
        self._labels = torch.from_numpy(split.labels).masked_fill(torch.from_numpy(split.crowd), -1)
        self._task = dataset.task
        self._normalise = Normaliser(self._task, self.device)
        self._places = places((dataset.input_shape[1], dataset.input_shape[2]), model.strides)

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.curve)

    @property
    def final(self) -> Detector:
        """The network with the weights to deliver."""
        if self.average is None:
            return self.model
        model = self.average.model
        assert isinstance(model, Detector)
        return model

    def train_epoch(self) -> DetectionEpoch:
        """Train one epoch, and look at the held-out images when it is time; raises TrainingDiverged."""
        start = time.perf_counter()
        with seeded(self.seed, self.epoch, self.device) as generator:
            losses, learning_rate = self._pass(generator)
        epoch = self.epoch + 1
        look = epoch % self.recipe.evaluate_every == 0 or epoch == self.recipe.epochs
        found = evaluate_detector(self.final, self.dataset.validation, self._task) if look else None
        seconds = time.perf_counter() - start
        self.curve.append(DetectionEpoch(epoch, learning_rate, *losses, found, seconds))
        return self.curve[-1]

    def _pass(self, generator: Generator) -> tuple[tuple[float, float, float], float]:
        """One pass over the training images in random order: mean losses, last learning rate."""
        size = min(self.recipe.batch_size, len(self._images))
        steps = len(self._images) // size
        order = torch.randperm(len(self._images), generator=generator)
        total = torch.zeros(3, dtype=torch.float64)
        self.model.train()
        learning_rate = 0.0
        for step in range(steps):
            learning_rate = self._set_learning_rate(self.epoch * steps + step, steps)
            total += self._step(order[step * size : (step + 1) * size], generator)
            if not float(total.sum()) / (step + 1) <= _HOPELESS:
                raise TrainingDiverged(
                    f"epoch {self.epoch + 1}: the training loss is {float(total.sum()) / (step + 1):.3g}; lower "
                    f"learning_rate (now {self.recipe.learning_rate:g}) or lengthen warmup_epochs"
                )
        classes, boxes, centre = (total / steps).tolist()
        return (classes, boxes, centre), learning_rate

    def _step(self, batch: Tensor, generator: Generator) -> Tensor:
        images = self._normalise(self._images[batch.to(self.device)])
        boxes, labels = self._boxes[batch].to(self.device), self._labels[batch].to(self.device)
        images, boxes, labels = augment(self.recipe.augment, images, boxes, labels, generator)
        targets = assign(self._places, boxes.cpu(), labels.cpu())
        self.optimiser.zero_grad(set_to_none=True)
        where = type(self._places)(*(part.to(self.device) for part in self._places))
        losses = detection_losses(self.model(images), type(targets)(*(part.to(self.device) for part in targets)), where)
        sum(losses).backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimiser.step()
        if self.average is not None:
            self.average.update_(self.model)
        return torch.stack(losses).detach().double().cpu()

    def _set_learning_rate(self, step: int, steps_per_epoch: int) -> float:
        return set_learning_rate(self.optimiser, self.recipe, step, steps_per_epoch)

    def save(self, path: Path) -> None:
        """Write everything that the next epoch depends on."""
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": None if self.average is None else self.average.model.state_dict(),
            "updates": 0 if self.average is None else self.average.updates,
            "curve": [asdict(report) for report in self.curve],
        }
        save_checkpoint(path, state, self._identity())

    def load(self, path: Path) -> None:
        """Go back to a saved state; raises InvalidCheckpoint when it is another training's."""
        state = load_checkpoint(path, self._identity())
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
            self.average.updates = state["updates"]
        self.curve = [_epoch_report(row) for row in state["curve"]]

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to fit."""
        return {
            **self._begun,
            "dataset": [self.dataset.name, len(self.dataset.train), list(self._task.mean), list(self._task.classes)],
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
        }


def _epoch_report(row: dict[str, Any]) -> DetectionEpoch:
    found = row["validation"]
    return DetectionEpoch(**{**row, "validation": None if found is None else AveragePrecision(**found)})


def check_sides(model: Detector, input_shape: tuple[int, int, int]) -> None:
    """Raise InvalidDataset unless the image sides are multiples of the largest stride."""
    _, height, width = input_shape
    stride = model.strides[-1]
    if height % stride or width % stride:
        near = max(1, math.ceil(max(height, width) / stride)) * stride
        raise InvalidDataset(
            f"images of {width}x{height} pixels, expected multiples of the largest stride {stride}; "
            f"for example --size {near}"
        )


def evaluate_detector(model: Detector, split: DetectionSplit, task: ImageTask) -> AveragePrecision:
    """Average precision of a detector on images with known boxes; its mode is put back."""
    return average_precision(split, find_objects(model, split, task))


def find_objects(model: Detector, split: DetectionSplit, task: ImageTask) -> list[Detections]:
    """Detections in every image of a split."""
    device = next(model.parameters()).device
    normalise = Normaliser(task, device)
    found: list[Detections] = []
    for start in range(0, len(split), _EVALUATION_BATCH):
        images = torch.from_numpy(split.images[start : start + _EVALUATION_BATCH]).to(device)
        found += detect(model, normalise(images))
    return found
