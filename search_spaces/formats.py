"""Every text in which networks are published, in one table: which format a text is in, its reader, its writer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from search_spaces import (
    autoformer_text,
    binas_text,
    nas_bench_201,
    nas_bench_macro,
    ofa_text,
    plainnet,
    resnet_channels,
    tinynas_text,
)
from search_spaces.arch import Architecture, InvalidArchitecture


class Format(NamedTuple):
    """One row of ``FORMATS``.

    Attributes:
        example: how such a text looks, for messages.
        looks_like: whether a text is meant to be in this format.
        read: text -> architecture and its number of input channels; raises InvalidArchitecture.
        write: architecture and input channels -> text; raises InvalidArchitecture where the format lacks a block.
    """

    example: str
    looks_like: Callable[[str], bool]
    read: Callable[[str], tuple[Architecture, int]]
    write: Callable[[Architecture, int], str]


FORMATS: dict[str, Format] = {
    "tinynas": Format(
        "[{'class': 'ConvKXBNRELU', …}, …]", tinynas_text.looks_like, tinynas_text.read, tinynas_text.write
    ),
    "autoformer": Format(
        "{mlp_ratio: [3.5, …], num_heads: [3, …], depth: 13, embed_dim: 192}",
        autoformer_text.looks_like,
        autoformer_text.read,
        autoformer_text.write,
    ),
    "nas-bench-201": Format("|nor_conv_3x3~0|+|…", nas_bench_201.looks_like, nas_bench_201.read, nas_bench_201.write),
    "ofa": Format('{"ks": […], "e": […], "d": […]}', ofa_text.looks_like, ofa_text.read, ofa_text.write),
    "binas": Format("[['ir_r1_k5_s2_e3_c24_se0.25', …], …]", binas_text.looks_like, binas_text.read, binas_text.write),
    "nas-bench-macro": Format(
        "macro:01210212", nas_bench_macro.looks_like, nas_bench_macro.read, nas_bench_macro.write
    ),
    "resnet20-channels": Format(
        "resnet20:16-16-…", resnet_channels.looks_like, resnet_channels.read, resnet_channels.write
    ),
    "plainnet": Format("SuperConvK3BNRELU(…)…", plainnet.looks_like, plainnet.read_structure, plainnet.write_structure),
}


def format_of(text: str) -> str | None:
    """Name of the first format that the text is meant to be in; None for anything else."""
    return next((name for name, row in FORMATS.items() if row.looks_like(text)), None)


def read_published(text: str) -> tuple[Architecture, int]:
    """Read a network in any published format.

    Returns: the architecture and its number of input channels.
    Raises: InvalidArchitecture: malformed, or in no known format.
    """
    name = format_of(text)
    if name is None:
        examples = " or ".join(row.example for row in FORMATS.values())
        raise InvalidArchitecture(f"{text[:60]!r}: no known structure, expected {examples}")
    return FORMATS[name].read(text)


def write_published(arch: Architecture, in_channels: int = 3) -> str:
    """The first published format that has all blocks of the architecture, else its JSON."""
    for row in FORMATS.values():
        try:
            return row.write(arch, in_channels)
        except InvalidArchitecture:
            continue
    return arch.to_json()
