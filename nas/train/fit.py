"""The training loop: SGD with Nesterov momentum or AdamW, warm-up and cosine, label smoothing, averaged weights.

All randomness of epoch e comes from (seed, e) alone, so a training that was killed after any epoch and
resumed is, on the CPU with the same number of threads, equal bit for bit to one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from nas.train.advance import advance
from nas.train.augment import choose_augment
from nas.train.begun_network import begun_network
from nas.train.checkpoint import load_checkpoint, save_checkpoint
from nas.train.distill import Distillation
from nas.train.ema import WeightAverage
from nas.train.evaluate import Evaluation, Normaliser, evaluate, to_tensors
from nas.train.images import Dataset
from nas.train.optimiser import ADAMW_SHARE, adamw, has_attention, nesterov_sgd
from nas.train.precision import Precision
from nas.train.recipe import Recipe
from nas.train.schedule import set_learning_rate
from nas.train.seeding import seeded
from nas.train.torch_device import check_torch_device

_HOPELESS = 20.0  # a mean loss above this many times that of guessing does not come back
_CHECK_EVERY = 50  # steps between looks at the loss; each look waits for the GPU


class TrainingDiverged(RuntimeError):
    """The loss is not finite or far above that of guessing."""


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One epoch. Reports are equal when all but ``seconds`` is, bit for bit.

    Attributes:
        epoch: from 1.
        learning_rate: of its last step.
        train_loss: mean over its steps, with smoothing and augmentation, nats.
        validation_loss, validation_top1: of the averaged weights on the validation images.
        seconds: wall time, validation included.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    validation_loss: float
    validation_top1: float
    seconds: float = field(compare=False)


@dataclass(frozen=True, slots=True)
class FitReport:
    """A finished training: its learning curve, and the validation accuracy of the returned weights."""

    curve: tuple[EpochReport, ...]

    @property
    def top1(self) -> float:
        """Validation accuracy after the last epoch, 0..1."""
        return self.curve[-1].validation_top1

    @property
    def seconds(self) -> float:
        """Wall time of all epochs."""
        return sum(report.seconds for report in self.curve)


def fit(  # noqa: PLR0913 - the training's facts, all named
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    distillation: Distillation | None = None,
    after_step: Callable[[nn.Module], None] | None = None,
) -> FitReport:
    """Train ``model`` in place on the training split; its weights end as their moving average.

    Args:
        model: (N, C, H, W) float32 -> logits (N, dataset.num_classes).
        dataset: ``train`` is learned from and ``validation`` watched; ``test`` is not read.
        recipe: the settings.
        seed: of batch order and augmentation; the initial weights are the caller's.
        device: where to compute; the model stays there.
        checkpoint: written after every epoch; if it exists, the training goes on from it.
        on_epoch: called after every epoch that is trained now, once its checkpoint is safe.
        distillation: a teacher whose soft labels count beside the true ones.
        after_step: changes the network after every step of the optimiser, and its moving average likewise: masks of
            pruned weights.
    Raises: TrainingDiverged, InvalidCheckpoint.
    """
    training = Training(
        model, dataset, recipe, seed=seed, device=device, distillation=distillation, after_step=after_step
    )
    advance(training, recipe.epochs, checkpoint, on_epoch)
    model.load_state_dict(training.final.state_dict())
    model.eval()
    return FitReport(tuple(training.curve))


class Training:
    """A training that advances epoch by epoch and can be saved after each.

    Attributes:
        curve: one report per finished epoch.
        final: the network to evaluate and deliver: averaged weights, or the model itself without averaging.
        begun: which network it began with, for checkpoints.
    """

    def __init__(  # noqa: PLR0913 - the training's facts, all named
        self,
        model: nn.Module,
        dataset: Dataset,
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        distillation: Distillation | None = None,
        after_step: Callable[[nn.Module], None] | None = None,
    ) -> None:
        self.device = torch.device(check_torch_device(device, "device"))
        self.begun = begun_network(model)
        self.distillation = None if distillation is None else distillation.fresh()
        self.after_step = after_step
        self.recipe, self.seed, self.dataset = recipe, seed, dataset
        self.curve: list[EpochReport] = []
        self._layout = torch.channels_last if self.device.type == "cuda" else torch.contiguous_format
        self.model = model.to(self.device).to(memory_format=self._layout)  # type: ignore[call-overload]
        self.average = WeightAverage(self.model, recipe.ema_decay) if recipe.ema_decay > 0 else None
        by_adamw = recipe.optimiser == "adamw" or (recipe.optimiser == "auto" and has_attention(self.model))
        self._share = ADAMW_SHARE if by_adamw else 1.0
        self.optimiser = (adamw if by_adamw else nesterov_sgd)(
            self.model,
            learning_rate=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        self._images, self._labels = to_tensors(dataset.train, self.device)
        self._validation = to_tensors(dataset.validation, self.device)
        self._normalise = Normaliser(dataset, self.device)
        self._let_teaching_learn()
        self._augment = choose_augment(
            recipe.augment,
            dataset.input_shape,
            attention=has_attention(self.model),
            strength=recipe.augment_strength,
        )
        self._loss = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        self._precision = Precision(self.device, mixed=recipe.mixed_precision)
        self._scaler = self._precision.scaler

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.curve)

    @property
    def final(self) -> nn.Module:
        """The network with the weights to deliver."""
        return self.model if self.average is None else self.average.model

    def train_epoch(self) -> EpochReport:
        """Train one epoch and validate; raises TrainingDiverged."""
        start = time.perf_counter()
        with seeded(self.seed, self.epoch, self.device) as generator:
            train_loss, learning_rate = self._pass(generator)
        result = self._validate()
        if not math.isfinite(result.loss):
            raise self._diverged(result.loss, "validation")
        seconds = time.perf_counter() - start
        self.curve.append(EpochReport(self.epoch + 1, learning_rate, train_loss, result.loss, result.top1, seconds))
        return self.curve[-1]

    def _validate(self) -> Evaluation:
        return evaluate(self.final, *self._validation, normalise=self._normalise)

    def _pass(self, generator: Generator) -> tuple[float, float]:
        """One pass over the training images in random order: mean loss, last learning rate."""
        size = min(self.recipe.batch_size, len(self._labels))
        steps = len(self._labels) // size
        order = torch.randperm(len(self._labels), generator=generator).to(self.device)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        self.model.train()
        learning_rate = 0.0
        for step in range(steps):
            learning_rate = self._set_learning_rate(self.epoch * steps + step, steps)
            total += self._step(order[step * size : (step + 1) * size], generator)
            if step % _CHECK_EVERY == 0 or step == steps - 1:
                self._check(float(total) / (step + 1))
        return float(total) / steps, learning_rate

    def _step(self, batch: Tensor, generator: Generator) -> Tensor:
        images, labels = self._batch(batch, generator)
        self.optimiser.zero_grad(set_to_none=True)
        with self._precision.autocast():
            with nullcontext() if self.distillation is None else self.distillation.watch(self.model):
                logits = self._forward(images.contiguous(memory_format=self._layout))
            loss: Tensor = self._loss(logits, labels)
            if self.distillation is not None:
                loss = self.distillation.loss(loss, logits, images)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self.optimiser)
        self._scaler.update()
        if self.after_step is not None:
            self.after_step(self.model)
        if self.average is not None:
            self.average.update_(self.model)
            if self.after_step is not None:
                self.after_step(self.average.model)
        return loss.detach()

    def _batch(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Augmented, normalised images and labels of a step."""
        return self._normalise(self._augment(self._images[batch], generator)), self._labels[batch]

    def _forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits

    def _let_teaching_learn(self) -> None:
        """Give the optimiser what the distillation itself learns, without decay."""
        if self.distillation is None:
            return
        images = self._normalise(self._images[:2])
        if learned := self.distillation.begin(self.model, images, self.seed):
            self.optimiser.add_param_group({"params": learned, "weight_decay": 0.0, "scale": 1.0})

    def estimate_epoch_seconds(self) -> float:
        """Wall time of an epoch from timing its second step; spoils the weights."""
        size = min(self.recipe.batch_size, len(self._labels))
        generator = Generator().manual_seed(0)
        self.model.train()
        for _ in range(2):
            start = time.perf_counter()
            float(self._step(torch.arange(size, device=self.device), generator))
            seconds = time.perf_counter() - start
        return seconds * (len(self._labels) // size)

    def _set_learning_rate(self, step: int, steps_per_epoch: int) -> float:
        return set_learning_rate(self.optimiser, self.recipe, step, steps_per_epoch, share=self._share)

    def _check(self, mean_loss: float) -> None:
        if not mean_loss <= _HOPELESS * math.log(self.dataset.num_classes):
            raise self._diverged(mean_loss, "training")

    def _diverged(self, loss: float, kind: str) -> TrainingDiverged:
        return TrainingDiverged(
            f"epoch {self.epoch + 1}: the {kind} loss is {loss:.3g}; "
            f"lower learning_rate (now {self.recipe.learning_rate:g}) or lengthen warmup_epochs"
        )

    def save(self, path: Path) -> None:
        """Write everything that the next epoch depends on."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": None if self.average is None else self.average.model.state_dict(),
            "updates": 0 if self.average is None else self.average.updates,
            "curve": [asdict(report) for report in self.curve],
        }
        if self.distillation is not None and (learned := self.distillation.state_dict()):
            state["distillation"] = learned
        save_checkpoint(path, state, self.identity())

    def load(self, path: Path) -> None:
        """Go back to a saved state; raises InvalidCheckpoint when it is another training's."""
        state = load_checkpoint(path, self.identity())
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
            self.average.updates = state["updates"]
        if self.distillation is not None and "distillation" in state:
            self.distillation.load_state_dict(state["distillation"])
        self.curve = [EpochReport(**report) for report in state["curve"]]

    def identity(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to fit."""
        return {
            **self.begun,
            "dataset": [self.dataset.name, len(self.dataset.train), list(self.dataset.mean)],
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "distillation": None if self.distillation is None else self.distillation.to_dict(),
        }
