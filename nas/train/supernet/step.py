"""One step of supernet training: several networks on the same images, their gradients summed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.train.distill import soft_loss
from nas.train.supernet.losses import rank_penalties
from nas.train.supernet.recipe import SupernetRecipe
from search_spaces.arch import Architecture
from search_spaces.supernet import Supernet

Autocast = Callable[[], AbstractContextManager[object]]


class Step:
    """Computes the gradients of a step; the caller owns the optimiser.

    Attributes:
        teacher: normalised images -> logits of the frozen largest network, for ``distillation: fixed``; None before.
    """

    def __init__(
        self,
        supernet: Supernet,
        recipe: SupernetRecipe,
        prior: Callable[[Architecture], float] | None,
        autocast: Autocast,
        scale: Callable[[Tensor], Tensor],
    ) -> None:
        """Bind.

        Args:
            supernet: in training mode.
            recipe: which losses.
            prior: of a network, higher should be better; None without one.
            autocast: mixed precision.
            scale: of losses before ``backward``, for mixed precision.
        """
        self.supernet, self.recipe, self.prior = supernet, recipe, prior
        self._autocast, self._scale = autocast, scale
        self.teacher: Callable[[Tensor], Tensor] | None = None

    def gradients(
        self, archs: Sequence[Architecture], images: Sequence[Tensor], labels: Tensor, prior_weight: float
    ) -> list[Tensor]:
        """Add the gradients of all networks to the shared tensors.

        Args:
            archs: the networks, the largest first where it teaches the others.
            images: of each network, (N, C, H, W) normalised; the same ones, perhaps at other sides.
            labels: (N,).
            prior_weight: of the rank penalty now.
        Returns: detached losses, scalars, of each network.
        """
        together = self.prior is not None and prior_weight > 0 and len(archs) > 1
        wanted: Tensor | None = None
        losses, hard = [], []
        for i, (arch, batch) in enumerate(zip(archs, images, strict=True)):
            with self._autocast():
                logits = self.supernet(batch, arch)
                true = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
                loss = self._loss(i, logits, true, batch, wanted)
            if i == 0:
                wanted = logits.detach()
            losses.append(loss)
            hard.append(true)
            if not together:
                self._scale(loss).backward()  # type: ignore[no-untyped-call]
                losses[i] = loss.detach()
                hard[i] = true.detach()
        if together:
            assert self.prior is not None
            penalty = rank_penalties(hard, [self.prior(arch) for arch in archs])
            self._scale(torch.stack(losses).sum() + prior_weight * penalty).backward()  # type: ignore[no-untyped-call]
        return [loss.detach() for loss in losses]

    def _loss(self, i: int, logits: Tensor, true: Tensor, images: Tensor, wanted: Tensor | None) -> Tensor:
        if self.recipe.distillation == "in-place" and wanted is not None and i > 0:
            return soft_loss(logits, wanted)
        if self.recipe.distillation == "fixed" and self.teacher is not None:
            with torch.no_grad():
                soft = self.teacher(images)
            return true + soft_loss(logits, soft)
        return true
