"""The rules: what is looked for in a network, on GPUs and on CPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hardware.analytic_latency import KernelModel
from hardware.kernels import kernels_of
from hardware.lint.finding import Finding
from search_spaces.layers import ACTIVATIONS, CONV, INPUT, NORM, Layer, padding_of

GPU_ALIGNMENT = 8  # channels, for matrix units in half precision
HIGH_RESOLUTION = 8  # maps of at least this part of the image's side are large
LAUNCH_BOUND = 1.5  # times the launch: below it a kernel mostly waits
MOST_LAUNCH_BOUND = 0.5  # of the kernels: beyond it the batch is too small


@dataclass(frozen=True)
class Context:
    """What the rules know beside the layers.

    Attributes:
        kind: of the device.
        model: of its kernels.
        batch: images per call.
        side: of the images.
        block: channels that are computed together: of the matrix units, or of the CPU runtime's layout.
        launch_ms: least time of a kernel; 0 where it does not matter.
    """

    kind: Literal["gpu", "cpu"]
    model: KernelModel
    batch: int
    side: int
    block: int
    launch_ms: float = 0.0


Rule = Callable[[Sequence[Layer], Context], Iterator[Finding]]


def depthwise_at_high_resolution(layers: Sequence[Layer], context: Context) -> Iterator[Finding]:
    """On a GPU a full convolution in place of an expansion and a depthwise one is often faster where maps are large."""
    if context.kind != "gpu":
        return
    for at, layer in enumerate(layers):
        if not _is_depthwise(layer) or layer.shape[1] * HIGH_RESOLUTION < context.side:
            continue
        expansion = _pointwise_before(layers, at)
        source = layers[expansion] if expansion is not None else layer
        full = layer._replace(in_shape=source.in_shape, groups=1)
        before = _chain(*([source] if expansion is not None else []), layer)
        what = "the 1x1 before it and this" if expansion is not None else "it"
        yield Finding(
            "depthwise-at-high-resolution",
            (layer.name,),
            f"a depthwise {layer.kernel}x{layer.kernel} on {_size(layer)} does not use the matrix units and moves "
            "much for little work",
            f"replace {what} by one full {layer.kernel}x{layer.kernel} from {full.in_channels} to {full.channels} "
            "channels",
            before,
            _chain(full),
        )


def channels_off_alignment(layers: Sequence[Layer], context: Context) -> Iterator[Finding]:
    """Matrix units and blocked layouts work on whole blocks of channels."""
    step = context.block
    for layer in layers:
        few = layer.in_channels <= 4  # images
        if (
            layer.op != CONV
            or layer.groups > 1
            or (layer.channels % step == 0 and (few or layer.in_channels % step == 0))
        ):
            continue
        wanted_in = layer.in_channels if few else _nearest(layer.in_channels, step)
        wanted = _nearest(layer.channels, step)
        after = layer._replace(in_shape=(wanted_in, *layer.in_shape[1:]), shape=(wanted, *layer.shape[1:]))
        yield Finding(
            "channels-off-alignment",
            (layer.name,),
            f"{layer.in_channels} -> {layer.channels} channels are no multiples of {step}: part of a block is wasted",
            f"{wanted_in} -> {wanted} channels",
            _chain(layer),
            _chain(after),
        )


def groups_off_the_vectors(layers: Sequence[Layer], context: Context) -> Iterator[Finding]:
    """CPU runtimes leave their blocked layout where channels per group are not whole vectors."""
    if context.kind != "cpu":
        return
    for layer in layers:
        if layer.op != CONV or layer.groups == 1 or _is_depthwise(layer):
            continue
        per_group = (layer.in_channels // layer.groups, layer.channels // layer.groups)
        if not (per_group[0] % context.block or per_group[1] % context.block):
            continue
        groups = _whole_groups(layer, context.block)
        yield Finding(
            "groups-off-vectors",
            (layer.name,),
            f"groups of {per_group[0]} -> {per_group[1]} channels leave the blocked layout (im2col, two copies)",
            f"{groups} groups of {layer.in_channels // groups} -> {layer.channels // groups} channels"
            if groups > 1
            else "a convolution without groups",
            _chain(layer),
            _chain(layer._replace(groups=groups)),
        )


def window_beyond_the_map(layers: Sequence[Layer], context: Context) -> Iterator[Finding]:
    """Taps that never meet the map are weights and work for nothing."""
    for layer in layers:
        side = max(layer.in_shape[1:])
        if layer.op != CONV or layer.kernel <= 2 * side - 1 or layer.kernel == layer.stride:
            continue
        kernel = 2 * side - 1
        if (side + 2 * padding_of(kernel, layer.stride) - kernel) // layer.stride + 1 != max(layer.shape[1:]):
            continue
        yield Finding(
            "window-beyond-the-map",
            (layer.name,),
            f"a {layer.kernel}x{layer.kernel} window on a map of {side}x{side}: most taps only see padding",
            f"a {kernel}x{kernel} window; it computes the same with the inner weights",
            _chain(layer),
            _chain(layer._replace(kernel=kernel)),
        )


def launch_bound(layers: Sequence[Layer], context: Context) -> Iterator[Finding]:
    """Where most kernels take little more than their launch, images should share it."""
    if context.kind != "gpu" or not context.launch_ms:
        return
    kernels = kernels_of(layers, context.batch)
    waiting = int(sum(context.model.predict_ms(kernels) < LAUNCH_BOUND * context.launch_ms))
    if waiting <= MOST_LAUNCH_BOUND * len(kernels):
        return
    batch = 8 * context.batch
    yield Finding(
        "launch-bound",
        (),
        f"{waiting} of {len(kernels)} kernels take less than {LAUNCH_BOUND:g} launches at batch {context.batch}",
        f"batch {batch}, or fewer and wider layers; the figures are for one image",
        tuple(layers),
        tuple(layers),
        batch,
    )


RULES: tuple[Rule, ...] = (
    depthwise_at_high_resolution,
    channels_off_alignment,
    groups_off_the_vectors,
    window_beyond_the_map,
    launch_bound,
)


def _is_depthwise(layer: Layer) -> bool:
    return layer.op == CONV and layer.groups > 1 and layer.groups == layer.in_channels == layer.channels


def _pointwise_before(layers: Sequence[Layer], at: int) -> int | None:
    """Position of the 1x1 convolution whose result, normed and activated, this layer alone reads."""
    readers: dict[int, int] = {}
    for layer in layers:
        for i in layer.inputs:
            readers[i] = readers.get(i, 0) + 1
    source = layers[at].inputs[0]
    while source != INPUT and readers[source] == 1 and layers[source].op in (NORM, *ACTIVATIONS):
        source = layers[source].inputs[0]
    found = layers[source] if source != INPUT and readers[source] == 1 else None
    return source if found and found.op == CONV and found.kernel == 1 and found.groups == 1 else None


def _chain(*convs: Layer) -> tuple[Layer, ...]:
    """Convolutions one after the other, alone; norms and activations are fused and add nothing."""
    return tuple(conv._replace(inputs=(at - 1,), name=f"conv{at}", block=0) for at, conv in enumerate(convs))


def _whole_groups(layer: Layer, block: int) -> int:
    """The most groups, no more than there are, whose channels are whole vectors; 1 where there are none."""
    fits = (
        groups
        for groups in range(layer.groups, 0, -1)
        if not (layer.in_channels % (groups * block) or layer.channels % (groups * block))
    )
    return next(fits, 1)


def _nearest(channels: int, step: int) -> int:
    return max(step, (channels + step // 2) // step * step)


def _size(layer: Layer) -> str:
    return "x".join(map(str, layer.in_shape[1:]))
