"""Search spaces: architectures as data, and everything that turns them into layers and networks."""

from __future__ import annotations

import difflib
from typing import Any

from search_spaces.autoformer import AUTOFORMER_BASE, AUTOFORMER_SMALL, AUTOFORMER_TINY, VIT_TINY
from search_spaces.chain_space import ChainSpace
from search_spaces.genet import GENET, GENET_SMALL, GENET_TINY
from search_spaces.mobilenet import MOBILENETS
from search_spaces.named import NamedFailed, call_named, load_named
from search_spaces.nas_bench_201 import NAS_BENCH_201, NAS_BENCH_201_TINY, TRANSNAS_MICRO
from search_spaces.nas_bench_macro import NAS_BENCH_MACRO
from search_spaces.plugins import Offer, PluginBroken, Table
from search_spaces.resnet import RESNET, RESNET_SMALL
from search_spaces.resnet_channels import RESNET20_CHANNELS
from search_spaces.space import GridSpace
from search_spaces.tinynas import TINYNAS
from search_spaces.zen import ZEN, ZEN_IDW, ZEN_IDW_SE, ZEN_IDW_SMALL, ZEN_IMAGENET, ZEN_TINY

_ALL: tuple[ChainSpace | GridSpace, ...] = (
    *(ZEN, ZEN_TINY, ZEN_IMAGENET, ZEN_IDW, ZEN_IDW_SE, ZEN_IDW_SMALL),
    *(GENET, GENET_SMALL, GENET_TINY),
    *TINYNAS,
    *(AUTOFORMER_TINY, AUTOFORMER_SMALL, AUTOFORMER_BASE, VIT_TINY),
    *(NAS_BENCH_201, NAS_BENCH_201_TINY, TRANSNAS_MICRO),
    *(*MOBILENETS, NAS_BENCH_MACRO, RESNET20_CHANNELS),
    *(RESNET, RESNET_SMALL),
)
_OPERATIONS = ("sample", "mutate", "crossover", "validate", "encode")


def _plugged(offer: Offer) -> Any:
    """A space, or a class of one, of an installed package; its own name must be that of the entry point."""
    found = offer.point.load()
    space = found() if isinstance(found, type) else found
    if missing := _missing(space):
        raise PluginBroken(f"{type(space).__name__} lacks {missing!r}; a space needs name, {', '.join(_OPERATIONS)}")
    if space.name != offer.name:
        raise PluginBroken(f"its name is {space.name!r}, expected {offer.name!r}")
    return space


SPACES: Table[Any] = Table({space.name: space for space in _ALL}, "netwright.spaces", _plugged)
"""Every space by name: ours, and those that installed packages add by the entry points ``netwright.spaces``."""


class UnknownSpace(ValueError):
    """No space of that name, or the object named is not a space."""


def load_space(name: str) -> Any:
    """A space by its name in ``SPACES``, or a user's own as ``package.module:Space`` (an instance or a class).

    Modules are also looked for in the current directory.
    Raises: UnknownSpace: with the known names, or with what is missing.
    """
    if name in SPACES:
        return SPACES[name]
    if ":" not in name:
        near = difflib.get_close_matches(name, SPACES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(SPACES)}"
        raise UnknownSpace(f"space {name!r}: unknown; {hint} (your own: package.module:Space)")
    try:
        found = load_named(name)
        space = call_named(name) if isinstance(found, type) else found
    except NamedFailed as error:
        raise UnknownSpace(f"space {name!r}: {error}") from None
    if missing := _missing(space):
        raise UnknownSpace(
            f"space {name!r}: {type(space).__name__} lacks {missing!r}; a space needs name, {', '.join(_OPERATIONS)}"
        )
    return space


def _missing(space: Any) -> str:
    """The first thing that a space needs and this one lacks; "" if it is one."""
    missing = [operation for operation in _OPERATIONS if not callable(getattr(space, operation, None))]
    if not isinstance(getattr(space, "name", None), str):
        missing.append("name")
    return missing[0] if missing else ""


def default_space(resolution: int) -> str:
    """Name of the ZenNAS space whose strides suit square images of this side."""
    if resolution <= 16:
        return "zen-tiny"
    return "zen" if resolution <= 96 else "zen-imagenet"


def default_elastic_space(resolution: int) -> str:
    """Name of the MobileNetV3 space, with elastic stages for a supernet, that suits square images of this side."""
    if resolution <= 16:
        return "mobilenetv3-tiny-images"
    return "mobilenetv3-small-images" if resolution <= 96 else "mobilenetv3-binas"
