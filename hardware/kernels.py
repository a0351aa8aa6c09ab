"""Kernels: the pieces in which runtimes execute a network, each a convolution or other operation with what it absorbs.

Inference runtimes fold normalisation into the convolution before it, and compute the activation or the residual
addition behind a convolution in the same pass. A ``Kernel`` is one such pass: pure data, comparable, with all shapes.
Latencies are measured, learned and tabulated by kernel. What a runtime fuses further or not at all shows in the times:
they are attributed by layer (``hardware.kernel_times``), not by a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

from search_spaces.layers import (
    ACTIVATIONS,
    ADD,
    ATTENTION,
    CONV,
    INPUT,
    LINEAR,
    NORM,
    OPS,
    Layer,
    Shape,
)

DENSE, POINTWISE, DEPTHWISE, GROUPED = "conv", "pointwise", "depthwise", "grouped"
CONV_KINDS = (DENSE, POINTWISE, DEPTHWISE, GROUPED)
KINDS = (*CONV_KINDS, *(op for op in OPS if op != CONV))
FLOAT_BYTES = 4


class InvalidKernel(ValueError):
    """The values do not describe a kernel; the message says which and what was expected."""


class Kernel(NamedTuple):
    """One pass over the data.

    Attributes:
        kind: one of ``KINDS``: "conv" (dense, wider than 1x1), "pointwise" (dense 1x1), "depthwise", "grouped", or the
            operation of a layer that is none.
        in_shape: (channels, height, width) of its first input, of one image.
        shape: (channels, height, width) of its output.
        kernel: side of the square window; of a position table.
        stride: of a convolution or pooling.
        groups: of a convolution; heads of an attention.
        act: activation computed in the same pass, a name of ``search_spaces.layers.ACTIVATIONS``, or "".
        adds: whether a residual addition is computed in the same pass.
        batch: images per call.
    """

    kind: str
    in_shape: Shape
    shape: Shape
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    act: str = ""
    adds: bool = False
    batch: int = 1

    @property
    def is_conv(self) -> bool:
        """Whether it is a convolution of any kind."""
        return self.kind in CONV_KINDS

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole batch; 0 for what only moves data."""
        return self.batch * _layer_of(self._replace(batch=1)).macs

    @property
    def weight_count(self) -> int:
        """Scalars of its weights and biases, normalisation folded in."""
        if self.is_conv:
            return self.shape[0] * (self.kernel**2 * self.in_shape[0] // self.groups + 1)
        return _layer_of(self._replace(batch=1)).weight_count

    @property
    def traffic(self) -> int:
        """Scalars read and written for the whole batch, weights once; a fused addition reads one more map."""
        inputs = prod(self.in_shape) * (3 if self.kind == ATTENTION else 1)
        maps = inputs + prod(self.shape) * (2 if self.adds or self.kind == ADD else 1)
        return self.batch * maps + self.weight_count


class Fused(NamedTuple):
    """A kernel and the positions of the layers that it computes; the first is its main operation."""

    kernel: Kernel
    layers: tuple[int, ...]


def fuse(layers: Sequence[Layer], batch: int = 1) -> tuple[Fused, ...]:
    """The kernels of a network, or of a part of one, in the order of their main layers. Every layer belongs to one.

    A convolution takes in the norm that is its only reader, then an activation; or a residual addition, the main path
    before the shortcut, with the activation behind it. Any other layer is a kernel of its own.

    Args:
        layers: of ``expand`` or one of its parts.
        batch: images per call.
    """
    readers: dict[int, list[int]] = {}
    for at, layer in enumerate(layers):
        for i in set(layer.inputs):
            readers.setdefault(i, []).append(at)
    taken: set[int] = set()
    found: list[Fused] = []
    for at, layer in enumerate(layers):
        if at in taken:
            continue
        members = _absorbed(layers, at, readers) if layer.op in (CONV, ADD) else [at]
        taken.update(members)
        found.append(Fused(_kernel(layers, members, batch), tuple(members)))
    return tuple(found)


def kernels_of(layers: Sequence[Layer], batch: int = 1) -> tuple[Kernel, ...]:
    """The kernels alone."""
    return tuple(fused.kernel for fused in fuse(layers, batch))


def _absorbed(layers: Sequence[Layer], at: int, readers: dict[int, list[int]]) -> list[int]:
    """Positions that a convolution or addition computes in its pass, itself first."""
    members = [at]

    def follow(*ops: str) -> bool:
        behind = readers.get(members[-1], [])
        if len(behind) != 1 or layers[behind[0]].op not in ops:
            return False
        members.append(behind[0])
        return True

    if layers[at].op == CONV:
        follow(NORM)
        if _takes_addition(layers, members[-1], readers):
            follow(ADD)
    follow(*ACTIVATIONS)
    return members


def _takes_addition(layers: Sequence[Layer], at: int, readers: dict[int, list[int]]) -> bool:
    """Whether the addition behind this position is computed by it: by the first operand that only the sum reads."""
    behind = readers.get(at, [])
    if len(behind) != 1 or layers[behind[0]].op != ADD:
        return False
    return at == next(i for i in layers[behind[0]].inputs if _is_conv_result(layers, i) and len(readers[i]) == 1)


def _is_conv_result(layers: Sequence[Layer], at: int) -> bool:
    if at != INPUT and layers[at].op == NORM:
        at = layers[at].inputs[0]
    return at != INPUT and layers[at].op == CONV


def _kernel(layers: Sequence[Layer], members: Sequence[int], batch: int) -> Kernel:
    main = layers[members[0]]
    ops = [layers[at].op for at in members[1:]]
    return Kernel(
        kind=conv_kind(main) if main.op == CONV else main.op,
        in_shape=main.in_shape,
        shape=main.shape,
        kernel=main.kernel,
        stride=main.stride,
        groups=main.groups,
        act=next((op for op in ops if op in ACTIVATIONS), ""),
        adds=ADD in ops,
        batch=batch,
    )


def conv_kind(layer: Layer) -> str:
    """The kind of a convolution's kernel."""
    if layer.groups == 1:
        return POINTWISE if layer.kernel == 1 else DENSE
    return DEPTHWISE if layer.groups == layer.in_channels == layer.channels else GROUPED


@lru_cache(maxsize=50_000)
def _layer_of(kernel: Kernel) -> Layer:
    """The main layer of a kernel, for its counts."""
    op = CONV if kernel.is_conv else kernel.kind
    return Layer(
        "", op, (INPUT,), kernel.in_shape, kernel.shape, kernel.kernel, kernel.stride, kernel.groups, op == LINEAR
    )


def check_kernel(kernel: Kernel, where: str = "kernel") -> None:
    """Raise InvalidKernel, naming the place, unless the values make sense together."""
    if kernel.kind not in KINDS:
        raise InvalidKernel(f"{where}: kind={kernel.kind!r}, expected one of {', '.join(KINDS)}")
    sizes = {"batch": kernel.batch, "kernel": kernel.kernel, "stride": kernel.stride, "groups": kernel.groups}
    names = ("channels", "height", "width")
    sizes |= {f"in_{name}": size for name, size in zip(names, kernel.in_shape, strict=True)}
    sizes |= dict(zip(names, kernel.shape, strict=True))
    for name, size in sizes.items():
        if type(size) is not int or size < 1:
            raise InvalidKernel(f"{where}: {name}={size!r}, expected a whole number of at least 1")
    if kernel.act and kernel.act not in ACTIVATIONS:
        raise InvalidKernel(f"{where}: act={kernel.act!r}, expected none or one of {', '.join(ACTIVATIONS)}")
    if kernel.is_conv:
        _check_groups(kernel, where)


def _check_groups(kernel: Kernel, where: str) -> None:
    if kernel.in_shape[0] % kernel.groups or kernel.shape[0] % kernel.groups:
        raise InvalidKernel(
            f"{where}: groups={kernel.groups} do not divide {kernel.in_shape[0]} input and {kernel.shape[0]} output "
            "channels"
        )
    expected = conv_kind(_layer_of(kernel._replace(batch=1)))
    if kernel.kind != expected:
        raise InvalidKernel(
            f"{where}: kind={kernel.kind!r}, but a {kernel.kernel}x{kernel.kernel} convolution with groups="
            f"{kernel.groups} is {expected!r}"
        )


def total_weights(kernels: Iterable[Kernel]) -> int:
    """Scalars of all weights."""
    return sum(kernel.weight_count for kernel in kernels)
