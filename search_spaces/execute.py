"""Layers + tensors -> outputs: the functional forward pass, without modules.

The same layers that ``build`` turns into an ``nn.Module`` run here on tensors that somebody else owns: random
weights of a proxy, slices of a supernet, the state dict of a trained network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from search_spaces.layers import (
    ADD,
    CONV,
    INPUT,
    LAYER_NORM,
    LINEAR,
    MUL,
    NORM,
    NORM_EPS,
    POSITION,
    Layer,
    main_path,
)
from search_spaces.operations import add_positions, channel_norm, compute

NormMode = Literal["batch", "given", "update"]


class MissingTensor(KeyError):
    """A layer has no tensor of the name it needs; the message says which and of what shape."""

    def __str__(self) -> str:
        """Show the message without the quotes of KeyError."""
        return str(self.args[0])


def execute(
    layers: Sequence[Layer],
    tensors: Mapping[str, Tensor],
    x: Tensor,
    *,
    norm: NormMode = "given",
    eps: float = NORM_EPS,
    momentum: float = 0.1,
) -> Tensor:
    """Run a network on given tensors.

    Args:
        layers: the network; its outputs are those of the last layer.
        tensors: by the names of a state dict: ``<layer>.weight``, ``.bias``, ``.running_mean``,
            ``.running_var``. A norm without weight and bias only normalises.
        x: (N, C, H, W) float.
        norm: "given" normalises by the running statistics, as in evaluation; "batch" by those of x; "update" also moves
            the running ones in place, as in training.
        eps: added to the variance of a norm.
        momentum: share of the batch in running statistics that are moved.
    Returns: (N, C, H, W), or (N, classes) after a linear layer.
    Raises: MissingTensor.
    """
    last_use = {i: at for at, layer in enumerate(layers) for i in layer.inputs}
    values: dict[int, Tensor] = {INPUT: x}
    for at, layer in enumerate(layers):
        inputs = [values[i] for i in layer.inputs]
        for i in set(layer.inputs):
            if last_use[i] == at:
                del values[i]
        if layer.op == NORM:
            values[at] = _normalise(layer, tensors, inputs[0], norm, eps, momentum)
        else:
            values[at] = _run(layer, tensors, inputs)
    return values[len(layers) - 1]


def plain_network(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Drop residual links and gates; the rest are layers that run, and what Zen-Score looks at."""
    kept = [layer for layer in main_path(layers) if layer.op not in (ADD, MUL)]
    return tuple(layer._replace(inputs=(at - 1,)) for at, layer in enumerate(kept))


def _run(layer: Layer, tensors: Mapping[str, Tensor], inputs: list[Tensor]) -> Tensor:
    x = inputs[0]
    if layer.op == CONV:
        weight = _tensor(layer, tensors, "weight")
        bias = _tensor(layer, tensors, "bias") if layer.bias else None
        return F.conv2d(x, weight, bias, layer.stride, layer.padding, 1, layer.groups)
    if layer.op == LINEAR:
        return F.linear(x.flatten(1), _tensor(layer, tensors, "weight"), _tensor(layer, tensors, "bias"))
    if layer.op == POSITION:
        return add_positions(x, _tensor(layer, tensors, "weight"))
    if layer.op == LAYER_NORM:
        return channel_norm(x, tensors.get(f"{layer.name}.weight"), tensors.get(f"{layer.name}.bias"))
    return compute(layer, inputs)


def _normalise(
    layer: Layer, tensors: Mapping[str, Tensor], x: Tensor, norm: NormMode, eps: float, momentum: float
) -> Tensor:
    weight, bias = tensors.get(f"{layer.name}.weight"), tensors.get(f"{layer.name}.bias")
    if norm == "batch":
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    mean, var = _tensor(layer, tensors, "running_mean"), _tensor(layer, tensors, "running_var")
    return F.batch_norm(x, mean, var, weight, bias, training=norm == "update", momentum=momentum, eps=eps)


def _tensor(layer: Layer, tensors: Mapping[str, Tensor], leaf: str) -> Tensor:
    name = f"{layer.name}.{leaf}"
    try:
        return tensors[name]
    except KeyError:
        expected = f"a tensor for {layer.op} {layer.in_shape} -> {layer.shape}"
        raise MissingTensor(f"{name} is missing, expected {expected}") from None
