"""Uniform slimming, the baseline of all channel pruning: every group keeps the same share, and is trained equally long.

Source: Liu et al. 2019, "Rethinking the Value of Network Pruning" (ICLR 2019, arXiv 1810.05270): a pruned network is to
be held against one of the same size that was trained from scratch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.compress.chex.allocation import Limits, rounded, uniform_counts
from nas.compress.chex.changes import choose_first
from nas.compress.chex.run import find_groups
from nas.compress.chex.settings import ChexSettings
from nas.compress.errors import CannotCompress
from nas.compress.groups import Coupling
from nas.compress.sliced_cost import SlicedCost
from nas.compress.slicing import sliced
from nas.train.distill import Distillation
from nas.train.fit import EpochReport, fit
from nas.train.images import Dataset
from nas.train.recipe import Recipe

STARTS = ("l1", "scratch")


@dataclass(frozen=True, slots=True, eq=False)
class SlimmingResult:
    """A trained network of uniformly fewer channels.

    Attributes:
        network: sliced, in evaluation mode; a new module.
        keep: by group, bool (units,): which units of the given network remain.
        curve: one report per epoch.
        macs_before, macs_after: multiply-accumulates for one image.
        params_before, params_after: trainable scalars.
    """

    network: nn.Module
    keep: Mapping[str, Tensor]
    curve: tuple[EpochReport, ...]
    macs_before: int
    macs_after: int
    params_before: int
    params_after: int

    @property
    def top1(self) -> float:
        """Validation accuracy after the last epoch, 0..1."""
        return self.curve[-1].validation_top1


def uniform_slimming(  # noqa: PLR0913 - the training's facts, all named
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    macs: float,
    seed: int,
    start: str = "l1",
    floor_units: int = 4,
    floor_share: float = 0.1,
    round_to: int = 4,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    distillation: Distillation | None = None,
) -> SlimmingResult:
    """Cut an equal share of every group and train what remains.

    Args:
        model: (N, C, H, W) float32 -> logits. It is copied, not changed.
        dataset: ``train`` is learned from and ``validation`` watched; ``test`` is not read.
        recipe: of the training after the cut.
        macs: budget, share of the whole network's multiply-accumulates.
        seed: of batch order, augmentation and new weights.
        start: "l1" keeps the largest filters with their weights, "scratch" gives all layers of PyTorch new ones.
        floor_units: every group keeps at least so many units.
        floor_share: and at least this share of them.
        round_to: units of each group are a multiple of this, or all.
        device: where to compute.
        checkpoint: written after every epoch; if it exists, the training goes on from it.
        on_epoch: called after every epoch that is trained now, once its checkpoint is safe.
        distillation: a teacher whose soft labels count beside the true ones.
    Raises: CannotCompress, BudgetUnreachable, Untraceable, TrainingDiverged, InvalidCheckpoint.
    """
    if start not in STARTS:
        raise CannotCompress(f"slimming: start={start!r}, expected one of {', '.join(STARTS)}")
    settings = ChexSettings(macs=macs, floor_units=floor_units, floor_share=floor_share, round_to=round_to)
    coupling = find_groups(model, dataset)
    cost = SlicedCost(model, coupling)
    keep = uniform_keep(model, coupling, settings, cost)
    network = sliced(model, coupling, keep)
    if start == "scratch":
        renew_(network, seed)
    report = fit(
        network,
        dataset,
        recipe,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
        distillation=distillation,
    )
    return SlimmingResult(
        network, keep, report.curve, cost.macs({}), cost.macs(keep), cost.params({}), cost.params(keep)
    )


def uniform_keep(model: nn.Module, coupling: Coupling, settings: ChexSettings, cost: SlicedCost) -> dict[str, Tensor]:
    """The units with the largest filters, an equal share of every group but for floors and rounding.

    Args:
        model: whose weights are compared.
        coupling: of it.
        settings: macs, floors and rounding.
        cost: of the sliced network.
    Raises: BudgetUnreachable.
    """
    limits = Limits.of(coupling, settings)
    budget = int((settings.macs or 1.0) * cost.macs({}))
    limits.check(cost.macs, budget, f"slimming: macs={settings.macs:g}")
    counts = rounded(uniform_counts(limits, cost.macs, budget), limits, cost.macs, budget)
    return choose_first(model.state_dict(), coupling, counts)


def renew_(model: nn.Module, seed: int) -> None:
    """Give every layer that knows how (``reset_parameters``) new random weights, in place.

    Args:
        model: of any size.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in model.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
