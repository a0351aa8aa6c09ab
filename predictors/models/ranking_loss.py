"""Training of several small networks at once on pairs: scores that put labels in order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from predictors.regressor import Floats

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 128  # rows whose pairs are compared at a time, at most
LEAST_BATCH = 16
STEPS = 4  # an epoch, at least, where batches do not become too small for it
WARM_UP = 0.1  # share of the steps in which the learning rate rises


@dataclass(frozen=True)
class Recipe:
    """How the networks are trained.

    Attributes:
        hidden: widths of the hidden layers.
        epochs: passes over the rows, at most.
        patience: passes without a better order of the rows held out.
        learning_rate, weight_decay: of Adam with decoupled decay; the rate falls as a cosine.
        sharpness: factor on differences of scores before the tanh.
        seed: of weights and batches.
    """

    hidden: tuple[int, ...]
    epochs: int
    patience: int
    learning_rate: float
    weight_decay: float
    sharpness: float
    seed: int


@dataclass(frozen=True)
class Layers:
    """Trained networks, all of one shape.

    Attributes:
        matrices: of each layer (networks, inputs, outputs).
        offsets: of each layer (networks, 1, outputs).
    """

    matrices: list[Floats]
    offsets: list[Floats]

    def scores(self, rows: Floats) -> Floats:
        """(networks, n) of (n, d) rows."""
        values: Any = rows
        for matrix, offset in zip(self.matrices[:-1], self.offsets[:-1], strict=True):
            values = values @ matrix + offset
            values *= expit(values)  # SiLU
        found: Floats = (values @ self.matrices[-1] + self.offsets[-1])[:, :, 0]
        return found


def soft_kendall(scores: Tensor, labels: Tensor, weights: Tensor, sharpness: float) -> Tensor:
    """1 - a smooth Kendall's tau, of each network.

    Args:
        scores: (networks, batch).
        labels: (networks, batch) of standard deviation about 1.
        weights: (networks, batch) at least 0.
        sharpness: differences of scores are multiplied with it before the tanh.
    Returns: (networks,) 0 to 2, lower is better.
    Source: the tanh of differences in place of the sign, as competitors of the CVPR 2022 NAS challenge, track 2, did.
        Deviations: a pair weighs as much as the tanh of the difference of its labels, so that noise between equals
        does not count.
    """
    import torch

    apart = torch.tanh(sharpness * (scores[:, :, None] - scores[:, None, :]))
    wanted = torch.tanh(2 * (labels[:, :, None] - labels[:, None, :]))
    heavy = weights[:, :, None] * weights[:, None, :]
    found: Tensor = 1 - (apart * wanted * heavy).sum((1, 2)) / (wanted.abs() * heavy).sum((1, 2)).clamp_min(1e-9)
    return found


def train(rows: Floats, labels: Floats, weights: Floats, held_out: NDArray[np.intp], recipe: Recipe) -> Layers:
    """One network for each part that is held out; each is kept as it was when it ordered that part best.

    Args:
        rows: (n, d) scaled features.
        labels: (n,) of standard deviation 1.
        weights: (n,) above 0.
        held_out: (n,) number of the part of each row, from 0 on; one network a part.
        recipe: how.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            return _trained(rows, labels, weights, held_out, recipe)
    finally:
        torch.set_num_threads(threads)


def _trained(rows: Floats, labels: Floats, weights: Floats, held_out: NDArray[np.intp], recipe: Recipe) -> Layers:
    import torch

    count = int(held_out.max()) + 1
    parameters = _start(rows.shape[1], recipe.hidden, count)
    inputs, targets, heavy = (torch.tensor(array, dtype=torch.float32) for array in (rows, labels, weights))
    seen = [np.flatnonzero(held_out != k) for k in range(count)]
    length = min(len(part) for part in seen)
    batch = min(length, max(LEAST_BATCH, min(BATCH, length // STEPS)))
    steps = length // batch
    optimiser = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    total = steps * recipe.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, total))
    rng = np.random.default_rng(recipe.seed)
    kept = _Best(held_out, labels, count)
    for _ in range(recipe.epochs):
        order = np.stack([rng.permutation(part)[: steps * batch] for part in seen])
        for at in range(0, steps * batch, batch):
            chosen = torch.from_numpy(order[:, at : at + batch])
            scores = _forward(parameters, inputs[chosen])
            loss = soft_kendall(scores, targets[chosen], heavy[chosen], recipe.sharpness)
            optimiser.zero_grad()
            loss.sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        now = _layers(parameters)
        if kept.update(now, now.scores(rows)) >= recipe.patience:
            break
    return kept.layers()


def _rate(step: int, total: int) -> float:
    """Factor on the learning rate: up along a line, down along a cosine."""
    rising = max(1.0, WARM_UP * total)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + float(np.cos(np.pi * (step - rising) / max(total - rising, 1.0))))


def _start(inputs: int, hidden: tuple[int, ...], count: int) -> list[Tensor]:
    """Matrices and offsets, in turn, of all layers."""
    import torch

    widths = (inputs, *hidden, 1)
    found = []
    for into, out in pairwise(widths):
        found.append(torch.randn(count, into, out) / max(into, 1) ** 0.5)
        found.append(torch.zeros(count, 1, out))
    return [tensor.requires_grad_() for tensor in found]


def _forward(parameters: list[Tensor], rows: Tensor) -> Tensor:
    """(networks, batch) scores of (networks, batch, d) rows."""
    import torch

    values = rows
    for at in range(0, len(parameters) - 2, 2):
        values = torch.nn.functional.silu(torch.baddbmm(parameters[at + 1], values, parameters[at]))
    return torch.baddbmm(parameters[-1], values, parameters[-2])[:, :, 0]


def _layers(parameters: list[Tensor]) -> Layers:
    arrays = [tensor.detach().numpy().astype(np.float64) for tensor in parameters]
    return Layers(arrays[::2], arrays[1::2])


class _Best:
    """Of each network the weights with which it ordered its held-out part best."""

    def __init__(self, held_out: NDArray[np.intp], labels: Floats, count: int) -> None:
        self._parts = [np.flatnonzero(held_out == k) for k in range(count)]
        self._labels = labels
        self._tau = np.full(count, -np.inf)
        self._layers: list[Layers | None] = [None] * count
        self._since = 0

    def update(self, layers: Layers, scores: Floats) -> int:
        """Look at the weights after another epoch; how many epochs ago the last network became better."""
        from scipy.stats import kendalltau

        self._since += 1
        for k, part in enumerate(self._parts):
            tau = float(kendalltau(scores[k, part], self._labels[part]).statistic) if len(part) > 1 else np.nan
            if self._layers[k] is None or tau > self._tau[k]:
                self._since = 0
                self._tau[k] = tau if np.isfinite(tau) else -1.0
                self._layers[k] = layers
        return self._since

    def layers(self) -> Layers:
        """Of each network its best."""
        best = [layers for layers in self._layers if layers is not None]
        depth = range(len(best[0].matrices))
        return Layers(
            [np.stack([layers.matrices[at][k] for k, layers in enumerate(best)]) for at in depth],
            [np.stack([layers.offsets[at][k] for k, layers in enumerate(best)]) for at in depth],
        )
