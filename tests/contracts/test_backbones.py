"""What every architecture promises as a detector's backbone."""

import numpy as np
import pytest
import torch

from search_spaces import SPACES
from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.backbone import WeightsDoNotFit, load_shared
from search_spaces.build import build
from search_spaces.formats import read_published

MAEDET_S = """[
{"class": "ConvKXBNRELU", "in": 3, "out": 32, "k": 3, "s": 2},
{"class": "SuperResK1KXK1", "in": 32, "out": 48, "k": 5, "s": 2, "L": 2, "btn": 32},
{"class": "SuperResK1KXK1", "in": 48, "out": 272, "k": 3, "s": 2, "L": 4, "btn": 120},
{"class": "SuperResK1KXK1", "in": 272, "out": 1024, "k": 5, "s": 2, "L": 10, "btn": 80},
{"class": "SuperResK1KXK1", "in": 1024, "out": 2048, "k": 3, "s": 2, "L": 10, "btn": 240}]"""  # arXiv 2111.13336
LARGE = ("zen-imagenet", "tinynas-k1kxk1", "autoformer-base")
STEM_AND_TWO = Architecture((Block("conv", 8, stride=2), Block("conv", 12, stride=2), Block("conv", 16)))


def images(side=64, n=2):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def sampled(space, seed):
    return space.sample(np.random.default_rng(seed))


def levels_of(arch):
    """All levels, from the message about one that no network has."""
    with pytest.raises(InvalidArchitecture, match="this architecture has") as error:
        build(arch, features=(40,))
    return tuple(int(part.split(")")[0]) for part in str(error.value).split("(level ")[1:])


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in SPACES])
def test_maps_have_the_promised_strides_and_channels_and_are_the_classifiers(name):
    arch = sampled(SPACES[name], 1)
    levels = levels_of(arch)[-3:]
    torch.manual_seed(0)
    classifier = build(arch, num_classes=5).eval()
    backbone = build(arch, features=levels).eval()
    assert load_shared(backbone, classifier.state_dict()) == ()
    with torch.inference_mode():
        maps, expected = backbone(images()), classifier.forward_features(images())
    assert backbone.levels == levels
    assert backbone.strides == tuple(2**level for level in levels)
    for got, want, stride, channels in zip(
        maps, expected[-len(maps) :], backbone.strides, backbone.channels, strict=True
    ):
        assert got.shape == (2, channels, 64 // stride, 64 // stride)
        assert torch.equal(got, want)


@pytest.mark.parametrize("name", ["zen", "genet-small"])
def test_weights_go_back_into_a_classifier_whose_head_stays(name):
    arch = sampled(SPACES[name], 2)
    backbone, classifier = build(arch, features=levels_of(arch)[-2:]), build(arch, num_classes=5)
    head = classifier.state_dict()["head.fc.weight"].clone()
    assert load_shared(classifier, backbone.state_dict()) == ("head.fc.weight", "head.fc.bias")
    state = classifier.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in backbone.state_dict().items())
    assert torch.equal(state["head.fc.weight"], head)


def test_maedet_gives_c3_to_c5_with_the_published_channels():
    arch, _ = read_published(MAEDET_S)
    backbone = build(arch, features=(3, 4, 5)).eval()
    with torch.inference_mode():
        maps = backbone(images(96, 1))
    assert [tuple(m.shape) for m in maps] == [(1, 272, 12, 12), (1, 1024, 6, 6), (1, 2048, 3, 3)]
    assert [(info["num_chs"], info["reduction"]) for info in backbone.feature_info] == [
        (272, 8),
        (1024, 16),
        (2048, 32),
    ]
    assert sum(p.numel() for p in backbone.parameters()) == 21_233_120  # published: 21.2 M


def test_layers_behind_the_last_level_are_left_out():
    backbone = build(STEM_AND_TWO, features=(1,))
    assert {name.split(".")[1] for name in backbone.state_dict()} == {"0"}
    assert backbone.channels == (8,)
    assert build(STEM_AND_TWO, features=(1, 2)).channels == (8, 16)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ((3, 4, 5), r"features: level 3 has stride 8; this architecture has 2 \(level 1\), 4 \(level 2\)"),
        ((2, 1), r"features=\(2, 1\), expected levels in rising order"),
        ((), r"features=\(\), expected levels in rising order"),
        ((-1,), "rising order"),
        ((1.0,), "rising order"),
    ],
)
def test_levels_that_are_not_there_are_one_line(features, message):
    with pytest.raises(InvalidArchitecture, match=message) as error:
        build(STEM_AND_TWO, features=features)
    assert "\n" not in str(error.value)


def test_a_classifier_and_a_backbone_at_once_are_refused():
    for choice in ({}, {"num_classes": 3, "features": (1,)}):
        with pytest.raises(InvalidArchitecture, match="either num_classes"):
            build(STEM_AND_TWO, **choice)


def test_foreign_weights_are_refused_and_change_nothing():
    backbone = build(STEM_AND_TWO, features=(1, 2))
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    wider = build(Architecture((Block("conv", 8, stride=2), Block("conv", 20, stride=2))), num_classes=2)
    with pytest.raises(WeightsDoNotFit, match=r"blocks\.1\.s0\.u0\.conv\.weight has shape"):
        load_shared(backbone, wider.state_dict())
    with pytest.raises(WeightsDoNotFit, match="no tensor of the blocks in common"):
        load_shared(backbone, {"fc.weight": torch.zeros(1)})
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone.state_dict().items())
