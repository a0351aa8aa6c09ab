"""Encoder layers compute what PyTorch's own compute, and a design that is none is refused in one line."""

import pytest
import torch
from torch import nn

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.build import build
from search_spaces.expand import expand, output_shape
from search_spaces.layers import ATTENTION, CONV, POSITION

ENCODER = Block("vit_encoder", 24, 1, inner=40, heads=3, head_width=8)
PATCHES = Block("vit_patches", 24, 4, inner=5)
NORM = Block("vit_norm", 24, 1)


def tokens(x):
    return x.flatten(2).transpose(1, 2)


def randomised(module):
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return module.eval()


def give_encoder(theirs, own):
    """Copy the weights of our layer, which are 1x1 convolutions, to PyTorch's."""
    parts = [getattr(own.attention, name) for name in ("queries", "keys", "values")]
    theirs.self_attn.in_proj_weight.copy_(torch.cat([part.weight.flatten(1) for part in parts]))
    theirs.self_attn.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    pairs = [
        (theirs.self_attn.out_proj, own.attention.out),
        (theirs.linear1, own.mlp.up),
        (theirs.linear2, own.mlp.down),
        (theirs.norm1, own.attention.norm),
        (theirs.norm2, own.mlp.norm),
    ]
    for target, source in pairs:
        target.weight.copy_(source.weight.flatten(1) if source.weight.ndim == 4 else source.weight)
        target.bias.copy_(source.bias)


@pytest.mark.parametrize("depth", [1, 3])
def test_an_encoder_layer_is_that_of_pytorch(depth):
    arch = Architecture((Block("vit_encoder", 24, 1, depth=depth, inner=40, heads=3, head_width=8), NORM))
    ours = randomised(build(arch, num_classes=2, in_channels=24))
    theirs = [
        nn.TransformerEncoderLayer(24, 3, 40, activation="gelu", batch_first=True, norm_first=True).eval()
        for _ in range(depth)
    ]
    x = torch.randn(2, 24, 5, 4, generator=torch.Generator().manual_seed(1))
    expected = tokens(x)
    with torch.no_grad():
        for i, layer in enumerate(theirs):
            give_encoder(layer, getattr(ours.blocks, "0").get_submodule(f"s{i}"))
            expected = layer(expected)
        got = ours.forward_features(x)[0]
        last = getattr(ours.blocks, "1").s0.norm
        expected = nn.functional.layer_norm(expected, (24,), last.weight, last.bias)
    torch.testing.assert_close(tokens(got), expected, atol=1e-5, rtol=1e-5)


def test_patches_are_a_linear_layer_on_pixels_plus_positions():
    ours = randomised(build(Architecture((PATCHES,)), num_classes=2, in_channels=3))
    x = torch.randn(2, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    part = getattr(ours.blocks, "0").s0
    pixels = nn.functional.unfold(x, 4, stride=4).transpose(1, 2)
    with torch.no_grad():
        expected = pixels @ part.patches.weight.flatten(1).T + part.patches.bias + part.positions.weight.flatten(1).T
        got = ours.forward_features(x)[0]
    torch.testing.assert_close(tokens(got), expected, atol=1e-5, rtol=1e-5)


def test_attention_may_be_wider_or_narrower_than_the_map():
    wide = expand(Architecture((Block("vit_encoder", 24, 1, inner=8, heads=5, head_width=16),)), (24, 3, 3))
    assert [layer.channels for layer in wide if layer.op == CONV] == [80, 80, 80, 24, 8, 24]
    assert next(layer for layer in wide if layer.op == ATTENTION).groups == 5


def test_a_block_that_changes_the_width_begins_with_a_linear_layer():
    layers = expand(Architecture((PATCHES, Block("vit_norm", 40, 1))), (3, 20, 20))
    assert [(layer.op, layer.in_channels, layer.channels) for layer in layers if layer.op == CONV] == [
        (CONV, 3, 24),
        (CONV, 24, 40),
    ]


def test_rows_that_fill_no_patch_are_left_out_and_the_table_is_as_given():
    layers = expand(Architecture((PATCHES,)), (3, 23, 16))
    assert layers[-1].shape == (24, 5, 4)
    assert [layer.kernel for layer in layers if layer.op == POSITION] == [5]
    assert output_shape(Architecture((PATCHES, ENCODER, NORM)), (1, 32, 32)) == (24, 8, 8)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (Block("vit_patches", 24, 4), r"inner=0, expected 1 to 65536"),
        (Block("vit_patches", 24, 4, inner=257), r"inner=257, expected 1 to 256: the side of the position table"),
        (Block("vit_patches", 24, 4, depth=2, inner=5), "depth=2, expected 1 for vit_patches"),
        (Block("vit_patches", 24, 4, 2, inner=5), "stride=2, expected 1 for vit_patches"),
        (Block("vit_encoder", 24, 3, inner=8, heads=1, head_width=8), "kernel=3, expected 1 for vit_encoder"),
        (Block("vit_encoder", 24, 1, inner=8, head_width=8), "heads=0, expected 1 to 1024"),
        (Block("vit_encoder", 24, 1, inner=8, heads=1024, head_width=65), "expected at most 65,536 channels together"),
        (Block("vit_encoder", 24, 1, 2, inner=8, heads=1, head_width=8), "stride=2, expected 1"),
        (Block("vit_encoder", 24, 1, inner=8, heads=1, head_width=8, act="silu"), "act='silu', expected relu"),
        (Block("vit_norm", 24, 1, heads=2), "heads=2, expected 0"),
        (Block("conv", 24, 4), "kernel=4, expected an odd number"),
    ],
)
def test_a_block_that_is_none_is_refused(block, said):
    with pytest.raises(InvalidArchitecture, match=said) as caught:
        expand(Architecture((block,)), (3, 32, 32))
    assert "\n" not in str(caught.value)
