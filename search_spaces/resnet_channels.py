"""Widths of a ResNet-20: the search space of track 1 of the CVPR 2021 NAS competition, on CIFAR-100.

A network is published as ``16-16-…``: the widths of its 19 convolutions, and a 20th number that has no effect; as
text here, ``resnet20:16-16-…``. Convolutions 1-7 take up to 16 channels, 8-13 up to 32, 14-19 up to 64, in steps of 4.
Every shortcut is a 1x1 convolution with norm, also where the width stays.
Source: "1st lightweight NAS challenge and moving beyond", CVPR 2021; the organisers' network as it stands in three
published solutions. Checked against: tests/golden/resnet20_channels.json.
"""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.space import GridSpace, Knob, Value

PREFIX = "resnet20:"
_MOST = (*(16,) * 7, *(32,) * 6, *(64,) * 6)
_STEP = 4
_HALVING = (4, 7)  # blocks with stride 2; the stem is block 0


class ResNetChannelsSpace(GridSpace):
    """19 widths; knob ``i`` is that of convolution i, from 1."""

    name = "resnet20-channels"
    knobs = tuple(Knob(f"{i}", tuple(range(_STEP, most + 1, _STEP))) for i, most in enumerate(_MOST, 1))

    def decode(self, values: Mapping[str, Value]) -> Architecture:
        """A stem and nine residual blocks."""
        stem, *widths = (int(values[knob.name]) for knob in self.knobs)
        pairs = zip(widths[::2], widths[1::2], strict=True)
        blocks = (_residual(i, inner, out) for i, (inner, out) in enumerate(pairs, 1))
        return Architecture((Block("conv", stem), *blocks))

    def values_of(self, arch: Architecture) -> dict[str, Value]:
        """Read the widths back."""
        count = (len(self.knobs) + 1) // 2
        if len(arch.blocks) != count:
            raise InvalidArchitecture(f"{self.name}: {len(arch.blocks)} blocks, expected {count}")
        widths: list[int] = []
        for i, block in enumerate(arch.blocks):
            expected = _residual(i, block.inner, block.channels) if i else Block("conv", block.channels)
            if block != expected:
                raise InvalidArchitecture(f"{self.name}: blocks[{i}] is {block}, expected {expected}")
            for field in ("inner", "channels") if i else ("channels",):
                choices = self.knobs[len(widths)].choices
                if getattr(block, field) not in choices:
                    raise InvalidArchitecture(
                        f"{self.name}: blocks[{i}].{field}={getattr(block, field)}, expected one of {choices}"
                    )
                widths.append(getattr(block, field))
        return {knob.name: width for knob, width in zip(self.knobs, widths, strict=True)}


def _residual(at: int, inner: int, out: int) -> Block:
    return Block("projected_basic", out, stride=2 if at in _HALVING else 1, inner=inner)


RESNET20_CHANNELS = ResNetChannelsSpace()


def looks_like(text: str) -> bool:
    """Whether the text is meant to be a list of ResNet-20 widths."""
    return text.lstrip().startswith(PREFIX)


def read(text: str) -> tuple[Architecture, int]:
    """Read ``resnet20:16-16-…``: 19 widths, or 20 as published, of which the last has no effect.

    Returns: the architecture and its number of input channels, 3.
    Raises: InvalidArchitecture: naming the width.
    """
    parts = text.strip().removeprefix(PREFIX).split("-")
    knobs = RESNET20_CHANNELS.knobs
    if len(parts) not in (len(knobs), len(knobs) + 1):
        raise InvalidArchitecture(f"ResNet-20 widths {text.strip()[:60]!r}: {len(parts)} numbers, expected 19 or 20")
    for i, part in enumerate(parts):
        choices = knobs[min(i, len(knobs) - 1)].choices
        if part not in map(str, choices):
            raise InvalidArchitecture(f"ResNet-20 widths: width {i + 1} is {part[:20]!r}, expected one of {choices}")
    return RESNET20_CHANNELS.decode({knob.name: int(part) for knob, part in zip(knobs, parts, strict=False)}), 3


def write(arch: Architecture, in_channels: int = 3) -> str:
    """The 19 widths of a member.

    Raises: InvalidArchitecture: no member, or other than 3 input channels.
    """
    if in_channels != 3:
        raise InvalidArchitecture(f"ResNet-20 widths: {in_channels} input channels, expected 3")
    return PREFIX + "-".join(map(str, RESNET20_CHANNELS.values_of(arch).values()))
