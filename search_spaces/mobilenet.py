"""Elastic MobileNetV3: stages of inverted residuals with a free depth, and kernel, expansion and gate a block.

Sources: Once-for-all, Cai et al. 2020 (arXiv 1908.09791; ``ofa_mbv3_d234_e346_k357``, widths 1.0 and 1.2) and BINAS,
Nayman et al. 2021 (arXiv 2110.12399, whose table is that of HardCoRe-NAS, arXiv 2102.11646); stems, heads, widths,
strides, activations and gates as in their released code, also where the printed table differs (BINAS: expansions 3, 4,
6; ReLU in stages 1 and 2). The spaces ``*-images`` are ours: the same blocks for small images.
Checked against: tests/golden/mobilenetv3_networks.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise, takewhile

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.layers import HARD_SWISH, RELU
from search_spaces.space import GridSpace, Knob, Value


@dataclass(frozen=True, slots=True)
class MobileStage:
    """One resolution of the space: what all its blocks share.

    Attributes:
        channels: output width; neighbouring stages differ.
        stride: of the first block.
        act: activation.
        gates: whether blocks have squeeze-and-excite; both values make it a knob of every block.
    """

    channels: int
    stride: int
    act: str
    gates: tuple[bool, ...] = (False, True)


@dataclass(frozen=True, slots=True)
class Elastic:
    """What stages and blocks choose from, in order."""

    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    expansions: tuple[int, ...]


class MobileNetSpace(GridSpace):
    """A fixed stem, elastic stages of ``mbconv`` blocks and a fixed head.

    Knobs: ``2.depth`` of the second stage; ``2.3.kernel``, ``2.3.expansion`` and, where gates are free, ``2.3.se`` of
    its third block. The knobs of a block beyond the depth have no effect and count as their first choice.
    """

    def __init__(
        self,
        name: str,
        stem: tuple[Block, ...],
        stages: tuple[MobileStage, ...],
        head: tuple[Block, ...],
        free: Elastic,
    ) -> None:
        if any(a.channels == b.channels for a, b in pairwise(stages)):
            raise ValueError(
                f"{name}: stages of {[s.channels for s in stages]} channels, expected neighbours to differ"
            )
        self.name = name
        self.stem, self.stages, self.head, self.free = stem, stages, head, free
        self.knobs = tuple(self._knobs())

    def _knobs(self) -> Iterator[Knob]:
        for i, stage in enumerate(self.stages, 1):
            yield Knob(f"{i}.depth", self.free.depths)
            for j in range(1, max(self.free.depths) + 1):
                yield Knob(f"{i}.{j}.kernel", self.free.kernels)
                yield Knob(f"{i}.{j}.expansion", self.free.expansions)
                if len(stage.gates) > 1:
                    yield Knob(f"{i}.{j}.se", stage.gates)

    @property
    def cardinality(self) -> int:
        """Number of distinct architectures, as the papers count: choices beyond the depth are not multiplied."""
        whole = 1
        for stage in self.stages:
            choices = len(self.free.kernels) * len(self.free.expansions) * len(stage.gates)
            whole *= sum(choices**depth for depth in self.free.depths)
        return whole

    def decode(self, values: Mapping[str, Value]) -> Architecture:
        """One block for every active position."""
        blocks = []
        for i, stage in enumerate(self.stages, 1):
            for j in range(1, int(values[f"{i}.depth"]) + 1):
                kernel, expansion = int(values[f"{i}.{j}.kernel"]), int(values[f"{i}.{j}.expansion"])
                se = bool(values.get(f"{i}.{j}.se", stage.gates[0]))
                blocks.append(_block(stage, j, kernel, expansion, se))
        return Architecture((*self.stem, *blocks, *self.head))

    def values_of(self, arch: Architecture) -> dict[str, Value]:
        """Read every stage's depth and every block's choices back; inactive positions get the first choices."""
        body = self._body(arch)
        values: dict[str, Value] = {knob.name: knob.choices[0] for knob in self.knobs}
        at = 0
        for i, stage in enumerate(self.stages, 1):
            found = list(takewhile(lambda b, width=stage.channels: b.channels == width, body[at:]))  # type: ignore[misc]
            if len(found) not in self.free.depths:
                raise InvalidArchitecture(
                    f"{self.name}: blocks[{len(self.stem) + at + len(found)}]: stage {i} ends after {len(found)} "
                    f"blocks of {stage.channels} channels, expected one of {self.free.depths}"
                )
            values[f"{i}.depth"] = len(found)
            for j, block in enumerate(found, 1):
                values |= self._choices(i, j, block, f"{self.name}: blocks[{len(self.stem) + at + j - 1}]")
            at += len(found)
        if at < len(body):
            raise InvalidArchitecture(
                f"{self.name}: blocks[{len(self.stem) + at}] is {body[at]}, expected the head {self.head[0]}"
            )
        return values

    def sites(self, arch: Architecture) -> tuple[str, ...]:
        """``stem-0``, ``2-3`` for the third block of the second stage, ``head-0``."""
        values = self.values_of(arch)
        body = [f"{i}-{j}" for i in range(1, len(self.stages) + 1) for j in range(1, int(values[f"{i}.depth"]) + 1)]
        stem = [f"stem-{i}" for i in range(len(self.stem))]
        return (*stem, *body, *(f"head-{i}" for i in range(len(self.head))))

    def _body(self, arch: Architecture) -> tuple[Block, ...]:
        """The blocks between stem and head."""
        blocks, least = arch.blocks, len(self.stem) + len(self.head) + len(self.stages)
        if len(blocks) < least:
            raise InvalidArchitecture(f"{self.name}: {len(blocks)} blocks, expected at least {least}")
        edges = [*enumerate(self.stem), *((at - len(self.head), block) for at, block in enumerate(self.head))]
        for at, fixed in edges:
            if blocks[at] != fixed:
                raise InvalidArchitecture(f"{self.name}: blocks[{at}] is {blocks[at]}, expected {fixed}")
        return blocks[len(self.stem) : len(blocks) - len(self.head)]

    def _choices(self, i: int, j: int, block: Block, where: str) -> dict[str, Value]:
        stage = self.stages[i - 1]
        allowed = {"kernel": self.free.kernels, "expansion": self.free.expansions, "se": stage.gates}
        for field, choices in allowed.items():
            if getattr(block, field) not in choices:
                raise InvalidArchitecture(f"{where}.{field}={getattr(block, field)}, expected one of {choices}")
        expected = _block(stage, j, block.kernel, block.expansion, block.se)
        if block != expected:
            raise InvalidArchitecture(f"{where} is {block}, expected {expected}")
        free = [field for field, choices in allowed.items() if field != "se" or len(choices) > 1]
        return {f"{i}.{j}.{field}": getattr(block, field) for field in free}


def _block(stage: MobileStage, position: int, kernel: int, expansion: int, se: bool) -> Block:
    stride = stage.stride if position == 1 else 1
    return Block("mbconv", stage.channels, kernel, stride, expansion=expansion, se=se, act=stage.act)


def _stages(
    widths: tuple[int, ...], strides: tuple[int, ...], relu: int, gates: tuple[tuple[bool, ...], ...] = ()
) -> tuple[MobileStage, ...]:
    """Stages of which the first ``relu`` have ReLU, the others hard swish."""
    acts = [RELU if i < relu else HARD_SWISH for i in range(len(widths))]
    every = gates or ((False, True),) * len(widths)
    return tuple(MobileStage(*row) for row in zip(widths, strides, acts, every, strict=True))


def _stem(width: int, stride: int, first: int) -> tuple[Block, ...]:
    return Block("conv", width, 3, stride, act=HARD_SWISH), Block("mbconv", first, expansion=1)


def _head(width: int, features: int, kind: str = "pooled_conv") -> tuple[Block, ...]:
    return Block("conv", width, 1, act=HARD_SWISH), Block(kind, features, 1, act=HARD_SWISH)


_STRIDES = (2, 2, 2, 1, 2)
_OFA_GATES = ((False,), (True,), (False,), (True,), (True,))
_OFA = Elastic((2, 3, 4), (3, 5, 7), (3, 4, 6))

MOBILENETV3_OFA = MobileNetSpace(
    "mobilenetv3-ofa",
    _stem(16, 2, 16),
    _stages((24, 40, 80, 112, 160), _STRIDES, 2, _OFA_GATES),
    _head(960, 1280),
    _OFA,
)
MOBILENETV3_OFA_WIDE = MobileNetSpace(
    "mobilenetv3-ofa-w1.2",
    _stem(24, 2, 24),
    _stages((32, 48, 96, 136, 192), _STRIDES, 2, _OFA_GATES),
    _head(1152, 1536),
    _OFA,
)
MOBILENETV3_BINAS = MobileNetSpace(
    "mobilenetv3-binas",
    _stem(32, 2, 16),
    _stages((24, 40, 80, 112, 192), _STRIDES, 2),
    _head(960, 1280, "pooled_conv_bias"),
    Elastic((2, 3, 4), (3, 5), (3, 4, 6)),
)
_SMALL = Elastic((1, 2, 3), (3, 5), (3, 4, 6))
MOBILENETV3_SMALL_IMAGES = MobileNetSpace(  # 24 to 64 pixels
    "mobilenetv3-small-images", _stem(16, 1, 16), _stages((24, 40, 80, 112), (1, 2, 2, 1), 2), _head(384, 512), _SMALL
)
MOBILENETV3_TINY_IMAGES = MobileNetSpace(  # 8 to 16 pixels
    "mobilenetv3-tiny-images", _stem(16, 1, 16), _stages((24, 40, 64), (1, 2, 2), 1), _head(192, 256), _SMALL
)
MOBILENETS = (
    MOBILENETV3_OFA,
    MOBILENETV3_OFA_WIDE,
    MOBILENETV3_BINAS,
    MOBILENETV3_SMALL_IMAGES,
    MOBILENETV3_TINY_IMAGES,
)
