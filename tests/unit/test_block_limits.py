"""Which choices make a block: each wrong one is named with what was expected."""

from dataclasses import replace

import pytest

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.block_limits import check_block
from search_spaces.expand import expand

QUANTISED = Block("tinynas_k1dwk1", 8, depth=2, inner=16, weight_bits=(4,) * 6, activation_bits=(5, 5, 5, 8, 8, 8))


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (Block("conv", 8, se=True), "se=True, expected False for conv"),
        (Block("conv", 8, inner=4), "inner=4, expected 0 for conv"),
        (Block("conv", 8, act="mish"), "act='mish', expected relu"),
        (Block("zen_xx", 8, inner=4, act="silu"), "act='silu', expected relu for zen_xx"),
        (Block("zen_xx", 8, inner=4, expansion=2), "expansion=2, expected 0"),
        (Block("conv", 8, heads=2), "heads=2, expected 0"),
        (Block("conv", 8, ops="|skip~0|"), "ops='|skip~0|', expected none"),
        (Block("zen_bl", 8, inner=4, weight_bits=(8,)), "weight_bits=(8,), expected none for zen_bl"),
        (replace(QUANTISED, weight_bits=(4,) * 5), "expected 6 numbers of 2 to 16"),
        (replace(QUANTISED, activation_bits=()), "activation_bits=(), expected 6 numbers"),
        (replace(QUANTISED, weight_bits=(4,) * 5 + (1,)), "expected 6 numbers of 2 to 16"),
    ],
)
def test_a_choice_that_the_kind_does_not_have_is_refused(block, said):
    with pytest.raises(InvalidArchitecture) as caught:
        check_block(block, "blocks[0]")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bits_are_part_of_the_design_but_not_of_the_layers():
    check_block(QUANTISED)
    plain = replace(QUANTISED, weight_bits=(), activation_bits=())
    assert expand(Architecture((QUANTISED,)), (8, 8, 8)) == expand(Architecture((plain,)), (8, 8, 8))
    arch = Architecture((QUANTISED,))
    assert Architecture.from_json(arch.to_json()) == arch
    assert arch.digest != Architecture((plain,)).digest


@pytest.mark.parametrize("bits", ['"44"', "[4, 4.0]", "[true]", "4"])
def test_bits_that_are_no_whole_numbers_are_refused(bits):
    text = f'{{"version": 1, "blocks": [{{"kind": "conv", "channels": 8, "weight_bits": {bits}}}]}}'
    with pytest.raises(InvalidArchitecture, match=r"blocks\[0\].weight_bits=.*, expected a list of whole numbers"):
        Architecture.from_json(text)
