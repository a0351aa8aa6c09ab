"""The training of one process among several: its share of every batch, the gradients of all."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nas.train.distributed.norms import synchronise_norms
from nas.train.evaluate import Evaluation, evaluate
from nas.train.fit import Training
from nas.train.images import Dataset
from nas.train.recipe import Recipe

# Norms already agree, so nothing is to be sent before a step; PyTorch 2.13 renamed the switch.
_SWITCH = "forward_sync_buffers"
_KNOWN = _SWITCH in inspect.signature(DistributedDataParallel.__init__).parameters
_NO_BUFFERS: dict[str, Any] = {_SWITCH if _KNOWN else "broadcast_buffers": False}


class SharedTraining(Training):
    """A training in a process group; all processes hold the same weights at every step.

    Batch order and augmentation are drawn for the whole batch, as by one process, and each takes its part of it.
    Checkpoints are those of a training by one process.
    """

    def __init__(
        self, model: nn.Module, dataset: Dataset, recipe: Recipe, *, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        """Begin, once the process group has met.

        Args:
            model: the same in all processes.
            dataset: held by every process.
            recipe: its ``batch_size`` is that of all together, a multiple of their number.
            seed: of batch order and augmentation.
            device: of this process.
        """
        synchronise_norms(model, torch.device(device))
        super().__init__(model, dataset, recipe, seed=seed, device=device)
        self._rank, self._world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self._shared = DistributedDataParallel(self.model, **_NO_BUFFERS)

    def _batch(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        mine = slice(self._rank * len(batch) // self._world, (self._rank + 1) * len(batch) // self._world)
        images = self._augment(self._images[batch], generator)[mine]
        return self._normalise(images), self._labels[batch[mine]]

    def _forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self._shared(images)
        return logits

    def _step(self, batch: Tensor, generator: Generator) -> Tensor:
        """One step; the mean loss over all processes, so that all of them judge it alike."""
        loss = super()._step(batch, generator)
        torch.distributed.all_reduce(loss)
        return loss / self._world

    def _validate(self) -> Evaluation:
        """Each evaluates its share of the validation images; the result is that of all of them."""
        images, labels = (tensor[self._rank :: self._world] for tensor in self._validation)
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        if len(labels):
            found = evaluate(self.final, images, labels, normalise=self._normalise)
            sums += torch.tensor([found.top1 * found.n, found.loss * found.n, found.n], dtype=torch.float64).to(sums)
        torch.distributed.all_reduce(sums)
        hits, loss, n = sums.tolist()
        return Evaluation(round(hits) / round(n), loss / n, round(n))
