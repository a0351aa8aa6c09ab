"""What a pruned training gives back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from nas.compress.disparse.overlap import Overlap
from nas.compress.disparse.tasks import Ownership
from nas.compress.masks import Masks
from nas.train.multitask.training import MultitaskEpoch


@dataclass(frozen=True, slots=True, eq=False)
class DisparseResult:
    """A trained sparse network.

    Attributes:
        network: a copy of the given one, trained, zero where ``masks`` say so, in evaluation mode.
        masks: of all pruned weights.
        overlap: of what the tasks want of the shared weights; None for baselines, which do not tell them apart. In
            mode "dynamic": of all weights that a change of the masks grew for a task.
        ownership: which tasks each pruned weight serves.
        keep_ratio: rho, the share of its own weights that each task keeps; None for random first masks.
        empty: weight tensors of which nothing remains: nothing passes through these layers.
        curve: one report per epoch.
    """

    network: nn.Module
    masks: Masks
    overlap: Overlap | None
    ownership: Ownership
    keep_ratio: float | None
    empty: tuple[str, ...]
    curve: tuple[MultitaskEpoch, ...]
