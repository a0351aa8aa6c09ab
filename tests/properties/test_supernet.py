"""Supernets: what is extracted computes what the supernet computes, for every sharing and every kind of space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from nas.train.recalibration import NoCalibrationImages, recalibrate_, recalibrated
from search_spaces import SPACES
from search_spaces.extremes import largest, smallest
from search_spaces.sharing import NoSupernet, Sharing
from search_spaces.space import GridSpace
from search_spaces.supernet import Supernet

CASES = (  # space, side, channels
    ("mobilenetv3-tiny-images", 8, 1),
    ("resnet20-channels", 12, 1),
    ("vit-tiny", 8, 1),
)
SHARINGS = {"centre": Sharing(), "apart": Sharing("apart", "width", "width"), "transform": Sharing("transform")}


def grid(name: str) -> GridSpace:
    space = SPACES[name]
    assert isinstance(space, GridSpace)
    return space


def images(n: int, channels: int, side: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def often(name: str, side: int, channels: int, sharing: str) -> Any:
    """A case; those of the largest space are slow but for one."""
    slow = name == "resnet20-channels" and sharing != "centre"
    ids = f"{sharing}-{name}-{side}-{channels}"
    return pytest.param(name, side, channels, SHARINGS[sharing], marks=pytest.mark.slow if slow else (), id=ids)


@pytest.mark.parametrize(
    ("name", "side", "channels", "sharing"), [often(*case, sharing) for case in CASES for sharing in SHARINGS]
)
def test_extracted_network_computes_the_same(name: str, side: int, channels: int, sharing: Sharing) -> None:
    space = grid(name)
    supernet = Supernet(space, num_classes=5, in_channels=channels, sharing=sharing)
    rng, x = np.random.default_rng(0), images(4, channels, side)
    for arch in (largest(space), smallest(space), *(space.sample(rng) for _ in range(3))):
        supernet.train()
        supernet(x, arch)  # moves the stored statistics, so that they differ from 0 and 1
        statistics = recalibrated(supernet, arch, [x])
        network = supernet.extract(arch, statistics)
        supernet.activate(arch, statistics)
        supernet.eval()
        with torch.no_grad():
            torch.testing.assert_close(network(x), supernet(x), rtol=1e-5, atol=1e-5)
            assert network.arch == arch
            torch.testing.assert_close(supernet.extract(arch)(x), supernet(x, arch), rtol=1e-5, atol=1e-5)


def test_genet_kinds_have_weights_of_their_own() -> None:
    space = grid("genet-tiny")
    values = space.values_of(smallest(space))
    kinds = [knob for knob in space.knobs if knob.name == "1.variant"]
    archs = [space.decode({**values, "1.variant": choice}) for choice in kinds[0].choices]
    supernet = Supernet(space, num_classes=3, in_channels=1)
    used = [{use.shared for use in supernet.plan(arch)[1] if use.shared.startswith("1-")} for arch in archs]
    assert not used[0] & used[1]
    assert not used[1] & used[2]
    for arch in archs:
        with torch.no_grad():
            x = images(2, 1, 8)
            torch.testing.assert_close(supernet.extract(arch)(x), supernet.eval()(x, arch), rtol=1e-5, atol=1e-5)


def test_slices_are_prefixes_of_channels_and_centres_of_kernels() -> None:
    space = grid("mobilenetv3-tiny-images")
    supernet = Supernet(space, num_classes=3, in_channels=1)
    arch = smallest(space)
    depthwise = next(use for use in supernet.plan(arch)[1] if use.shared == "1-1.s0.u0.b.conv.weight")
    whole, part = supernet.shared(depthwise.shared), supernet.tensors(arch)[depthwise.name]
    assert part.shape[0] < whole.shape[0]
    assert part.shape[-1] == 3
    assert whole.shape[-1] == 5
    assert torch.equal(part, whole[: part.shape[0], :, 1:4, 1:4])
    assert part.data_ptr() != whole.data_ptr()
    assert part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()


def test_gradients_reach_the_slice_and_nothing_else() -> None:
    space = grid("mobilenetv3-tiny-images")
    supernet = Supernet(space, num_classes=3, in_channels=1)
    arch = smallest(space)
    supernet(images(4, 1, 8), arch).sum().backward()
    touched = {use.shared for use in supernet.plan(arch)[1]}
    for name in supernet.shapes:
        gradient = supernet.shared(name).grad
        assert (gradient is not None) <= (name in touched)
    weight = supernet.shared("1-1.s0.u0.b.conv.weight").grad
    assert weight is not None
    assert weight[:, :, 0].abs().sum() == 0
    assert weight[:, :, 1:4, 1:4].abs().sum() > 0


def test_recalibration_of_a_network_and_of_the_supernet_agree() -> None:
    space = grid("resnet20-channels")
    supernet = Supernet(space, num_classes=3, in_channels=1)
    arch = space.sample(np.random.default_rng(1))
    batches = [images(8, 1, 12, seed) for seed in range(3)]
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    found = recalibrated(supernet, arch, batches)
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())
    network = supernet.extract(arch)
    recalibrate_(network, batches)
    state = network.state_dict()
    for name, value in found.items():
        torch.testing.assert_close(value, state[name], rtol=1e-4, atol=1e-5)
    assert not network.training
    with pytest.raises(NoCalibrationImages, match="no batch"):
        recalibrate_(network, [])
    with pytest.raises(NoCalibrationImages, match="N >= 2"):
        recalibrated(supernet, arch, [images(1, 1, 12)])


@pytest.mark.slow
def test_capacity_ranks_but_gives_nothing_out() -> None:
    space = grid("resnet20-channels")
    supernet = Supernet(space, num_classes=3, in_channels=1, capacity=2.0)
    arch = largest(space)
    assert supernet.shapes["0-conv.s0.u0.conv.weight"][0] == 32
    assert supernet(images(2, 1, 12), arch).shape == (2, 3)
    with pytest.raises(NoSupernet, match="train one with capacity 1"):
        supernet.extract(arch)


def test_what_has_no_supernet_is_refused_in_one_line() -> None:
    with pytest.raises(NoSupernet, match="no fixed places"):
        Supernet(SPACES["zen-tiny"], num_classes=3)  # type: ignore[arg-type]
    with pytest.raises(NoSupernet, match="which architecture"):
        Supernet(grid("vit-tiny"), num_classes=3, in_channels=1)(images(2, 1, 8))
    with pytest.raises(NoSupernet, match=r"sharing\.norms"):
        Sharing(norms="none")  # type: ignore[arg-type]


def test_blocks_begin_as_identities_with_a_last_scale_of_zero() -> None:
    space = grid("mobilenetv3-tiny-images")
    supernet = Supernet(space, num_classes=3, in_channels=1)
    supernet.reset_parameters(0, zero_last=True)
    assert supernet.shared("1-2.s0.u0.c.norm.weight").abs().sum() == 0
    assert supernet.shared("1-1.s0.u0.c.norm.weight").abs().sum() > 0  # changes the width: no addition
