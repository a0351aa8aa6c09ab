"""Hidden channels: which layers of a block must be permuted together, and what must stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from search_spaces import SPACES
from search_spaces.build import build
from search_spaces.execute import execute
from search_spaces.expand import expand
from search_spaces.hidden_channels import hidden_channels
from search_spaces.layers import CONV, NORM
from search_spaces.space import GridSpace

NAMES = ("mobilenetv3-tiny-images", "resnet20-channels", "vit-tiny", "genet-tiny", "resnet-small")


@pytest.mark.parametrize("name", NAMES)
def test_any_permutation_of_a_group_changes_nothing(name: str) -> None:
    space = SPACES[name]
    assert isinstance(space, GridSpace)
    rng = np.random.default_rng(3)
    arch = space.sample(rng)
    layers = expand(arch, (1, 16, 16), 4)
    torch.manual_seed(0)
    tensors = build(arch, num_classes=4, in_channels=1).double().state_dict()
    tensors = {
        name: torch.rand_like(value) + 0.1 if value.is_floating_point() else value for name, value in tensors.items()
    }
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    before = execute(layers, tensors, x)
    for group in hidden_channels(layers):
        order = torch.from_numpy(rng.permutation(layers[group.makers[0]].channels))
        for at in (*group.makers, *group.carriers):
            for leaf in ("weight", "bias", "running_mean", "running_var"):
                if (key := f"{layers[at].name}.{leaf}") in tensors:
                    tensors[key] = tensors[key][order]
        for at in group.readers:
            key = f"{layers[at].name}.weight"
            tensors[key] = tensors[key][:, order]
    torch.testing.assert_close(execute(layers, tensors, x), before)


def test_the_hidden_channels_of_an_inverted_residual() -> None:
    space = SPACES["mobilenetv3-tiny-images"]
    layers = expand(space.sample(np.random.default_rng(0)), (1, 16, 16), 4)
    groups = hidden_channels(layers)
    assert groups
    for group in groups:
        assert all(layers[at].op == CONV and layers[at].groups == 1 for at in (*group.makers, *group.readers))
        assert all(layers[at].op == NORM or layers[at].groups == layers[at].channels for at in group.carriers)
        assert len({layers[at].block for at in (*group.makers, *group.carriers, *group.readers)}) == 1
