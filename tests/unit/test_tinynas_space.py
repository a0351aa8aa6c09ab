"""The TinyNAS and IDW spaces: published networks are members, and mutations keep the released rules."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tinynas_structures import architecture

from search_spaces import SPACES
from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.plainnet import read_structure
from search_spaces.tinynas import BITS, TINYNAS

GOLDEN = Path(__file__).parents[1] / "golden"
PUBLISHED = [
    network
    for network in json.loads((GOLDEN / "tinynas_networks.json").read_text())["networks"]
    if not network["name"].startswith("random")
]
SPACE_OF = {"B": "tinynas-k1kxk1", "S": "tinynas-k1dwsek1", "D": "tinynas-k1kx", "Q": "tinynas-quant"}
every_space = pytest.mark.parametrize("space", TINYNAS, ids=lambda space: space.name)


def walk(space, steps=200, seed=0):
    rng = np.random.default_rng(seed)
    arch = space.seed
    for _ in range(steps):
        arch = space.mutate(arch, rng)
        yield arch


@pytest.mark.parametrize("network", PUBLISHED, ids=lambda network: network["name"])
def test_published_networks_are_members(network):
    arch = architecture(network["structure"], network.get("bits", ()))
    letter = next(letter for letter in SPACE_OF if f"{letter}(" in network["structure"])
    if network["name"] == "damoyolo_tutorial":  # 12 input channels, as the space has it
        assert arch.blocks[0] == SPACES["tinynas-k1kx"].seed.blocks[0]
    if network["name"] == "resnet50":  # its stem has another kernel
        arch = Architecture((replace(arch.blocks[0], kernel=3), *arch.blocks[1:]))
    space = SPACES[SPACE_OF[letter]]
    if letter == "S":
        arch = Architecture((*arch.blocks[:-1], replace(arch.blocks[-1], channels=space.seed.blocks[-1].channels)))
    space.validate(arch)
    with pytest.raises(InvalidArchitecture, match="tinynas-kxkx"):
        SPACES["tinynas-kxkx"].validate(arch)


@pytest.mark.parametrize("se", [False, True])
def test_published_idw_networks_are_members(se):
    networks = json.loads((GOLDEN / "published_networks.json").read_text())["networks"]
    found = [network for network in networks if network["name"].startswith("zennet_flops")]
    assert len(found) == 3
    for network in found:
        arch, _ = read_structure(network["structure"], se=se)
        space = SPACES["zen-idw-se" if se else "zen-idw"]
        strides = [block.stride for block in arch.blocks].count(2)
        assert strides == 5
        space.validate(arch)
        with pytest.raises(InvalidArchitecture, match=r"\.se="):
            SPACES["zen-idw" if se else "zen-idw-se"].validate(arch)


@every_space
def test_a_walk_keeps_the_released_rules(space):
    kernels, depths = set(), set()
    for arch in walk(space):
        space.validate(arch)
        body = space.body(arch)
        widths = [block.channels for block in (arch.blocks[0], *body)]
        assert widths == sorted(widths), "widths never fall"
        assert all(width % 8 == 0 and width <= space.most for width in widths)
        assert body[0].depth <= space.first_depth
        assert all(b <= space.growth * (a + 4) for a, b in pairwise(widths[1:]))
        for block in body:
            if space.ratios:
                ratio = block.inner / block.channels
                assert min(abs(ratio - r) for r in space.ratios) * block.channels < 4.001, "rounded to 8"
            else:
                assert block.channels / 10 - 4 <= block.inner <= block.channels
        kernels |= {block.kernel for block in body}
        depths |= {block.depth for block in body}
    assert kernels == set(space.kernels)
    assert len(depths) > 3


@every_space
def test_the_last_residual_block_is_mutated_too(space):
    at = -1 - space.has_head
    assert len({arch.blocks[at] for arch in walk(space)}) > 5
    if space.has_head and not space.bits:
        assert {arch.blocks[-1] for arch in walk(space)} == {space.seed.blocks[-1]}


@pytest.mark.parametrize("name", ["tinynas-quant", "tinynas-quant-small"])
def test_bits_move_by_one_step_a_sub_layer_at_a_time(name):
    space = SPACES[name]
    before = space.seed
    seen = set()
    for arch in walk(space, 400):
        for old, new in zip(space.body(before), space.body(arch), strict=True):
            assert len(new.weight_bits) == len(new.activation_bits) == 3 * new.depth
            for bits in (new.weight_bits, new.activation_bits):
                assert all(len(set(bits[i : i + 3])) == 1 for i in range(0, len(bits), 3))
            if old.depth == new.depth:
                assert max(abs(a - b) for a, b in zip(old.weight_bits, new.weight_bits, strict=True)) <= 2
            seen |= {*new.weight_bits, *new.activation_bits}
        before = arch
    assert seen == set(BITS)


def test_a_space_without_bits_refuses_them_and_the_other_way_round():
    quant, plain = SPACES["tinynas-quant"], SPACES["tinynas-k1dwk1"]
    with pytest.raises(InvalidArchitecture, match=r"weight_bits.*expected none"):
        plain.validate(quant.seed)
    with pytest.raises(InvalidArchitecture, match=r"weight_bits.*expected bits"):
        quant.validate(plain.seed)
