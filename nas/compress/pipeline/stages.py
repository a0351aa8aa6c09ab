"""The stages of a compression up to quantisation, each from a network to a new one.

Every training goes on from its checkpoint; what lies between trainings is deterministic and is done again. So a
compression that was killed and called again ends in the same network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.compress.errors import CannotCompress
from nas.compress.graph import copied
from nas.compress.masks import Masks
from nas.compress.pipeline.recipe import Channels, Compression, Prune, settings_from
from nas.compress.pipeline.work import Work
from nas.train.distill import Distillation
from nas.train.evaluate import Normaliser, to_tensors
from nas.train.fit import fit
from nas.train.images import Dataset
from nas.train.recalibration import recalibrate_
from nas.train.recipe import Recipe

CALIBRATION_IMAGES = 1024
_BATCH = 128


@dataclass(frozen=True, slots=True, eq=False)
class Shaped:
    """A compressed network in floating point.

    Attributes:
        network: in evaluation mode.
        masks: of pruned weights, if there are any.
        steps: what was done, a sentence each.
    """

    network: nn.Module
    masks: Masks | None
    steps: tuple[str, ...]


def shaped(model: nn.Module, dataset: Dataset, recipe: Compression, work: Work) -> Shaped:
    """Run all stages before quantisation.

    Args:
        model: with the weights that the user has; not changed.
        dataset: its training images are learned from, its validation images are watched.
        recipe: what to do.
        work: where checkpoints lie and who is told.
    Raises: CannotCompress and its kinds, TrainingDiverged, InvalidCheckpoint.
    """
    stages = _Stages(dataset, recipe, work)
    network = copied(model).to(work.device)
    check_outputs(network, dataset)
    if recipe.train is not None:
        network = stages.trained(network, recipe.train, "train")
    stages.learn_from(network)
    changed = False
    if recipe.channels is not None:
        network, changed = stages.fewer_channels(network, recipe.channels), True
    if recipe.approximate is not None:
        network, changed = stages.approximated(network), True
    masks = None
    if recipe.prune is not None:
        network, masks = stages.pruned(network, recipe.prune)
    elif recipe.fine_tune is not None:
        network = stages.trained(network, recipe.fine_tune, "fine-tune")
    elif changed:
        recalibrate_(network, stages.batches())
        stages.steps.append("norms recalibrated")
    return Shaped(network.eval().cpu(), masks, tuple(stages.steps))


def check_outputs(network: nn.Module, dataset: Dataset) -> None:
    """Raises CannotCompress unless a network takes the images of a dataset and gives a logit for each class."""
    name, shape = type(network).__name__, "x".join(map(str, dataset.input_shape))
    training, device = network.training, next(network.parameters()).device
    try:
        with torch.no_grad():
            found = network.eval()(torch.zeros(2, *dataset.input_shape, device=device))
    except Exception as error:  # noqa: BLE001 - a user's module may raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise CannotCompress(f"{name}: does not take images of {shape} ({reason})") from None
    finally:
        network.train(training)
    given = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    if given != (2, dataset.num_classes):
        raise CannotCompress(
            f"{name}: gives {given} for two images, expected (2, {dataset.num_classes}), a logit for each class"
        )


class _Stages:
    """Stages with what they share: data, teacher, checkpoints."""

    def __init__(self, dataset: Dataset, recipe: Compression, work: Work) -> None:
        self.dataset, self.recipe, self.work = dataset, recipe, work
        self.steps: list[str] = []
        self.teacher: Distillation | None = None

    def learn_from(self, network: nn.Module) -> None:
        """Take the teacher of the recipe; "self" is the network as it is now."""
        settings = self.recipe.distil
        if settings is None:
            return
        if settings.teacher == "self":
            teacher, name = copied(network), digest_of(network)
        else:
            from nas.export.pretrained import from_pretrained

            teacher = from_pretrained(Path(settings.teacher))
            name = digest_of(teacher)
        frozen = teacher.to(self.work.device).eval().requires_grad_(False)
        check_outputs(frozen, self.dataset)
        self.teacher = Distillation(frozen, settings.weight, settings.temperature, name)
        self.steps.append(f"teacher: {settings.teacher}, weight {settings.weight:g}")

    def trained(self, network: nn.Module, settings: dict[str, Any], name: str) -> nn.Module:
        """A training of all weights."""
        recipe = Recipe.from_dict(settings)
        report = fit(
            network, self.dataset, recipe, seed=self.recipe.seed, device=self.work.device,
            checkpoint=self.work.checkpoint(name), on_epoch=self.work.teller(name, recipe.epochs),
            distillation=self.teacher,
        )  # fmt: skip
        self.steps.append(f"{name}: {recipe.epochs} epochs, validation top-1 {report.top1:.4f}")
        return network

    def fewer_channels(self, network: nn.Module, settings: Channels) -> nn.Module:
        """Channels explored or taken evenly, trained, and cut."""
        recipe = Recipe.from_dict(settings.train)
        if settings.method == "chex":
            from nas.compress.chex import ChexSettings, chex

            given = {**settings.settings, "macs": settings.macs}
            small = chex(
                network, self.dataset, recipe, settings=settings_from(ChexSettings, given, "channels.settings"),
                seed=self.recipe.seed, device=self.work.device, checkpoint=self.work.checkpoint("channels"),
                on_epoch=self.work.teller("channels", recipe.epochs), distillation=self.teacher,
            ).network  # fmt: skip
        else:
            from nas.compress.slimming import uniform_slimming

            small = uniform_slimming(
                network, self.dataset, recipe, macs=settings.macs, seed=self.recipe.seed, device=self.work.device,
                checkpoint=self.work.checkpoint("channels"), on_epoch=self.work.teller("channels", recipe.epochs),
                distillation=self.teacher,
            ).network  # fmt: skip
        before, after = (sum(p.numel() for p in each.parameters()) for each in (network, small))
        self.steps.append(f"channels by {settings.method}: {before:,} to {after:,} parameters, {recipe.epochs} epochs")
        return small

    def approximated(self, network: nn.Module) -> nn.Module:
        """Convolutions replaced by two cheaper ones, then norms recalibrated."""
        from nas.compress.approximate import ApproximateSettings, approximate

        settings = self.recipe.approximate
        assert settings is not None
        images = calibration_images(self.dataset, CALIBRATION_IMAGES, self.recipe.seed)
        result = approximate(
            network.cpu(), self.dataset.input_shape,
            settings=ApproximateSettings(macs=settings.macs, method=settings.method), images=images,
        )  # fmt: skip
        found = result.network.to(self.work.device)
        recalibrate_(found, self.batches())
        self.steps.append(f"{settings.method}: {len(result.choices)} convolutions replaced, norms recalibrated")
        return found

    def pruned(self, network: nn.Module, settings: Prune) -> tuple[nn.Module, Masks]:
        """Single weights set to 0 for good."""
        from nas.compress.gap import gap
        from nas.compress.magnitude import gradual_magnitude, one_shot_magnitude

        methods: dict[str, Callable[..., Any]] = {
            "gap": gap, "gradual": gradual_magnitude, "one-shot": one_shot_magnitude,
        }  # fmt: skip
        result = methods[settings.method](
            network, self.dataset, Recipe.from_dict(settings.train), settings=settings.method_settings(),
            seed=self.recipe.seed, device=self.work.device, checkpoint=self.work.checkpoint("prune"),
            on_epoch=self.work.teller("prune", None), distillation=self.teacher,
        )  # fmt: skip
        kept, total = result.masks.kept, result.masks.total
        self.steps.append(f"weights pruned by {settings.method}: {kept:,} of {total:,} remain")
        return result.network, result.masks

    def batches(self) -> list[Tensor]:
        """Normalised training images for the statistics of norms."""
        images = calibration_images(self.dataset, CALIBRATION_IMAGES, self.recipe.seed).to(self.work.device)
        batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
        return [batch for batch in batches if len(batch) > 1]


def calibration_images(dataset: Dataset, count: int, seed: int) -> Tensor:
    """Normalised training images without labels, drawn with a seed, (n, C, H, W) float32 on the CPU."""
    images, _ = to_tensors(dataset.train)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return Normaliser(dataset)(images[order[: min(count, len(images))]])


def digest_of(network: nn.Module) -> str:
    """Of all tensors and their names."""
    found = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        found.update(name.encode() + str(tuple(tensor.shape)).encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:20]


def same_start(model: nn.Module, dataset: Dataset, recipe: Compression) -> str:
    """Digest of all that the trainings of a compression depend on: what a folder of checkpoints belongs to."""
    trainings = recipe.model_copy(update={"quantise": None}).to_dict()
    facts = json.dumps([trainings, dataset.name, len(dataset.train), list(dataset.mean)], sort_keys=True)
    return hashlib.sha256((digest_of(model) + facts).encode()).hexdigest()[:12]
