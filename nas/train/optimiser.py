"""The optimiser that all trainings use."""

from __future__ import annotations

import torch
from torch import nn

_FEATURES = 128  # a linear layer that reads more takes smaller steps


def nesterov_sgd(model: nn.Module, *, learning_rate: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """Nesterov's SGD: no decay of norms and biases, smaller steps for wide classifiers."""
    scales = {p: _step_scale(m) for m in model.modules() if isinstance(m, nn.Linear) for p in m.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        decay = weight_decay if parameter.ndim > 1 else 0.0  # biases, scales and shifts of norms have one axis
        groups.setdefault((decay, scales.get(parameter, 1.0)), []).append(parameter)
    return torch.optim.SGD(
        [{"params": params, "weight_decay": decay, "scale": scale} for (decay, scale), params in groups.items()],
        lr=learning_rate,
        momentum=momentum,
        nesterov=momentum > 0,
    )


def _step_scale(layer: nn.Linear) -> float:
    """Share of the learning rate for a linear layer: 1 up to 128 inputs, then falling with their number.

    The features are all positive, so a step moves the logits in proportion to their number; with 2,048 of them the
    learning rate of the rest is far too high. Source: Yang et al. 2022, arXiv 2203.03466, table 3 (output weights).
    """
    return min(1.0, _FEATURES / layer.in_features)
