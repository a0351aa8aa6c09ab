"""The training of a supernet, epoch by epoch, resumable after each.

All randomness of epoch e comes from (seed, e) alone: batch order, augmentation, networks, sides of images. So a
training that was killed after any epoch and goes on is, on the CPU with the same number of threads, equal bit for bit
to one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from nas.train.advance import advance
from nas.train.augment import choose_augment
from nas.train.checkpoint import load_checkpoint, save_checkpoint
from nas.train.evaluate import Normaliser, to_tensors
from nas.train.fit import TrainingDiverged
from nas.train.images import Dataset
from nas.train.optimiser import ADAMW_SHARE
from nas.train.precision import Precision
from nas.train.schedule import set_learning_rate
from nas.train.seeding import seeded
from nas.train.supernet.judge import Judge, SubnetScore
from nas.train.supernet.optimiser import has_attention, make_optimiser
from nas.train.supernet.prior import prior_of
from nas.train.supernet.recipe import SupernetRecipe
from nas.train.supernet.samplers import StepSampler
from nas.train.supernet.step import Step
from nas.train.torch_device import check_torch_device
from search_spaces.arch import Architecture
from search_spaces.supernet import Supernet

_HOPELESS = 20.0  # a mean loss above this many times that of guessing does not come back
_COLLAPSED = 0.98  # of the loss of guessing: a largest network that was better and comes back to it is lost
_CALIBRATION = 512  # training images for the statistics of a validation
_VALIDATION = 1024  # validation images looked at after an epoch
_MEMBERS = 2  # fixed random networks that are validated beside the largest and the smallest


@dataclass(frozen=True, slots=True)
class SupernetEpoch:
    """One epoch. Reports are equal when all but ``seconds`` is, bit for bit.

    Attributes:
        epoch: from 1.
        learning_rate: of its last step.
        largest_loss: mean training loss of the first network of its steps (the largest, where there is one), nats.
        others_loss: of the others, soft labels included; None without others.
        largest_top1, smallest_top1: on validation images with statistics of their own.
        members_top1: of a few random networks, the same in every epoch.
        networks: trained in the epoch, with repetitions.
        seconds: wall time, validation included.
    """

    epoch: int
    learning_rate: float
    largest_loss: float
    others_loss: float | None
    largest_top1: float
    smallest_top1: float
    members_top1: tuple[float, ...]
    networks: int
    seconds: float = field(compare=False)


Reduce = Callable[[Sequence[Tensor]], None]


@dataclass(frozen=True, slots=True)
class Share:
    """The part of every batch that this process computes, and how gradients are averaged over processes."""

    rank: int = 0
    world: int = 1
    reduce: Reduce | None = None


class SupernetTraining:
    """Advances epoch by epoch and can be saved after each.

    Attributes:
        curve: one report per finished epoch.
    """

    def __init__(
        self,
        supernet: Supernet,
        dataset: Dataset,
        recipe: SupernetRecipe,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        share: Share | None = None,
    ) -> None:
        self.device = torch.device(check_torch_device(device, "device"))
        self.supernet = supernet.to(self.device)
        self.dataset, self.recipe, self.seed = dataset, recipe, seed
        self.share = share or Share()
        self.curve: list[SupernetEpoch] = []
        self.sampler = StepSampler(supernet.space, recipe, seed=seed)
        attention = has_attention(supernet)
        self._rate_share = ADAMW_SHARE if attention else 1.0
        self.optimiser = make_optimiser(supernet, recipe)
        self._images, self._labels = to_tensors(dataset.train, self.device)
        self._normalise = Normaliser(dataset, self.device)
        self._augment = choose_augment(recipe.augment, dataset.input_shape, attention=attention)
        precision = Precision(self.device, mixed=recipe.mixed_precision)
        self._scaler = precision.scaler
        prior = prior_of(recipe.prior, dataset.input_shape, dataset.num_classes)
        self._step = Step(supernet, recipe, prior, precision.autocast, self._scaler.scale)
        self._teacher_state: dict[str, Tensor] | None = None
        self._watched = self._watched_networks()
        if recipe.zero_last:
            supernet.reset_parameters(seed, zero_last=True)

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.curve)

    def train_epoch(self) -> SupernetEpoch:
        """Train one epoch and validate; raises TrainingDiverged."""
        start = time.perf_counter()
        if self.sampler.opening.widths_begin(self.epoch):
            from nas.train.supernet.shrinking import sort_hidden_channels_

            sort_hidden_channels_(self.supernet, self.optimiser)
        if self.recipe.distillation == "fixed" and self.epoch == self.recipe.teacher_epochs:
            self._keep_teacher({name: value.clone() for name, value in self.supernet.state_dict().items()})
        with seeded(self.seed, self.epoch, self.device) as generator:
            largest_loss, others_loss, networks, rate = self._pass(generator)
        tops = self._validated()
        found = SupernetEpoch(
            self.epoch + 1,
            rate,
            largest_loss,
            others_loss,
            tops[0],
            tops[1],
            tuple(tops[2:]),
            networks,
            time.perf_counter() - start,
        )
        self._check_collapse(found)
        self.curve.append(found)
        return found

    def _pass(self, generator: Generator) -> tuple[float, float | None, int, float]:
        """One pass over the training images: mean losses of first and other networks, networks, last learning rate."""
        size = min(self.recipe.batch_size, len(self._labels))
        steps = len(self._labels) // size
        order = torch.randperm(len(self._labels), generator=generator).to(self.device)
        sides = np.random.default_rng((self.seed, 0x51DE, self.epoch))
        totals = torch.zeros(2, dtype=torch.float64, device=self.device)
        self.supernet.train()
        rate, networks, others = 0.0, 0, 0
        for step, archs in enumerate(self.sampler.steps(self.epoch, steps)):
            rate = self._set_learning_rate(self.epoch * steps + step, steps)
            losses = self._update(archs, order[step * size : (step + 1) * size], generator, sides)
            totals[0] += losses[0]
            totals[1] += sum(losses[1:], torch.zeros((), device=self.device))
            networks, others = networks + len(archs), others + len(archs) - 1
            if step % 50 == 0 or step == steps - 1:
                self._check(float(totals[0]) / (step + 1))
        return float(totals[0]) / steps, float(totals[1]) / others if others else None, networks, rate

    def _update(
        self, archs: Sequence[Architecture], batch: Tensor, generator: Generator, sides: np.random.Generator
    ) -> list[Tensor]:
        images = self._normalise(self._augment(self._images[batch], generator))
        labels = self._labels[batch]
        part = slice(self.share.rank, None, self.share.world)
        images, labels = images[part], labels[part]
        self.optimiser.zero_grad(set_to_none=True)
        losses = self._step.gradients(archs, self._resized(images, archs, sides), labels, self._prior_weight())
        parameters = [p for p in self.supernet.parameters() if p.grad is not None]
        if self.share.reduce is not None:  # before unscaling, so that all agree on an overflow
            self.share.reduce([*(p.grad for p in parameters if p.grad is not None), *losses])
        self._scaler.unscale_(self.optimiser)
        if self.recipe.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm)
        self._scaler.step(self.optimiser)
        self._scaler.update()
        return losses

    def _resized(self, images: Tensor, archs: Sequence[Architecture], rng: np.random.Generator) -> list[Tensor]:
        """The images for each network: at the largest side for the largest, the smallest for the smallest, else any."""
        known = sorted(self.recipe.resolutions)
        if not known:
            return [images] * len(archs)
        drawn = [int(known[rng.integers(len(known))]) for _ in archs]
        for i, arch in enumerate(archs):
            if arch == self.sampler.largest:
                drawn[i] = known[-1]
            elif arch == self.sampler.smallest:
                drawn[i] = known[0]
        return [_at_side(images, side) for side in drawn]

    def _prior_weight(self) -> float:
        """Rises from 0 over the first third of the training."""
        if self.recipe.prior == "none":
            return 0.0
        return self.recipe.prior_weight * min(1.0, 3 * self.epoch / self.recipe.epochs)

    def _watched_networks(self) -> tuple[Architecture, ...]:
        """Largest, smallest and a few random networks; the same for the same seed."""
        rng = np.random.default_rng((self.seed, 0x3A7C))
        members = (self.supernet.space.sample(rng) for _ in range(_MEMBERS))
        return (self.sampler.largest, self.sampler.smallest, *members)

    def _validated(self) -> list[float]:
        """Share of validation images that each watched network gets right, with statistics of its own."""
        chosen = np.random.default_rng((self.seed, 0xCA1)).permutation(len(self._labels))[:_CALIBRATION]
        calibration = self._normalise(self._images[torch.from_numpy(chosen).to(self.device)])
        images, labels = to_tensors(self.dataset.validation, self.device)
        images, labels = self._normalise(images[:_VALIDATION]), labels[:_VALIDATION]
        judge = Judge(self.supernet, [calibration], [images], "recalibrated")
        return [SubnetScore.of(arch, judge.logits(arch), [labels]).top1 for arch in self._watched]

    def _set_learning_rate(self, step: int, steps_per_epoch: int) -> float:
        return set_learning_rate(self.optimiser, self.recipe, step, steps_per_epoch, share=self._rate_share)

    def _check(self, mean_loss: float) -> None:
        if not mean_loss <= _HOPELESS * math.log(self.dataset.num_classes):
            raise self._diverged(f"the loss is {mean_loss:.3g}")

    def _check_collapse(self, found: SupernetEpoch) -> None:
        """Raise TrainingDiverged when the largest network was good and is as good as guessing again."""
        guess = math.log(self.dataset.num_classes)
        best = min((report.largest_loss for report in self.curve), default=math.inf)
        if best < 0.8 * guess and not found.largest_loss < _COLLAPSED * guess:
            raise self._diverged(f"the loss of the largest network was {best:.3g} and is {found.largest_loss:.3g}")

    def _diverged(self, what: str) -> TrainingDiverged:
        return TrainingDiverged(
            f"supernet, epoch {self.epoch + 1}: {what}; lower learning_rate (now {self.recipe.learning_rate:g}), "
            "lengthen warmup_epochs or lower clip_norm"
        )

    def _keep_teacher(self, state: dict[str, Tensor]) -> None:
        """Freeze the largest network as it is now."""
        self._teacher_state = state
        twin = Supernet(
            self.supernet.space,
            num_classes=self.supernet.num_classes,
            in_channels=self.supernet.in_channels,
            sharing=self.supernet.sharing,
            capacity=self.supernet.capacity,
        ).to(self.device)
        twin.load_state_dict(state)
        twin.eval()
        self._step.teacher = lambda images: twin(images, self.sampler.largest)

    def save(self, path: Path) -> None:
        """Write everything that the next epoch depends on."""
        state = {
            "supernet": self.supernet.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "teacher": self._teacher_state,
            "curve": [asdict(report) for report in self.curve],
        }
        save_checkpoint(path, state, self._identity())

    def load(self, path: Path) -> None:
        """Go back to a saved state; raises InvalidCheckpoint when it is another supernet's or training's."""
        state = load_checkpoint(path, self._identity())
        self.supernet.load_state_dict(state["supernet"])
        self.optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])
        if state["teacher"] is not None:
            self._keep_teacher(state["teacher"])
        self.curve = [SupernetEpoch(**{**row, "members_top1": tuple(row["members_top1"])}) for row in state["curve"]]

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to fit."""
        return {
            "space": self.supernet.space.name,
            "supernet": self.supernet.digest,
            "dataset": [self.dataset.name, len(self.dataset.train), list(self.dataset.mean)],
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
        }


def train_supernet(  # noqa: PLR0913 - the training's facts, all named
    supernet: Supernet,
    dataset: Dataset,
    recipe: SupernetRecipe,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_epoch: Callable[[SupernetEpoch], None] | None = None,
) -> tuple[SupernetEpoch, ...]:
    """Train a supernet in place on the training split.

    Args:
        supernet: with its first weights.
        dataset: ``train`` is learned from and ``validation`` watched; ``test`` is not read.
        recipe: the settings.
        seed: of everything random but the first weights.
        device: where to compute; the supernet stays there.
        checkpoint: written after every epoch; if it exists, the training goes on from it.
        on_epoch: called after every epoch that is trained now, once its checkpoint is safe.
    Returns: one report per epoch.
    Raises: TrainingDiverged, InvalidCheckpoint.
    """
    training = SupernetTraining(supernet, dataset, recipe, seed=seed, device=device)
    advance(training, recipe.epochs, checkpoint, on_epoch)
    supernet.eval()
    return tuple(training.curve)


def _at_side(images: Tensor, side: int) -> Tensor:
    if images.shape[-1] == side == images.shape[-2]:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
