"""The training loop of several tasks: the weighted sum of their losses, one step at a time.

All randomness of epoch e comes from (seed, e) alone, so a training that was killed after any epoch and
resumed is, on the CPU with the same number of threads, equal bit for bit to one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from nas.train.advance import advance
from nas.train.begun_network import begun_network
from nas.train.checkpoint import load_checkpoint, save_checkpoint
from nas.train.distill import Distillation, InvalidDistillation
from nas.train.ema import WeightAverage
from nas.train.evaluate import Normaliser
from nas.train.fit import TrainingDiverged
from nas.train.multitask.optimiser_state import named_state, restore_state
from nas.train.multitask.recipe import MultitaskRecipe
from nas.train.multitask.tasks import MultitaskData, MultitaskSplit, Targets, Task
from nas.train.optimiser import ADAMW_SHARE, adamw, nesterov_sgd
from nas.train.schedule import set_learning_rate
from nas.train.seeding import seeded
from nas.train.torch_device import check_torch_device

_HOPELESS = 1e3
_EVALUATION_BATCH = 256


@dataclass(frozen=True, slots=True)
class MultitaskEpoch:
    """One epoch. Reports are equal when all but ``seconds`` is, bit for bit.

    Attributes:
        epoch: from 1.
        learning_rate: of its last step.
        losses: by task, not weighted, mean over its steps.
        scores: by task, of the averaged weights on the validation images; None when not looked at.
        seconds: wall time, validation included.
    """

    epoch: int
    learning_rate: float
    losses: dict[str, float]
    scores: dict[str, float] | None
    seconds: float = field(compare=False)


def fit_multitask(  # noqa: PLR0913 - the training's facts, all named
    model: nn.Module,
    data: MultitaskData,
    recipe: MultitaskRecipe,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_epoch: Callable[[MultitaskEpoch], None] | None = None,
    distillation: Mapping[str, Distillation] | None = None,
) -> tuple[MultitaskEpoch, ...]:
    """Train ``model`` in place for all tasks; its weights end as their moving average.

    Args:
        model: (N, C, H, W) float32 -> a mapping from task names to outputs.
        data: ``train`` is learned from and ``validation`` watched; ``test`` is not read.
        recipe: the settings.
        seed: of batch order and augmentation; the initial weights are the caller's.
        device: where to compute; the model stays there.
        checkpoint: written after every epoch; if it exists, the training goes on from it.
        on_epoch: called after every epoch that is trained now, once its checkpoint is safe.
        distillation: by task, a teacher whose soft labels count beside the true ones.
    Returns: one report per epoch.
    Raises: TrainingDiverged, InvalidCheckpoint, InvalidDistillation.
    """
    training = MultitaskTraining(model, data, recipe, seed=seed, device=device, distillation=distillation)
    advance(training, recipe.epochs, checkpoint, on_epoch)
    model.load_state_dict(training.final.state_dict())
    model.eval()
    return tuple(training.curve)


class MultitaskTraining:
    """A training that advances epoch by epoch and can be saved after each.

    Subclasses may look at the losses before and the gradients after the backward pass, and change the weights after
    each step: ``on_losses``, ``on_gradients``, ``on_step``.

    Attributes:
        curve: one report per finished epoch.
        final: the network to evaluate and deliver: averaged weights, or the model itself without averaging.
    """

    def __init__(
        self,
        model: nn.Module,
        data: MultitaskData,
        recipe: MultitaskRecipe,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        distillation: Mapping[str, Distillation] | None = None,
    ) -> None:
        self.device = torch.device(check_torch_device(device, "device"))
        self._begun = begun_network(model)
        self.recipe, self.seed, self.data = recipe, seed, data
        self.distillation = dict(distillation or {})
        if unknown := set(self.distillation) - {task.name for task in data.tasks}:
            raise InvalidDistillation(f"distillation: no task {sorted(unknown)[0]!r} in {data.name}")
        for name, teacher in self.distillation.items():
            if getattr(teacher, "attention", False):
                raise InvalidDistillation(
                    f"distillation of {name!r}: learnt weights of checkpoints need one task; give attention=False"
                )
        self.curve: list[MultitaskEpoch] = []
        self.model = model.to(self.device)
        self.average = WeightAverage(self.model, recipe.ema_decay) if recipe.ema_decay > 0 else None
        by_adamw = recipe.optimiser == "adamw"
        self._share = ADAMW_SHARE if by_adamw else 1.0
        self.optimiser = (adamw if by_adamw else nesterov_sgd)(
            self.model,
            learning_rate=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        self.normalise = Normaliser(data.image_task, self.device)

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.curve)

    @property
    def final(self) -> nn.Module:
        """The network with the weights to deliver."""
        return self.model if self.average is None else self.average.model

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the optimiser in each epoch."""
        return len(self.data.train) // min(self.recipe.batch_size, len(self.data.train))

    def on_losses(self, losses: dict[str, Tensor], step: int) -> None:
        """Before the backward pass: losses by task, not weighted; ``step`` counts from 0 over all epochs."""

    def on_gradients(self) -> None:
        """After the backward pass, before clipping."""

    def on_step(self, step: int) -> None:
        """After the optimiser's step and the average's."""

    def train_epoch(self) -> MultitaskEpoch:
        """Train one epoch, and look at the validation images when it is time; raises TrainingDiverged."""
        start = time.perf_counter()
        with seeded(self.seed, self.epoch, self.device) as generator:
            losses, learning_rate = self._pass(generator)
        epoch = self.epoch + 1
        look = epoch % self.recipe.evaluate_every == 0 or epoch == self.recipe.epochs
        scores = evaluate_tasks(self.final, self.data, self.data.validation, self.device) if look else None
        self.curve.append(MultitaskEpoch(epoch, learning_rate, losses, scores, time.perf_counter() - start))
        return self.curve[-1]

    def _pass(self, generator: Generator) -> tuple[dict[str, float], float]:
        """One pass over the training images in random order: mean losses, last learning rate."""
        split, steps = self.data.train, self.steps_per_epoch
        size = min(self.recipe.batch_size, len(split))
        order = torch.randperm(len(split), generator=generator)
        total = dict.fromkeys((task.name for task in self.data.tasks), 0.0)
        self.model.train()
        learning_rate = 0.0
        for i in range(steps):
            step = self.epoch * steps + i
            learning_rate = set_learning_rate(self.optimiser, self.recipe, step, steps, share=self._share)
            for name, loss in self._step(order[i * size : (i + 1) * size], generator, step).items():
                total[name] += loss
            if not sum(total.values()) / (i + 1) <= _HOPELESS:
                raise TrainingDiverged(
                    f"epoch {self.epoch + 1}: the training losses are {total}; lower learning_rate (now "
                    f"{self.recipe.learning_rate:g}) or lengthen warmup_epochs"
                )
        return {name: value / steps for name, value in total.items()}, learning_rate

    def _step(self, batch: Tensor, generator: Generator, step: int) -> dict[str, float]:
        raw, targets = self.data.train.images[batch], _pick(self.data.train, batch)
        if self.data.augment is not None:
            raw, targets = self.data.augment(raw, targets, generator)
        images = self.normalise(raw.to(self.device))
        self.optimiser.zero_grad(set_to_none=True)
        outputs = self.model(images)
        losses = task_losses(self.data.tasks, outputs, _placed(targets, self.device))
        self.on_losses(losses, step)
        self.objective(losses, outputs, images).backward()  # type: ignore[no-untyped-call]
        self.on_gradients()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimiser.step()
        if self.average is not None:
            self.average.update_(self.model)
        self.on_step(step)
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def objective(self, losses: Mapping[str, Tensor], outputs: Mapping[str, Any], images: Tensor) -> Tensor:
        """What is minimised: the weighted sum of the tasks' losses, each with its teacher's share."""
        total = images.new_zeros(())
        for task in self.data.tasks:
            loss = losses[task.name]
            if task.name in self.distillation:
                output = outputs[task.name]
                if not isinstance(output, Tensor):
                    raise InvalidDistillation(
                        f"distillation of {task.name!r}: the output is {type(output).__name__}, expected a tensor of "
                        "logits (N, classes, ...); leave this task out"
                    )
                loss = self.distillation[task.name].loss(loss, output, images)
            total = total + task.weight * loss
        return total

    def save(self, path: Path) -> None:
        """Write everything that the next epoch depends on."""
        save_checkpoint(path, self._state(), self._identity())

    def load(self, path: Path) -> None:
        """Go back to a saved state; raises InvalidCheckpoint when it is another training's."""
        self._restore(load_checkpoint(path, self._identity()))

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimiser": named_state(self.optimiser, self.model),
            "average": None if self.average is None else self.average.model.state_dict(),
            "updates": 0 if self.average is None else self.average.updates,
            "curve": [asdict(report) for report in self.curve],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        restore_state(self.optimiser, self.model, state["optimiser"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
            self.average.updates = state["updates"]
        self.curve = [MultitaskEpoch(**report) for report in state["curve"]]

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to fit."""
        return {
            **self._begun,
            "dataset": [self.data.name, len(self.data.train), list(self.data.image_task.mean)],
            "tasks": [[task.name, task.weight] for task in self.data.tasks],
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "distillation": {name: teacher.to_dict() for name, teacher in self.distillation.items()},
        }


def task_losses(tasks: tuple[Task, ...], outputs: Any, targets: Mapping[str, Targets]) -> dict[str, Tensor]:
    """The losses of all tasks on one batch, not weighted.

    Raises: ValueError: the network does not return a mapping with an output for each task.
    """
    for task in tasks:
        if not isinstance(outputs, Mapping) or task.name not in outputs:
            got = ", ".join(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
            raise ValueError(f"task {task.name!r}: the network returns {got}, expected a mapping with this key")
    return {task.name: task.loss(outputs[task.name], targets[task.name]) for task in tasks}


def batches(
    split: MultitaskSplit, rows: Iterator[Tensor], device: torch.device
) -> Iterator[tuple[Tensor, dict[str, Targets]]]:
    """Raw images and targets of the given rows, on a device."""
    for batch in rows:
        yield split.images[batch].to(device), _placed(_pick(split, batch), device)


def evaluate_tasks(
    model: nn.Module, data: MultitaskData, split: MultitaskSplit, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Score of every task on a split, 0..1, in evaluation mode; the model's mode is put back."""
    device, training = torch.device(device), model.training
    normalise, meters = Normaliser(data.image_task, device), {task.name: task.meter() for task in data.tasks}
    model.eval()
    with torch.inference_mode():
        rows = iter(torch.split(torch.arange(len(split)), _EVALUATION_BATCH))
        for images, targets in batches(split, rows, device):
            outputs = model(normalise(images))
            for name, meter in meters.items():
                meter.add(outputs[name], targets[name])
    model.train(training)
    scores = {name: meter.value() for name, meter in meters.items()}
    assert all(math.isfinite(score) for score in scores.values())
    return scores


def _pick(split: MultitaskSplit, batch: Tensor) -> dict[str, Targets]:
    return {name: tuple(part[batch] for part in parts) for name, parts in split.targets.items()}


def _placed(targets: Mapping[str, Targets], device: torch.device) -> dict[str, Targets]:
    return {name: tuple(part.to(device) for part in parts) for name, parts in targets.items()}
