"""Hypothesis strategies that several tests share: blocks, architectures, structure strings."""

from hypothesis import strategies as st

from search_spaces.arch import Architecture, Block
from search_spaces.expand import BLOCKS, NEEDS_EXPANSION, NEEDS_INNER
from search_spaces.plainnet import write_structure

KERNELS = (1, 3, 5, 7)
WITH_SE = ("zen_bl", "zen_idw")


@st.composite
def blocks(draw, kinds=tuple(BLOCKS), *, se=True):
    """A block whose choices make sense for its kind."""
    kind = draw(st.sampled_from(kinds))
    width = st.integers(1, 96)
    return Block(
        kind,
        channels=draw(width),
        kernel=draw(st.sampled_from(KERNELS)),
        stride=draw(st.sampled_from((1, 2))),
        depth=draw(st.integers(1, 4)),
        inner=draw(width) if kind in NEEDS_INNER else 0,
        expansion=draw(st.integers(1, 6)) if kind in NEEDS_EXPANSION else 0,
        se=draw(st.booleans()) if se and kind in WITH_SE else False,
    )


def architectures(kinds=tuple(BLOCKS), *, se=True, max_blocks=6):
    """One to six blocks, any kinds after another."""
    rows = st.lists(blocks(kinds, se=se), min_size=1, max_size=max_blocks)
    return rows.map(lambda found: Architecture(tuple(found)))


@st.composite
def structure_strings(draw):
    """A string that ``write_structure`` writes, with its architecture and input channels."""
    arch = draw(architectures(se=False))
    in_channels = draw(st.integers(1, 4))
    return write_structure(arch, in_channels), arch, in_channels
