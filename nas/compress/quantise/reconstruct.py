"""Learn the rounding of a unit's weights and the steps of its activations, so that its outputs stay what they were.

Source: Lin et al. 2021, "UWC" (arXiv 2201.06376) for the units; Nagel et al. 2020, "AdaRound" (arXiv 2004.10568) for
the rounding; Esser et al. 2020, "LSQ" (arXiv 1902.08153) for the steps; Wei et al. 2022, "QDrop" (arXiv 2203.05740) for
the elements that stay unrounded in training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, fx

from nas.compress.quantise.caches import Caches
from nas.compress.quantise.draft import Draft, weight_node
from nas.compress.quantise.execution import run, with_sizes
from nas.compress.quantise.rounding import LearnedRounding, indecision
from nas.compress.quantise.settings import QuantiseSettings
from nas.compress.quantise.steps import LearnedStep
from nas.compress.quantise.units import Unit

_STEPS = 20_000  # that learning rates of the rounding are given for
_SHARPEST, _SOFTEST = 2.0, 20.0  # beta at the end and at the start


@dataclass(frozen=True, slots=True)
class UnitReport:
    """One unit.

    Attributes:
        unit: names of its layers.
        before: mean squared error of its outputs on the calibration images, rounded to nearest, inputs quantised.
        after: the same with what was learned.
    """

    unit: str
    before: float
    after: float


class UnitTraining:
    """A unit's parameters and its loss."""

    def __init__(
        self, draft: Draft, unit: Unit, settings: QuantiseSettings, weights: dict[fx.Node, Tensor] | None = None
    ) -> None:
        """Start from what the draft has.

        Args:
            draft: with codes and grids.
            unit: to train.
            settings: of the training.
            weights: of the elements of the unit's outputs, (N, ...); None for 1.
        """
        self._draft, self._unit, self._settings, self._weights = draft, unit, settings, weights
        self._nodes = with_sizes(unit.nodes)
        device = draft.device
        self.roundings = {
            node: LearnedRounding(draft.weight(node), draft.codes[node].scale.to(device), draft.codes[node].bits)
            for node in unit.layers
        }
        inside = set(unit.nodes)
        self._steps = {draft.group[n]: LearnedStep(draft.grids[draft.group[n]], device) for n in inside & draft.makers}
        self.steps = {at: step for at, step in self._steps.items() if draft.placement.grids[at][0][0] in inside}

    def train(self, caches: Caches, targets: dict[fx.Node, Tensor], generator: Generator) -> None:
        """All steps; then the draft holds what was learned."""
        settings, logits = self._settings, [rounding.logits.requires_grad_() for rounding in self.roundings.values()]
        steps = [step.log_step.requires_grad_() for step in self.steps.values()]
        total = settings.iterations * len(self._unit.layers)
        rate = settings.rounding_rate * math.sqrt(_STEPS / total)
        groups = [{"params": logits, "lr": rate}, {"params": steps, "lr": settings.step_rate}]
        optimiser = torch.optim.Adam([group for group in groups if group["params"]])
        count = len(next(iter(targets.values())))
        size = min(settings.batch_size, count)
        for iteration in range(total):
            if steps:
                optimiser.param_groups[-1]["lr"] = settings.step_rate * (1 + math.cos(math.pi * iteration / total)) / 2
            picked = torch.randperm(count, generator=generator)[:size].to(self._draft.device)
            loss = self._loss(caches, targets, picked, generator)
            progress = (iteration / total - settings.warm_up) / (1 - settings.warm_up)
            if progress >= 0:
                loss = loss + settings.penalty * self._indecision(progress)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
        self._draft.codes.update({node: rounding.codes() for node, rounding in self.roundings.items()})
        for at, step in self.steps.items():
            self._draft.grids[at] = step.grid()

    def _indecision(self, progress: float) -> Tensor:
        sharpness = _SHARPEST + (_SOFTEST - _SHARPEST) * (1 - progress)
        return torch.stack([indecision(each.share(), sharpness) for each in self.roundings.values()]).sum()

    def _loss(self, caches: Caches, targets: dict[fx.Node, Tensor], picked: Tensor, generator: Generator) -> Tensor:
        """Squared error of the outputs, summed over channels, mean over the rest."""
        entries = {
            node: self._mixed(caches.rounded[node][picked], caches.exact[node][picked], generator)
            for node in self._unit.entries
        }
        learned = {weight_node(node): each.soft(each.share()) for node, each in self.roundings.items()}
        exits = set(self._unit.exits)

        def after(node: fx.Node, value: Tensor) -> Tensor:
            if node not in self._draft.makers:
                return value
            keep = None if node in exits else self._kept(value, generator)
            return self._steps[self._draft.group[node]](value, keep)

        values = run(self._nodes, {**self._draft.tensors, **learned, **entries}, after)
        total = torch.zeros((), device=self._draft.device)
        for node, target in targets.items():
            error = (values[node] - target[picked]).square()
            error = error if self._weights is None else error * self._weights[node][picked]
            total = total + (error.sum(1).mean() if error.ndim > 1 else error.mean())
        return total

    def _mixed(self, rounded: Tensor, exact: Tensor, generator: Generator) -> Tensor:
        """Some elements of an entry as in the float network."""
        keep = self._kept(rounded, generator)
        return rounded if keep is None else torch.where(keep, rounded, exact)

    def _kept(self, like: Tensor, generator: Generator) -> Tensor | None:
        """Elements that are rounded; None for all. Eight draws of a share in 256ths from each random number."""
        if not self._settings.drop:
            return None
        draws = torch.empty(like.numel() // 8 + 1, dtype=torch.int64).random_(-(2**63), None, generator=generator)
        kept = draws.view(torch.uint8)[: like.numel()] >= round(256 * self._settings.drop)
        return kept.view(like.shape).to(like.device)


def error_of(
    unit: Unit, caches: Caches, targets: dict[fx.Node, Tensor], weights: dict[fx.Node, Tensor] | None
) -> float:
    """Mean squared error of a unit's quantised outputs on all calibration images."""
    found, errors = caches.quantised(unit), list[float]()
    for node, target in targets.items():
        error = (found[node] - target).square()
        errors.append(float((error if weights is None else error * weights[node]).mean()))
    return sum(errors) / len(errors)
