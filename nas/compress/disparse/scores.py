"""What each weight is worth to each task."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Generator, Tensor, nn

from nas.compress.disparse.settings import DisparseSettings
from nas.compress.disparse.tasks import JOINT, Ownership
from nas.compress.errors import CannotCompress
from nas.train.evaluate import Normaliser
from nas.train.multitask.tasks import MultitaskData, Task
from nas.train.multitask.training import batches, task_losses
from nas.train.seeding import seeded

Scores = dict[str, dict[str, Tensor]]  # task -> weight -> its shape, float64, on the CPU, all of a task summing to 1
_DRAW = -1  # randomness of the images that scores are taken on: an epoch that no training has


def losses_of(ownership: Ownership, losses: Mapping[str, Tensor], tasks: tuple[Task, ...]) -> dict[str, Tensor]:
    """The loss that stands for each task of an ownership: its own, not weighted; or the weighted sum for all in one."""
    if ownership.tasks == (JOINT,):
        return {JOINT: torch.stack([task.weight * losses[task.name] for task in tasks]).sum()}
    return dict(losses)


def task_scores(
    model: nn.Module,
    data: MultitaskData,
    ownership: Ownership,
    settings: DisparseSettings,
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> Scores:
    """Score every weight for every task that uses it.

    With g_b the gradient of the task's un-weighted loss on batch b: sum_b |g_b w| ("taylor"; for untrained weights the
    score of SNIP), (sum_b |g_b|) w^2 ("gradient_square") or |w| ("magnitude"); divided by the task's total.

    Args:
        model: scored with the weights it has; a copy is used, so that norms do not move.
        data: training images, without augmentation; norms use the statistics of the batch.
        ownership: the weights and their tasks.
        settings: criterion, number of batches and images.
        seed: of the choice of images.
        device: where to compute.
    Returns: task -> weight -> scores; higher is worth more.
    Raises: CannotCompress: scores of a task are not finite or all 0.
    Source: Sun et al. 2022, arXiv 2206.04662, section 3; Lee et al. 2019, SNIP, arXiv 1810.02340.
    Deviations: scores are those of the weights that are then trained, not of a re-initialised copy. Dividing by the
    total changes no ranking inside a task; it makes scores of tasks comparable in reports.
    """
    assert settings.criterion is not None
    device = torch.device(device)
    model = copy.deepcopy(model).to(device).train()
    weights = {name: p for name, p in model.named_parameters() if name in ownership.users}
    for weight in weights.values():
        weight.requires_grad_(True)
    if settings.criterion == "magnitude":
        values = {name: weight.detach().abs().double().cpu() for name, weight in weights.items()}
        return {task: _normalised(task, {n: values[n] for n in ownership.of(task)}) for task in ownership.tasks}
    sums = {t: {name: torch.zeros_like(weights[name]) for name in ownership.of(t)} for t in ownership.tasks}
    for losses in _batch_losses(model, data, settings, seed, device):
        for task, loss in losses_of(ownership, losses, data.tasks).items():
            for name, gradient in gradients(loss, {n: weights[n] for n in sums[task]}).items():
                sums[task][name] += gradient.abs()
    score = _CRITERIA[settings.criterion]
    return {
        task: _normalised(task, {n: score(s.double(), weights[n].detach().double()).cpu() for n, s in found.items()})
        for task, found in sums.items()
    }


def gradients(loss: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gradients of a loss by name, 0 where it does not reach; the graph stays for further losses."""
    if not loss.requires_grad:
        return {name: torch.zeros_like(weight) for name, weight in weights.items()}
    found = torch.autograd.grad(loss, list(weights.values()), retain_graph=True, allow_unused=True)
    return {
        name: torch.zeros_like(weight) if gradient is None else gradient
        for (name, weight), gradient in zip(weights.items(), found, strict=True)
    }


_CRITERIA: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "taylor": lambda gradient, weight: gradient * weight.abs(),
    "gradient_square": lambda gradient, weight: gradient * weight**2,
}


def _batch_losses(
    model: nn.Module, data: MultitaskData, settings: DisparseSettings, seed: int, device: torch.device
) -> Iterator[dict[str, Tensor]]:
    normalise = Normaliser(data.image_task, device)
    with seeded(seed, _DRAW, device) as generator:
        for images, targets in batches(data.train, _rows(len(data.train), settings, generator), device):
            yield task_losses(data.tasks, model(normalise(images)), targets)


def _rows(count: int, settings: DisparseSettings, generator: Generator) -> Iterator[Tensor]:
    """Rows of each batch: the images in random order, again and again."""
    size, order = min(settings.batch_size, count), torch.empty(0, dtype=torch.int64)
    for _ in range(settings.batches):
        if len(order) < size:
            order = torch.randperm(count, generator=generator)
        yield order[:size]
        order = order[size:]


def _normalised(task: str, scores: dict[str, Tensor]) -> dict[str, Tensor]:
    total = math.fsum(float(score.sum()) for score in scores.values())
    if not 0 < total < math.inf:
        raise CannotCompress(
            f"scores of {task!r} sum to {total}, expected a finite number above 0; check the loss, the labels of the "
            "training images and the weights"
        )
    return {name: score / total for name, score in scores.items()}
