"""Hypothesis strategies that several tests share: blocks, architectures, structure strings."""

from hypothesis import strategies as st

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.blocks import BLOCKS
from search_spaces.blocks.cells import EDGES, OPERATIONS, write_cell
from search_spaces.expand import output_shape
from search_spaces.layers import ACTIVATIONS
from search_spaces.plainnet import write_structure

KERNELS = (1, 3, 5, 7)
POOLED = ("pooled_conv", "pooled_conv_bias")  # one 1x1 convolution of a pooled map
CHAINS = tuple(
    kind for kind in BLOCKS if kind not in ("nb201_cell", "norm_act", *POOLED) and not kind.startswith("vit_")
)  # with a convolution each
CELLS = st.tuples(*[st.sampled_from(OPERATIONS) for _ in EDGES]).map(write_cell)
CELL = write_cell(("nor_conv_3x3", "nor_conv_1x1", "skip_connect", "avg_pool_3x3", "nor_conv_3x3", "nor_conv_1x1"))
WIDTHS = st.integers(1, 96)
PUBLISHED_AS_STRING = ("conv", "zen_xx", "zen_bl", "zen_idw", "genet_xx", "genet_bl", "genet_dw")
RELU_CHAINS = (*PUBLISHED_AS_STRING, "tinynas_k1kxk1", "tinynas_kxkx", "tinynas_k1kx", "tinynas_k1dwk1")
FIXED = {
    "vit_patches": {"stride": 1, "depth": 1},
    "vit_encoder": {"stride": 1, "kernel": 1},
    "vit_norm": {"stride": 1, "kernel": 1},
    "nb201_cell": {"kernel": 3},
    "norm_act": {"kernel": 3},
    **{kind: {"stride": 1, "kernel": 1, "depth": 1} for kind in POOLED},
}  # what a kind does not let choose
PATCH_SIDES = (1, 2, 3)
OPTIONAL = ("inner", "expansion", "heads", "head_width", "group_width", "se", "act", "ops")


def sensible(kind, **choices):
    """A block of these choices, without those that the kind does not have."""
    has = {name: value for name, value in choices.items() if name not in OPTIONAL or name in BLOCKS[kind].uses}
    return Block(kind, **(has | FIXED.get(kind, {})))


def fits(arch, shape):
    """Whether images of this shape are large enough for the patches of the architecture."""
    try:
        output_shape(arch, shape)
    except InvalidArchitecture:
        return False
    return True


@st.composite
def blocks(draw, kinds=tuple(BLOCKS), *, se=True, act=True, widths=WIDTHS, max_depth=4, kernels=KERNELS):
    """A block whose choices make sense for its kind."""
    kind = draw(st.sampled_from(kinds))
    inner = draw(widths)
    return sensible(
        kind,
        channels=draw(widths),
        kernel=draw(st.sampled_from(PATCH_SIDES if kind == "vit_patches" else kernels)),
        stride=draw(st.sampled_from((1, 2))),
        depth=draw(st.integers(1, max_depth)),
        inner=inner,
        expansion=draw(st.integers(1, 6)),
        se=draw(st.booleans()) if se else False,
        act=draw(st.sampled_from(ACTIVATIONS)) if act else "relu",
        heads=draw(st.integers(1, 3)),
        head_width=draw(st.integers(1, 9)),
        group_width=draw(st.sampled_from([width for width in range(1, inner + 1) if inner % width == 0])),
        ops=draw(CELLS),
    )


def architectures(kinds=tuple(BLOCKS), *, se=True, max_blocks=6, **choices):
    """One to six blocks, any kinds after another."""
    rows = st.lists(blocks(kinds, se=se, **choices), min_size=1, max_size=max_blocks)
    return rows.map(lambda found: Architecture(tuple(found)))


@st.composite
def structure_strings(draw):
    """A string that ``write_structure`` writes, with its architecture and input channels."""
    arch = draw(architectures(PUBLISHED_AS_STRING, se=False, act=False))
    in_channels = draw(st.integers(1, 4))
    return write_structure(arch, in_channels), arch, in_channels
