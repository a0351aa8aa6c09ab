"""From input to classifier: a slab per sub-layer, as wide as its channels, as high as its maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nas.report.blocks import BlockRow
from nas.report.figures import si
from nas.report.svg import group, line, picture, rect, text
from search_spaces.layers import Shape

TALLEST, THINNEST = 16.0, 3.0  # pixels of a slab at the input's resolution, and at the least
LEAST_WIDTH = 4.0
LETTER = 7.2  # width of a bold letter
SLABS = 24  # drawn per block at most


@dataclass(frozen=True, slots=True)
class _Columns:
    """Horizontal places: resolutions, the middle and width of the slabs, the words."""

    resolution: float
    middle: float
    slabs: float
    words: float
    lines: int
    names: float = 84.0  # width of the kinds


def draw_architecture(rows: Sequence[BlockRow], input_shape: Shape, width: int) -> Markup:
    """Stage by stage from top to bottom; a stage holds the blocks of one resolution."""
    wide = width > 500
    names = max(84.0, LETTER * max(len(row.name) for row in rows) + 12)
    at = _Columns(62, 270, 380, 480, 1, names) if wide else _Columns(46, 122, 130, 198, 2)
    widest = max(input_shape[0], *(row.shape[0] for row in rows[:-1]))
    parts, y = _input(input_shape, at, widest)
    for row, before in zip(rows, [input_shape, *(row.shape for row in rows)], strict=False):
        new_stage = row.shape[1:] != before[1:]
        y += 8 if new_stage else 3
        drawn, height = _block(row, at, y, widest, input_shape[1])
        if new_stage:
            parts.append(line((at.resolution + 8, y - 5), (width, y - 5), "grid"))
            parts.append(text(at.resolution, y + 13, f"{row.shape[1]}×{row.shape[2]}", "tick", "end"))
        parts.append(drawn)
        y += height
    label = f"The network, stage by stage: {len(rows) - 1} blocks from {_shape(input_shape)} to the classifier"
    return picture(width, y + 8, label, *parts)


def _input(shape: Shape, at: _Columns, widest: int) -> tuple[list[Markup], float]:
    channels, height, width = shape
    half = _slab_width(channels, at, widest) / 2
    return [
        text(at.resolution, 17, f"{height}×{width}", "tick", "end"),
        rect((at.middle - half, 4), 2 * half, TALLEST, "slab input"),
        text(at.words, 17, f"input, {channels} channel{'s' if channels > 1 else ''}", "note"),
    ], 6 + TALLEST


def _block(row: BlockRow, at: _Columns, y: float, widest: int, resolution: int) -> tuple[Markup, float]:
    thick = max(THINNEST, TALLEST * row.shape[1] / resolution)
    count = min(row.depth, SLABS)
    room = max(count * (thick + 1.5) - 1.5, 18.0 * at.lines)
    half = _slab_width(row.shape[0], at, widest) / 2 if row.name != "classifier" else LEAST_WIDTH
    first = y + (room - count * (thick + 1.5) + 1.5) / 2
    tip = f"{row.name}, {row.detail}: {row.shape[0]} channels at {row.shape[1]}×{row.shape[2]}"
    kind = "slab head" if row.name == "classifier" else "slab"
    slabs = [rect((at.middle - half, first + i * (thick + 1.5)), 2 * half, thick, kind, tip) for i in range(count)]
    return group(*slabs, *_words(row, at, y + room / 2)), room + 3


def _words(row: BlockRow, at: _Columns, middle: float) -> list[Markup]:
    channels = "" if row.name == "classifier" else f"{row.shape[0]} channels"
    if at.lines == 1:
        return [
            text(at.words, middle + 4, row.name, "name"),
            text(at.words + at.names, middle + 4, channels, "label"),
            text(at.words + at.names + 102, middle + 4, row.detail, "note"),
        ]
    first = f"{row.name}  {channels or si(row.params) + ' params'}"
    return [text(at.words, middle - 3, first, "label"), text(at.words, middle + 12, row.detail, "note small")]


def _slab_width(channels: int, at: _Columns, widest: int) -> float:
    return max(LEAST_WIDTH, at.slabs * channels / widest)


def _shape(shape: Shape) -> str:
    return "×".join(map(str, shape))
