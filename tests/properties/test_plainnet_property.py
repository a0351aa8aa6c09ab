"""Structure strings: what is written is read back; whatever else is read is refused with its column."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import architectures, structure_strings

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.plainnet import read_structure, write_structure

PUBLISHED = (
    "SuperConvK3BNRELU(3,88,1,1)SuperResK7K7(88,120,1,16,1)SuperResK7K7(120,192,2,16,3)SuperResK1K5K1(192,224,1,96,4)"
    "SuperResK5K5(224,96,2,24,3)SuperResIDWE6K7(96,168,2,40,3)SuperConvK1BNRELU(168,512,1,1)",
    "ConvKX(3,32,3,2)BN(32)RELU(32)SuperResKXKX(32,128,3,2,1.0,1)SuperResK1KXK1(128,640,3,2,0.25,16)"
    "SuperResK1DWK1(640,640,3,1,3.0,1)ConvKX(640,2560,1,1)BN(2560)RELU(2560)AdaptiveAvgPool(2560,1)",
)
lively = settings(max_examples=100, deadline=None)


@lively
@given(structure_strings())
def test_what_is_written_is_read_back(written):
    text, arch, in_channels = written
    assert read_structure(text) == (arch, in_channels)


@lively
@given(structure_strings(), st.data())
def test_space_between_blocks_and_names_before_a_bar_do_not_matter(written, data):
    text, arch, in_channels = written
    gap = data.draw(st.sampled_from(["", " ", "\n", "\t "]))
    loose = gap + text.replace(")", ")" + gap).replace("(", "(block|")
    assert read_structure(loose) == (arch, in_channels)


@given(architectures(("zen_bl", "zen_idw"), se=False))
def test_the_flag_puts_squeeze_and_excite_into_every_bottleneck(arch):
    found, _ = read_structure(write_structure(arch), se=True)
    assert all(block.se for block in found.blocks)
    with pytest.raises(InvalidArchitecture, match=r"blocks\[0\]: squeeze-and-excite"):
        write_structure(found)


def _mutations(text):
    """One published string with a few characters deleted, doubled, replaced or moved."""
    cut = st.integers(0, len(text))
    character = st.sampled_from(sorted(set(text) | set("-+.e|xX9 \n(),é٣²")))
    edits = st.lists(st.tuples(cut, cut, st.text(character, max_size=4)), min_size=1, max_size=3)

    def apply(found):
        changed = text
        for start, length, insert in found:
            changed = changed[:start] + insert + changed[start + length % 7 :]
        return changed

    return edits.map(apply)


def _read(text):
    try:
        return read_structure(text)
    except InvalidArchitecture as error:
        return str(error)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=60), *map(_mutations, PUBLISHED)))
@example("")
@example("   ")
@example("SuperConvK" + "9" * 5000 + "BNRELU(3,8,1,1)")
@example("SuperConvK3BNRELU(3,1e400,1,1)")
@example("SuperConvK3BNRELU(3,nan,1,1)")
@example("SuperConvK3BNRELU(3,-8,1,1)")
@example("SuperConvK3BNRELU(0,8,1,1)")
@example("SuperResKXKX(32,128.5,3,2,1.0,1)")
@example("SuperResKXKX(32,128,3,2,-1.0,1)")
@example("AdaptiveAvgPool(3,1)")
@example("ConvKX(3,8,3,1)")
@example("ConvKX(3,8,3,1)BN(9)RELU(8)")
@example("SuperConvK4BNRELU(3,8,1,1)")
def test_any_text_is_an_architecture_or_one_line_with_a_column(text):
    found = _read(text)
    if isinstance(found, str):
        assert re.search(r"column \d+", found)
        assert len(found.splitlines()) == 1
        return
    arch, in_channels = found
    assert in_channels >= 1
    assert all(isinstance(number, int) for block in arch.blocks for number in (block.channels, block.kernel))
    assert read_structure(write_structure(arch, in_channels)) == (arch, in_channels)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SuperConvK3BNRELU(3,8,1,1)SuperResK3K3(9,16,1,8,1)", "column 27: SuperResK3K3 takes 9 channels, but gets 8"),
        ("SuperConvK3BNRELU(3,8,1)", "column 1: SuperConvK3BNRELU(3,8,1), expected 4 integers"),
        ("SuperConvK3BNRELU(3,8,1,1)Super", "column 27: 'Super', expected Class(numbers)"),
        ("SuperPoolK3(3,8,1,1)", "column 1: unknown class 'SuperPoolK3', expected SuperConvK?BNRELU"),
        ("ConvKX(3,8,3,1)BN(9)RELU(8)", "expected BN(8)RELU(8)"),
        ("SuperResKXKX(32,128.5,3,2,1.0,1)", "column 1: SuperResKXKX"),
        ("SuperConvK3BNRELU(3,8,1,1000000)", "column 1: SuperConvK3BNRELU.depth=1000000, expected 1 to 1000"),
        ("SuperConvK9999BNRELU(3,8,1,1)", "column 1: SuperConvK9999BNRELU.kernel=9999, expected 1 to 255"),
        ("SuperConvK3BNRELU(3,8,3,1)", "column 1: SuperConvK3BNRELU.stride=3, expected 1 to 2"),
    ],
)
def test_the_message_names_column_found_and_expected(text, said):
    with pytest.raises(InvalidArchitecture) as caught:
        read_structure(text)
    assert said in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(inner=st.integers(1, 4096), channels=st.integers(1, 4096))
def test_a_genet_ratio_gives_its_inner_width_back(inner, channels):
    arch = Architecture((Block("genet_bl", channels, inner=inner),))
    assert read_structure(write_structure(arch))[0] == arch


def test_published_strings_of_this_file_are_sound():
    for text in PUBLISHED:
        arch, in_channels = read_structure(text)
        assert write_structure(arch, in_channels) == text
