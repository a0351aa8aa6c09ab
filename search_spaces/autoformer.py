"""Spaces of vision transformers: one width for the whole network, a depth, and heads and MLP ratio for every layer.

Source: Chen, Peng, Fu, Ling 2021, "AutoFormer: Searching Transformers for Visual Recognition" (arXiv 2107.00651): the
choices of the released supernets; patches of 16 pixels, heads of 64 channels, a table of 14 x 14 positions. The paper's
base space also has 8 heads, as has the released search of its subnet; its supernet's 9 and 10 are followed.
Deviations: those of ``search_spaces.blocks.vit``. The published AutoFormer-T has MLP ratios of 3, which its own
supernet does not offer: it is no member of ``autoformer-tiny``. ``vit-tiny`` is ours, for images of 8 to 32 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.space import GridSpace, Knob, Value


@dataclass(frozen=True, slots=True)
class Sizes:
    """What all members of a space share.

    Attributes:
        patches: sides of a patch to choose from, pixels.
        positions: side of the learned table of positions; it is resized to the map.
        head_width: channels of one head.
    """

    patches: tuple[int, ...] = (16,)
    positions: int = 14
    head_width: int = 64


PUBLISHED_SIZES = Sizes()


def transformer(sizes: Sizes, patch: int, width: int, layers: list[tuple[int, float]]) -> Architecture:
    """A vision transformer; layers are (heads, MLP ratio), and a hidden width is rounded down as by the authors."""
    encoder = [
        Block("vit_encoder", width, 1, inner=int(width * ratio), heads=heads, head_width=sizes.head_width)
        for heads, ratio in layers
    ]
    patches = Block("vit_patches", width, patch, inner=sizes.positions)
    return Architecture((patches, *encoder, Block("vit_norm", width, 1)))


class TransformerSpace(GridSpace):
    """Patches, ``depth`` encoder layers and a norm. Heads and ratio of layers beyond the depth have no effect."""

    def __init__(
        self,
        name: str,
        *,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        heads: tuple[int, ...],
        ratios: tuple[float, ...],
        sizes: Sizes = PUBLISHED_SIZES,
    ) -> None:
        self.name = name
        self.sizes = sizes
        self._ratios = ratios
        self._layers = max(depths)
        self.knobs = (
            Knob("patch", sizes.patches),
            Knob("width", widths),
            Knob("depth", depths),
            *(Knob(f"{i}.heads", heads) for i in range(self._layers)),
            *(Knob(f"{i}.ratio", ratios) for i in range(self._layers)),
        )

    def decode(self, values: Mapping[str, Value]) -> Architecture:
        """Patches, the first ``depth`` layers, norm."""
        layers = [(int(values[f"{i}.heads"]), float(values[f"{i}.ratio"])) for i in range(int(values["depth"]))]
        return transformer(self.sizes, int(values["patch"]), int(values["width"]), layers)

    def values_of(self, arch: Architecture) -> dict[str, Value]:
        """Read the choices back; layers beyond the depth have the first choices."""
        patches, layers = arch.blocks[0], arch.blocks[1:-1]
        values: dict[str, Value] = {knob.name: knob.choices[0] for knob in self.knobs}
        values |= {"patch": patches.kernel, "width": patches.channels, "depth": len(layers)}
        self._check(values, {"patch": "blocks[0].kernel", "width": "blocks[0].channels"})
        for i, block in enumerate(layers):
            values[f"{i}.heads"] = block.heads
            values[f"{i}.ratio"] = self._ratio(i, block, patches.channels)
        self._check(values, {f"{i}.heads": f"blocks[{i + 1}].heads" for i in range(len(layers))})
        for i, (block, ours) in enumerate(zip(arch.blocks, self.decode(values).blocks, strict=True)):
            if block != ours:
                raise InvalidArchitecture(f"{self.name}: blocks[{i}] is {block}, expected {ours}")
        return values

    def sites(self, arch: Architecture) -> tuple[str, ...]:
        """``patches`` of each side, ``layer-0`` and on, ``norm``."""
        return (f"patches-{arch.blocks[0].kernel}", *(f"layer-{i}" for i in range(len(arch.blocks) - 2)), "norm")

    def _check(self, values: Mapping[str, Value], places: Mapping[str, str]) -> None:
        for knob in self.knobs:
            if values[knob.name] not in knob.choices:
                where = places.get(knob.name, f"{values['depth']} encoder layers after blocks[0]")
                got = f"={values[knob.name]}" if knob.name in places else ""
                raise InvalidArchitecture(f"{self.name}: {where}{got}, expected one of {knob.choices}")

    def _ratio(self, i: int, block: Block, width: int) -> float:
        for ratio in self._ratios:
            if int(width * ratio) == block.inner:
                return ratio
        expected = " or ".join(str(int(width * ratio)) for ratio in self._ratios)
        raise InvalidArchitecture(f"{self.name}: blocks[{i + 1}].inner={block.inner}, expected {expected}")


AUTOFORMER_TINY = TransformerSpace(
    "autoformer-tiny", widths=(192, 216, 240), depths=(12, 13, 14), heads=(3, 4), ratios=(3.5, 4.0)
)
AUTOFORMER_SMALL = TransformerSpace(
    "autoformer-small", widths=(320, 384, 448), depths=(12, 13, 14), heads=(5, 6, 7), ratios=(3.0, 3.5, 4.0)
)
AUTOFORMER_BASE = TransformerSpace(
    "autoformer-base", widths=(528, 576, 624), depths=(14, 15, 16), heads=(9, 10), ratios=(3.0, 3.5, 4.0)
)
VIT_TINY = TransformerSpace(
    "vit-tiny",
    widths=(32, 48, 64, 80, 96),
    depths=(1, 2, 3, 4, 5, 6),
    heads=(1, 2, 3, 4),
    ratios=(1.0, 2.0, 3.0, 4.0),
    sizes=Sizes(patches=(2, 4), positions=8, head_width=16),
)
