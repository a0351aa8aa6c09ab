"""Peak memory as ONNX Runtime allocates: fused additions, blocked layouts, copies and kept buffers."""

from math import prod

import numpy as np
import pytest

from hardware.counts import peak_memory_bytes
from hardware.kernels import fuse
from hardware.runtime_memory import onnxruntime_peak_bytes, runtime_steps
from search_spaces import SPACES
from search_spaces.arch import Architecture, Block
from search_spaces.expand import expand

SHAPE = (16, 8, 8)
MAP = 4 * 64  # bytes of one channel


def peak(*blocks, shape=SHAPE, block=8):
    return onnxruntime_peak_bytes(expand(Architecture(blocks), shape), shape, block=block) / MAP


def copies(block):
    """Steps beyond one a kernel."""
    layers = expand(Architecture((block,)), SHAPE)
    return len(runtime_steps(layers, SHAPE, 8)) - len(fuse(layers))


def test_the_images_stay_and_a_chain_holds_two_maps():
    assert peak(Block("conv", 32), Block("conv", 16)) == 16 + 32 + 16


def test_channels_are_stored_in_whole_blocks():
    assert peak(Block("conv", 20), Block("conv", 12)) == 16 + 24 + 16
    assert peak(Block("conv", 20), Block("conv", 12), block=16) == 16 + 32 + 16


def test_fewer_input_channels_than_a_block_are_read_in_plain_layout():
    chain = expand(Architecture((Block("conv", 8), Block("conv", 32))), SHAPE)
    assert len(runtime_steps(chain, SHAPE, 16)) == len(runtime_steps(chain, SHAPE, 8)) + 1


def test_branches_run_in_the_runtimes_order():
    block = Block("genet_bl", 32, 3, 2, inner=8)
    layers = expand(Architecture((block,)), SHAPE)
    made = [layers[int(step.makes.rstrip("b"))].name for step in runtime_steps(layers, SHAPE, 8)[1:]]  # a copy first
    assert [name.split(".")[4] for name in made] == ["a", "b", "shortcut", "relu"]


def test_an_addition_goes_into_the_memory_of_its_shortcut():
    wide = Block("genet_bl", 64, inner=16, depth=3)
    assert peak(wide, shape=(64, 8, 8)) == 64 + 64 + 16 + 16  # images, running map, both inner maps
    assert peak_memory_bytes(expand(Architecture((wide,)), (64, 8, 8)), (64, 8, 8)) / MAP == 64 + 64 + 16


def test_a_gate_costs_copies_in_plain_layout():
    plain, gated = (Block("zen_idw", 16, inner=16, expansion=4, se=se) for se in (False, True))
    assert peak(gated) > peak(plain)
    assert copies(gated) == copies(plain) + 2 * 3  # two units: the map and the gate out, the product back


def test_groups_without_a_blocked_kernel_cost_copies():
    whole, odd = (Block("resnext", 64, inner=48, group_width=width) for width in (8, 12))
    assert copies(odd) == copies(whole) + 2


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_every_network_holds_at_least_its_largest_map_and_scales_with_the_batch(space):
    shape = (3, 32, 32)
    layers = expand(space.sample(np.random.default_rng(0)), shape, 10)
    found = onnxruntime_peak_bytes(layers, shape)
    assert found >= 4 * max(prod(layer.shape) for layer in layers)
    assert found <= 4 * sum(3 * prod(layer.shape) + prod(shape) for layer in layers)
    assert onnxruntime_peak_bytes(layers, shape, 8) == 8 * found
