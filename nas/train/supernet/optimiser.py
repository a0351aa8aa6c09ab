"""The optimiser of shared tensors: that of all trainings, told apart by shape, as a supernet has no modules."""

from __future__ import annotations

import torch
from torch import nn

from nas.train.optimiser import ADAMW_SHARE, BETA2, step_scale
from nas.train.supernet.recipe import SupernetRecipe
from search_spaces.extremes import largest
from search_spaces.layers import ATTENTION
from search_spaces.sharing import HEAD
from search_spaces.supernet import Supernet


def has_attention(supernet: Supernet) -> bool:
    """Whether its networks are transformers, at least in part."""
    layers, _ = supernet.plan(largest(supernet.space))
    return any(layer.op == ATTENTION for layer in layers)


def make_optimiser(supernet: Supernet, recipe: SupernetRecipe) -> torch.optim.Optimizer:
    """Nesterov's SGD, or AdamW at a hundredth of the learning rate for networks with attention.

    Decay is on kernels and classifiers alone; wide classifiers take smaller steps, see ``nas.train.optimiser``.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in supernet.named_parameters():
        classifies = name.startswith(f"{HEAD}/") and parameter.ndim == 2
        decayed = classifies or parameter.ndim == 4  # matrices between kernel sizes begin as the identity
        scale = step_scale(parameter.shape[1]) if classifies else 1.0
        groups.setdefault((recipe.weight_decay if decayed else 0.0, scale), []).append(parameter)
    by_adamw = has_attention(supernet)
    factor = 1 / ADAMW_SHARE if by_adamw else 1.0
    rows = [{"params": ps, "weight_decay": factor * decay, "scale": scale} for (decay, scale), ps in groups.items()]
    if by_adamw:
        return torch.optim.AdamW(rows, lr=ADAMW_SHARE * recipe.learning_rate, betas=(recipe.momentum, BETA2))
    return torch.optim.SGD(rows, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
