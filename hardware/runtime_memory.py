"""Peak activation memory of ONNX Runtime on a CPU: liveness on the graph as it executes it, buffers as it reuses them.

What ``hardware.counts.peak_memory_bytes`` counts is the least that any runtime needs. ONNX Runtime differs, and the
rules here were read off its optimised graphs and checked against its measured high-water mark
(benchmarks/bench_peak_memory.py): a residual addition is computed in the convolution before it, into the memory of the
shortcut; maps are stored in blocks of sixteen channels with AVX-512, else of eight; what has no blocked kernel (gates,
other groups) gets a copy in plain layout; and a buffer that is free is kept for a later map of exactly its shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import NamedTuple

from hardware.counts import FLOAT_BYTES
from hardware.kernels import fuse
from search_spaces.layers import ACTIVATIONS, ADD, AVG_POOL, CONV, GLOBAL_POOL, INPUT, MAX_POOL, SUM, Layer, Shape

WIDE_BLOCK, NARROW_BLOCK = 16, 8  # channels of the blocked layout, with AVX-512 and without
_ALIGNMENT = 4  # of channels that blocked convolutions take
_KEEPS_LAYOUT = frozenset((ADD, SUM, AVG_POOL, MAX_POOL, GLOBAL_POOL, *ACTIVATIONS))
_IN_PLACE = frozenset((ADD, SUM, *ACTIVATIONS))


class Step(NamedTuple):
    """One node: the values that it reads, the value that it makes, and whose memory it may take over."""

    reads: tuple[str, ...]
    makes: str
    shape: Shape
    takes: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def block_here() -> int:
    """Channels of a block on this machine."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return NARROW_BLOCK
    return WIDE_BLOCK if "avx512f" in flags else NARROW_BLOCK


def onnxruntime_peak_bytes(
    layers: Sequence[Layer], in_shape: Shape, batch: int = 1, *, block: int | None = None
) -> int:
    """Most bytes of float32 activations at once, the images included, which their owner keeps throughout.

    Args:
        layers: a network, or a part of one.
        in_shape: (channels, height, width) of one image.
        batch: images per call.
        block: channels of the blocked layout; of this machine where not given.
    """
    return FLOAT_BYTES * batch * (prod(in_shape) + _peak(runtime_steps(layers, in_shape, block or block_here())))


def runtime_steps(layers: Sequence[Layer], in_shape: Shape, block: int) -> list[Step]:
    """The nodes that the runtime executes, copies between layouts included, in its order."""
    return _Plan(layers, in_shape, block).steps


@dataclass
class _Buffer:
    """Memory that several values of one shape may use one after the other, from its first to its last step."""

    shape: Shape
    first: int
    last: int


def _peak(steps: Sequence[Step]) -> int:
    """Most scalars allocated at one step."""
    last_use = {value: at for at, step in enumerate(steps) for value in step.reads}
    buffers: list[_Buffer] = []
    home: dict[str, int] = {}
    free: list[int] = []
    for at, step in enumerate(steps):
        taken = next((v for v in step.takes if last_use.get(v) == at and _fits(buffers, home, v, step.shape)), None)
        if taken is not None:
            home[step.makes] = home[taken]
        else:
            home[step.makes] = _allocate(buffers, free, step.shape, at)
        buffers[home[step.makes]].last = at
        for value in set(step.reads):
            if value in home:
                buffers[home[value]].last = at
                if last_use[value] == at and value != taken:
                    free.insert(0, home[value])
    spans = [sum(prod(b.shape) for b in buffers if b.first <= at <= b.last) for at in range(len(steps))]
    return max(spans, default=0)


def _fits(buffers: Sequence[_Buffer], home: dict[str, int], value: str, shape: Shape) -> bool:
    return value in home and buffers[home[value]].shape == shape


def _allocate(buffers: list[_Buffer], free: list[int], shape: Shape, at: int) -> int:
    """A free buffer of exactly this shape, or a new one."""
    for index in free:
        if buffers[index].shape == shape:
            free.remove(index)
            return index
    buffers.append(_Buffer(shape, at, at))
    return len(buffers) - 1


@dataclass
class _Plan:
    """The nodes that ONNX Runtime runs, in its order, with the copies between layouts."""

    layers: Sequence[Layer]
    in_shape: Shape
    block: int
    steps: list[Step] = field(default_factory=list)
    blocked: dict[int, bool] = field(default_factory=lambda: {INPUT: False})
    copies: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.fused = {part.layers[0]: part.layers for part in fuse(self.layers)}
        self.result = {members[0]: members[-1] for members in self.fused.values()}
        self.main = {members[-1]: main for main, members in self.fused.items()}
        for main in self._order():
            self._run(main)

    def _order(self) -> list[int]:
        """Main layers in the runtime's order: back from the output, what stands first in the list first."""
        order: list[int] = []
        seen: set[int] = set()
        stack = [(self.main[len(self.layers) - 1], False)]
        while stack:
            main, is_ready = stack.pop()
            if is_ready:
                order.append(main)
            elif main not in seen:
                seen.add(main)
                stack.append((main, True))
                sources = {self.main[at] for at in self._inputs(main) if at != INPUT}
                stack += [(source, False) for source in sorted(sources, reverse=True)]
        return order

    def _run(self, main: int) -> None:
        end, reads = self.result[main], self._inputs(main)
        layer = self.layers[main]
        blocked = self._is_blocked(layer)
        first, *others = reads
        plain_input = layer.op == CONV and layer.groups == 1 and layer.in_channels < self.block
        values = (
            self._value(first, blocked=blocked and not plain_input),
            *(self._value(at, blocked=blocked) for at in others),
        )
        self.blocked[end] = blocked
        shortcuts = values[1:] if layer.op == CONV else values if layer.op in _IN_PLACE else ()
        self.steps.append(
            Step(values, _name(end, blocked=blocked), self._stored(layer.shape, blocked=blocked), shortcuts)
        )

    def _inputs(self, main: int) -> tuple[int, ...]:
        members = self.fused[main]
        inputs = list(self.layers[main].inputs)
        for at in members[1:]:
            inputs += [i for i in self.layers[at].inputs if i not in members]
        return tuple(inputs)

    def _is_blocked(self, layer: Layer) -> bool:
        if layer.op == CONV:
            return _has_blocked_kernel(layer, self.block)
        return layer.op in _KEEPS_LAYOUT and all(self.blocked[i] for i in layer.inputs)

    def _stored(self, shape: Shape, *, blocked: bool) -> Shape:
        """The shape in memory: whole blocks of channels in the blocked layout."""
        channels, height, width = shape
        return (-(-channels // self.block) * self.block if blocked else channels, height, width)

    def _value(self, at: int, *, blocked: bool) -> str:
        """The name of a value in the wanted layout; a copy where it exists in the other only."""
        name = _name(at, blocked=blocked)
        if blocked != self.blocked[at] and name not in self.copies:
            self.copies.add(name)
            shape = self.in_shape if at == INPUT else self.layers[at].shape
            source = _name(at, blocked=not blocked)
            self.steps.append(Step((source,), name, self._stored(shape, blocked=blocked)))
        return name


def _has_blocked_kernel(layer: Layer, block: int) -> bool:
    """Whether the runtime convolves in the blocked layout."""
    if layer.groups == 1:
        return layer.in_channels < block or layer.in_channels % _ALIGNMENT == 0
    if layer.groups == layer.in_channels == layer.channels:
        return layer.channels % _ALIGNMENT == 0
    return not (layer.in_channels // layer.groups % block or layer.channels // layer.groups % block)


def _name(at: int, *, blocked: bool) -> str:
    return f"{at}{'b' if blocked else ''}"
