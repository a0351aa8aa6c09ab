"""Which slice of which shared tensor serves which layer of which architecture: the rule of a supernet, as data.

Torch-free. A block's place in the supernet is its *site* (``GridSpace.sites``); layers of one name at one site share
their tensors. A tensor has the largest size that any architecture needs, and each takes a prefix of every channel axis:
its first output channels, its first input channels, its first heads. Kernels take the centre.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Literal, NamedTuple

from search_spaces.arch import Architecture, Block
from search_spaces.expand import block_inputs, expand_block
from search_spaces.extremes import largest, smallest
from search_spaces.layer_list import LayerList
from search_spaces.layers import CONV, INPUT, LAYER_NORM, LINEAR, NORM, POSITION, Layer, Shape
from search_spaces.space import GridSpace, Knob, Value

ANY_SIDE = 512  # of the images at which layers are expanded; tensors do not depend on it
HEAD = "head"  # site of the classifier
STATISTICS = ("running_mean", "running_var")


class NoSupernet(ValueError):
    """The space has no supernet, or an architecture needs a tensor that the supernet does not have."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """How far weights are shared.

    Attributes:
        kernels: of k x k kernels: "centre", the centre of the largest one; "transform", that centre through learned
            matrices, from each size to the next smaller one (Once-for-all, arXiv 1908.09791); "apart", one tensor each.
            Patches, whose stride is their side, are always apart.
        norms: "shared" slices one norm, "width" has one for each output width.
        classifier: "shared" slices its inputs, "width" has one for each input width.
    """

    kernels: Literal["centre", "transform", "apart"] = "centre"
    norms: Literal["shared", "width"] = "shared"
    classifier: Literal["shared", "width"] = "shared"

    def __post_init__(self) -> None:
        known = {
            "kernels": ("centre", "transform", "apart"),
            "norms": ("shared", "width"),
            "classifier": ("shared", "width"),
        }
        for name, choices in known.items():
            if getattr(self, name) not in choices:
                raise NoSupernet(f"sharing.{name}={getattr(self, name)!r}, expected one of {', '.join(choices)}")


class Use(NamedTuple):
    """One tensor of one layer.

    Attributes:
        name: in the architecture's own network, as in its state dict: ``blocks.3.s0.u0.a.conv.weight``.
        shared: name of the shared tensor that it is a slice of: ``2-1.s0.u0.a.conv.weight``.
        shape: of the slice; channels are a prefix.
        kernel: side of the k x k kernel, the last two axes; 0 where there is none.
    """

    name: str
    shared: str
    shape: tuple[int, ...]
    kernel: int = 0


def uses(sites: Iterable[str], layers: Iterable[Layer], sharing: Sharing) -> list[Use]:
    """Every tensor of an expanded architecture, parameters and running statistics.

    Args:
        sites: of its blocks, in order.
        layers: of ``expand`` with a classifier.
        sharing: the rule.
    """
    places = tuple(sites)
    return [use for layer in layers for use in _uses_of(layer, _site_of(layer, places), sharing)]


def _site_of(layer: Layer, sites: tuple[str, ...]) -> str:
    """Name of the layer in the supernet."""
    if layer.block < 0:
        return layer.name
    return f"{sites[layer.block]}.{layer.name.split('.', 2)[2]}"


def _uses_of(layer: Layer, place: str, sharing: Sharing) -> Iterator[Use]:
    if layer.op == CONV:
        apart = layer.kernel > 1 and (sharing.kernels == "apart" or layer.kernel == layer.stride)
        place += f"@k{layer.kernel}" if apart else ""
        shape = (layer.channels, layer.in_channels // layer.groups, layer.kernel, layer.kernel)
        yield Use(f"{layer.name}.weight", f"{place}.weight", shape, layer.kernel)
        if layer.bias:
            yield Use(f"{layer.name}.bias", f"{place}.bias", (layer.channels,))
    elif layer.op in (NORM, LAYER_NORM):
        place += f"@{layer.channels}" if sharing.norms == "width" else ""
        for leaf in ("weight", "bias", *(STATISTICS if layer.op == NORM else ())):
            yield Use(f"{layer.name}.{leaf}", f"{place}.{leaf}", (layer.channels,))
    elif layer.op == POSITION:
        yield Use(f"{layer.name}.weight", f"{place}.weight", (layer.channels, layer.kernel, layer.kernel))
    elif layer.op == LINEAR:
        place += f"@{layer.in_channels}" if sharing.classifier == "width" else ""
        yield Use(f"{layer.name}.weight", f"{place}.weight", (layer.channels, layer.in_channels))
        yield Use(f"{layer.name}.bias", f"{place}.bias", (layer.channels,))


def shared_shapes(
    space: GridSpace, sharing: Sharing, *, num_classes: int, in_channels: int, capacity: float = 1.0
) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every shared tensor: the largest that an architecture of the space needs.

    Architectures are visited that have each choice of each knob, and each pair of choices of knobs of one block,
    beside the largest and the smallest of all others.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    seen: set[tuple[str, Block, Shape]] = set()
    for member in _covering(space):
        arch = enlarged(member, capacity)
        sites, last = space.sites(member), (in_channels, ANY_SIDE, ANY_SIDE)
        for site, (block, shape) in zip(sites, block_inputs(arch, (in_channels, ANY_SIDE, ANY_SIDE)), strict=True):
            layers = () if (site, block, shape) in seen else expand_block(block, shape)
            seen.add((site, block, shape))
            for layer in layers:
                for use in _uses_of(layer, f"{site}.{layer.name}", sharing):
                    shapes[use.shared] = _grown(use, shapes.get(use.shared))
            last = layers[-1].shape if layers else last
        for layer in classifier((arch.blocks[-1].channels, 1, 1), num_classes):
            for use in _uses_of(layer, layer.name, sharing):
                shapes[use.shared] = _grown(use, shapes.get(use.shared))
    return shapes


def classifier(shape: Shape, num_classes: int) -> list[Layer]:
    """Global pooling and the linear layer, as ``expand`` appends them."""
    head = LayerList(shape)
    head.linear(head.global_pool(INPUT, f"{HEAD}.pool"), f"{HEAD}.fc", num_classes)
    return head.layers


def _grown(use: Use, known: tuple[int, ...] | None) -> tuple[int, ...]:
    if known is None:
        return use.shape
    if len(known) != len(use.shape):
        raise NoSupernet(
            f"supernet: {use.shared} has {len(known)} axes in one architecture and {len(use.shape)} in another; "
            "give the blocks different sites"
        )
    return tuple(map(max, known, use.shape))


def _covering(space: GridSpace) -> Iterator[Architecture]:
    for base in (largest(space), smallest(space)):
        values = space.values_of(base)
        yield base
        for changed in _changes(space.knobs):
            yield space.decode({**values, **changed})


def _changes(knobs: tuple[Knob, ...]) -> Iterator[dict[str, Value]]:
    """Each choice of each knob; each pair of choices of knobs of one block, or of the whole network and any other."""
    for knob in knobs:
        for choice in knob.choices:
            yield {knob.name: choice}
    for a, b in combinations(knobs, 2):
        if _block_of(a) == _block_of(b) or "" in (_block_of(a), _block_of(b)):
            for first, second in product(a.choices, b.choices):
                yield {a.name: first, b.name: second}


def _block_of(knob: Knob) -> str:
    """``2.3`` of knob ``2.3.kernel``; "" of one of the whole network."""
    return knob.name.rpartition(".")[0]


def enlarged(arch: Architecture, capacity: float) -> Architecture:
    """The architecture with all widths times the capacity, rounded; heads keep their number and grow in width.

    Source: the winner of track 1 of the CVPR 2021 challenge maps candidates into a supernet of higher capacity; only
    its abstract could be read, so this rule is our reading of it.
    """
    if capacity == 1.0:
        return arch
    return Architecture(tuple(_wider(block, capacity) for block in arch.blocks))


def _wider(block: Block, capacity: float) -> Block:
    def grown(width: int) -> int:
        return max(1, round(width * capacity)) if width else 0

    inner = block.inner if block.kind == "vit_patches" else grown(block.inner)  # there it is the side of the table
    return replace(block, channels=grown(block.channels), inner=inner, head_width=grown(block.head_width))
