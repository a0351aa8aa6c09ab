"""ResNets of any width, with basic, bottleneck and grouped (ResNeXt, RegNetX) stages: stem, four stages, classifier.

Widths that are no multiple of 8, and groups of few channels, are choices like any others: what they cost differs
between devices more than anything else in this space.
"""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.space import GridSpace, Knob, Value

BASIC, BOTTLENECK, GROUPED = "basic", "bottleneck", "grouped"
_KINDS = {BASIC: "resnet_basic", BOTTLENECK: "resnet_bottleneck", GROUPED: "resnext"}
_STEMS = (12, 16, 20, 24, 32, 40)
_WIDTHS = (
    (16, 20, 24, 30, 32, 40, 48, 52, 64),
    (32, 36, 44, 48, 57, 64, 80, 96, 112, 128),
    (64, 72, 84, 96, 107, 128, 160, 192, 224, 256),
    (96, 116, 128, 160, 197, 224, 256, 320, 384, 512),
)
_RATIOS = (0.25, 0.5, 1.0)  # of the inner width to the channels
_GROUP_WIDTHS = (4, 8, 12, 16, 24, 32)


class ResNetSpace(GridSpace):
    """A stem and four stages, each with its kind, width, inner ratio, group width and depth.

    Args:
        name: of the space.
        stem_stride: 1 for small images, 2 else; the first stage then has the same.
        depths: choices of every stage.
    """

    def __init__(self, name: str, stem_stride: int, depths: tuple[int, ...]) -> None:
        self.name = name
        self.stem_stride = stem_stride
        knobs = [Knob("stem", _STEMS)]
        for i, widths in enumerate(_WIDTHS):
            knobs += [
                Knob(f"{i}.kind", tuple(_KINDS)),
                Knob(f"{i}.width", widths),
                Knob(f"{i}.ratio", _RATIOS),
                Knob(f"{i}.group_width", _GROUP_WIDTHS),
                Knob(f"{i}.depth", depths),
            ]
        self.knobs = tuple(knobs)

    def decode(self, values: Mapping[str, Value]) -> Architecture:
        """Stem and stages; only grouped stages have a group width."""
        blocks = [Block("conv", int(values["stem"]), stride=self.stem_stride)]
        for i in range(len(_WIDTHS)):
            stride = 1 if i == 0 and self.stem_stride == 1 else 2
            blocks.append(_stage({name: values[f"{i}.{name}"] for name in _STAGE_KNOBS}, stride))
        return Architecture(tuple(blocks))

    def values_of(self, arch: Architecture) -> dict[str, Value]:
        """Read the choices back; of those without effect, and of equal ones, the first."""
        if len(arch.blocks) != 1 + len(_WIDTHS):
            raise InvalidArchitecture(f"{self.name}: {len(arch.blocks)} blocks, expected {1 + len(_WIDTHS)}")
        choices = {knob.name: knob.choices for knob in self.knobs}
        stem = arch.blocks[0]
        if stem != Block("conv", stem.channels, stride=self.stem_stride) or stem.channels not in _STEMS:
            raise InvalidArchitecture(f"{self.name}: blocks[0] is {stem}, expected a stem of {_STEMS} channels")
        values: dict[str, Value] = {"stem": stem.channels}
        for i, block in enumerate(arch.blocks[1:]):
            stride = 1 if i == 0 and self.stem_stride == 1 else 2
            values |= self._stage_values(i, block, stride, choices)
        return values

    def _stage_values(
        self, i: int, block: Block, stride: int, choices: Mapping[str, tuple[Value, ...]]
    ) -> dict[str, Value]:
        fixed: dict[str, Value] = {
            "width": block.channels,
            "depth": block.depth,
            "group_width": block.group_width or _GROUP_WIDTHS[0],
        }
        fixed["kind"] = next((name for name, kind in _KINDS.items() if kind == block.kind), block.kind)
        for name, value in fixed.items():
            if value not in choices[f"{i}.{name}"]:
                raise InvalidArchitecture(
                    f"{self.name}: blocks[{i + 1}] has {name} {value!r}, expected one of {choices[f'{i}.{name}']}"
                )
        for ratio in _RATIOS:
            values: dict[str, Value] = {**fixed, "ratio": ratio}
            if _stage(values, stride) == block:
                return {f"{i}.{name}": values[name] for name in _STAGE_KNOBS}
        raise InvalidArchitecture(
            f"{self.name}: blocks[{i + 1}] is {block}, expected stride {stride} and an inner width of "
            f"{', '.join(f'{ratio:g}' for ratio in _RATIOS)} times the channels"
        )


_STAGE_KNOBS = ("kind", "width", "ratio", "group_width", "depth")


def _stage(values: Mapping[str, Value], stride: int) -> Block:
    kind, width, depth = str(values["kind"]), int(values["width"]), int(values["depth"])
    inner = max(1, round(width * float(values["ratio"])))
    group = 0
    if kind == GROUPED:
        group = int(values["group_width"])
        inner = group * max(1, round(inner / group))
    return Block(_KINDS[kind], width, 3, stride, depth, inner, group_width=group)


RESNET = ResNetSpace("resnet", stem_stride=2, depths=(1, 2, 3, 4, 6))
RESNET_SMALL = ResNetSpace("resnet-small", stem_stride=1, depths=(1, 2, 3))
