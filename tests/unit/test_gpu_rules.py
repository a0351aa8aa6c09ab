"""Which block for which stage, and how much rank a kernel uses."""

from math import sqrt

import numpy as np
import pytest

from hardware.analytic_devices import analytic_device
from hardware.gpu_rules import (
    BOTTLENECK,
    DEPTHWISE,
    FULL,
    StageFacts,
    choose_blocks,
    default_need,
    restricted,
    stages_of,
    unit_kernels,
)
from hardware.intrinsic_rank import NoKernels, layer_ranks, null_ranks, ranks
from search_spaces.genet import GENET

V100 = analytic_device("v100", "fp16")
# microseconds an image of XX, BL and DW units on the V100 at fp16 and batch 64, summed from its measured rows
MEASURED = {
    (112, 32): (12.2, 8.6, 18.8),
    (56, 128): (20.1, 5.8, 22.3),
    (28, 192): (13.0, 3.1, 10.3),
    (14, 640): (30.0, 3.6, 15.5),
    (7, 640): (10.9, 1.7, 4.9),
}


class ByMacs:
    """A device whose time is its multiply-adds: what FLOPs would choose."""

    def predict_ms(self, kernels):
        return np.array([1e-9 * kernel.macs for kernel in kernels])


@pytest.mark.parametrize(("stage", "expected"), MEASURED.items(), ids=str)
def test_the_roofline_gives_the_measured_table_of_blocks(stage, expected):
    side, channels = stage
    found = [
        V100.predict_ms(unit_kernels(kind, channels, side, 3, 64)).sum() / 64 for kind in (FULL, BOTTLENECK, DEPTHWISE)
    ]
    assert np.array(found) * 1e3 == pytest.approx(np.array(expected), rel=0.25)


def test_full_convolutions_win_early_and_low_rank_blocks_late_on_a_v100():
    stages = [StageFacts(side, channels, default_need(side, 224)) for side, channels in MEASURED]
    chosen = [choice.chosen.kind for choice in choose_blocks(stages, V100, batch=64)]
    assert chosen[:3] == [FULL] * 3
    assert set(chosen[3:]) <= {BOTTLENECK, DEPTHWISE}


def test_multiply_adds_alone_would_choose_depthwise_blocks_everywhere():
    stages = [StageFacts(side, channels, 1 / 3) for side, channels in MEASURED]
    by_macs = {choice.stage: choice for choice in choose_blocks(stages, ByMacs(), batch=64)}
    for stage, choice in by_macs.items():
        cost = {option.kind: option.macs for option in choice.options}
        assert cost[DEPTHWISE] < cost[FULL], stage
    on_v100 = choose_blocks(stages[:2], V100, batch=64)
    for choice in on_v100:  # the same two stages, timed
        cost = {option.kind: option.image_us for option in choice.options}
        assert cost[FULL] < cost[DEPTHWISE]


def test_at_batch_one_fewer_launches_win():
    [small] = choose_blocks([StageFacts(14, 32, 0.25)], V100, batch=1)
    assert small.chosen.kind == FULL


def test_a_kind_with_too_little_rank_is_widened_or_left_out():
    [choice] = choose_blocks([StageFacts(56, 64, 1.0)], V100, batch=64)
    assert {option.kind: option.width for option in choice.options} == {FULL: 64, BOTTLENECK: 256, DEPTHWISE: 192}
    [wide] = choose_blocks([StageFacts(56, 64, 1.0, kernel=5)], V100, batch=64)
    assert {option.kind for option in wide.options} == {FULL, BOTTLENECK}  # depthwise 5x5 would need 8 times the width


def test_the_evidence_is_stated():
    [choice] = choose_blocks([StageFacts(56, 128, 1.0)], V100, batch=64)
    text = str(choice)
    assert text.startswith("56x56, 128 channels, needs rank 1.00: XX 128: ")
    for option in choice.options:
        assert f"{option.teraflops:.1f} TFLOP/s" in text
        assert option.teraflops < 125
        assert option.image_us * 1e-6 * option.teraflops * 1e12 == pytest.approx(2 * option.macs, rel=1e-6)


def test_a_space_is_restricted_to_what_was_chosen():
    stages = stages_of(GENET, (3, 224, 224))
    assert [facts.side for _, facts in stages] == [56, 28, 14, 7, 7]
    chosen = choose_blocks([facts for _, facts in stages], V100, batch=64)
    space = restricted(GENET, [(at, choice) for (at, _), choice in zip(stages, chosen, strict=True)])
    arch = space.sample(np.random.default_rng(0))
    GENET.validate(arch)
    assert [block.kind for block in arch.blocks[1:-1]] == [choice.chosen.kind for choice in chosen]
    assert space.cardinality == GENET.cardinality // 3**5


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [(128, 128 * 9, (0.57, 0.945, 1.0, 0.90)), (128, 128, (0.25, 0.60, 0.87, 0.60))],
)
def test_the_null_is_the_known_one(rows, columns, expected):
    assert tuple(null_ranks(rows, columns)) == pytest.approx(expected, abs=0.03)


def test_a_product_of_known_rank_is_found_in_noise():
    rng = np.random.default_rng(0)
    for rank in (4, 8, 16):
        product = rng.standard_normal((64, rank)) @ rng.standard_normal((rank, 64 * 9)) / sqrt(rank)
        found = ranks(product + 0.05 * rng.standard_normal(product.shape))
        assert found.threshold * 64 == pytest.approx(rank, abs=1)
        assert 0.7 * rank <= found.energy * 64 <= rank


def test_the_rank_of_a_trained_kernel_flips_the_block():
    rng = np.random.default_rng(1)
    shape = (640, 64, 3, 3)
    full = rng.standard_normal(shape)
    low = (rng.standard_normal((640, 100)) @ rng.standard_normal((100, 64 * 9))).reshape(shape)
    found = {layer.name: layer for layer in layer_ranks({"full": full, "low": low, "depthwise": full[:, :1]})}
    assert set(found) == {"full", "low"}
    assert found["full"].need > 0.95
    assert not found["full"].is_low
    assert found["low"].is_low
    kinds = []
    for layer in found.values():
        [choice] = choose_blocks([StageFacts(14, 640, layer.need)], V100, batch=64)
        kinds.append(choice.chosen.kind)
    assert kinds == [FULL, BOTTLENECK]


def test_weights_without_rank_are_refused():
    with pytest.raises(NoKernels, match="no dense convolution with 4 channels or more among 1 tensors"):
        layer_ranks({"fc.weight": np.ones((10, 20))})
    with pytest.raises(NoKernels, match=r"a\.weight: holds values that are not finite"):
        layer_ranks({"a.weight": np.full((8, 8, 3, 3), np.nan)})
    assert ranks(np.zeros((4, 8))) == (0, 0, 0, 0)
