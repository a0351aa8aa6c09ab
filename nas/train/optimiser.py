"""The optimisers that all trainings use."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from search_spaces.build import Positions
from search_spaces.layers import ATTENTION

ADAMW_SHARE = 0.01  # of the learning rate that SGD takes
BETA2 = 0.999
_FEATURES = 128  # a linear layer that reads more takes smaller steps


def has_attention(model: nn.Module) -> bool:
    """Whether the network is a transformer, at least in part."""
    ours = any(layer.op == ATTENTION for layer in getattr(model, "layers", ()))
    return ours or any(isinstance(module, nn.MultiheadAttention) for module in model.modules())


def nesterov_sgd(model: nn.Module, *, learning_rate: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """Nesterov's SGD: no decay of norms, biases and position tables, smaller steps for wide classifiers."""
    groups = _groups(model, weight_decay)
    return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, nesterov=momentum > 0)


def adamw(model: nn.Module, *, learning_rate: float, momentum: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW on the settings of SGD: a hundredth of the learning rate, a hundred times the decay.

    A step so decays weights by as much as one of SGD. At the defaults of a recipe that is 0.002 and 0.05; beta1 is the
    momentum, beta2 0.999. Source: Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2.
    """
    groups = _groups(model, weight_decay / ADAMW_SHARE)
    return torch.optim.AdamW(groups, lr=ADAMW_SHARE * learning_rate, betas=(momentum, BETA2))


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters by their decay and their share of the learning rate, its key ``scale``."""
    scales = {p: step_scale(m.in_features) for m in model.modules() if isinstance(m, nn.Linear) for p in m.parameters()}
    tables = {module.weight for module in model.modules() if isinstance(module, Positions)}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        plain = parameter.ndim == 1 or parameter in tables  # biases, scales and shifts of norms have one axis
        groups.setdefault((0.0 if plain else weight_decay, scales.get(parameter, 1.0)), []).append(parameter)
    return [{"params": params, "weight_decay": decay, "scale": scale} for (decay, scale), params in groups.items()]


def step_scale(in_features: int) -> float:
    """Share of the learning rate for a linear layer: 1 up to 128 inputs, then falling with their number.

    The features are all positive, so a step moves the logits in proportion to their number; with 2,048 of them the
    learning rate of the rest is far too high. Source: Yang et al. 2022, arXiv 2203.03466, table 3 (output weights).
    """
    return min(1.0, _FEATURES / in_features)
