"""nn.Module -> layers: a user's own network as the list that counts, latency models, exports and the linter read.

The module is exported by ``torch.export``, which runs no data through it, and every operation of the graph becomes a
layer. Names are those of the module, so the module's own state dict fits the traced layers (``search_spaces.build``,
``search_spaces.execute``). What the layers cannot express is refused with its place.

Deviations: the layers know one epsilon of a norm (1e-5) and square windows padded by half (or not at all, where they
tile the map); dropout vanishes, as in inference.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from search_spaces.layers import INPUT, Layer, Shape
from search_spaces.trace_operations import HANDLERS, IGNORED, Traced, TraceRefused

__all__ = ["TraceRefused", "trace"]


def trace(module: nn.Module, input_shape: Shape) -> tuple[Layer, ...]:
    """The layers of a module in evaluation mode, in execution order; the last one is its output.

    Args:
        module: takes one batch of images, (N, C, H, W) float, and returns one tensor. It is not changed.
        input_shape: (channels, height, width) of one image.
    Raises: TraceRefused: PyTorch cannot export it, or an operation has no layer; the message names the place.
    """
    program = _exported(module, input_shape)
    tensors = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    traced = Traced(input_shape, program.state_dict, tensors)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            _take_input(traced, node)
        elif node.op == "call_function":
            _take_operation(traced, node)
        elif node.op == "output":
            _check_output(traced, node)
    return tuple(traced.layers)


def _exported(module: nn.Module, input_shape: Shape) -> torch.export.ExportedProgram:
    training = module.training
    try:
        with torch.no_grad():
            return torch.export.export(module.eval(), (torch.zeros(1, *input_shape),), strict=False)
    except Exception as error:  # noqa: BLE001 - a user's module may raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        shape = "x".join(map(str, input_shape))
        raise TraceRefused(
            f"{type(module).__name__}: PyTorch cannot export it for images of {shape} "
            f"({type(error).__name__}: {reason}); expected a module from one batch of images to one tensor"
        ) from None
    finally:
        module.train(training)


def _take_input(traced: Traced, node: fx.Node) -> None:
    if node.name in traced.tensor_names:
        return
    if INPUT in traced.at.values():
        raise TraceRefused(f"input {node.name!r}: a second input; expected one batch of images")
    traced.at[node] = INPUT


def _take_operation(traced: Traced, node: fx.Node) -> None:
    name = str(node.target)
    if name in IGNORED:
        source = node.args[0]
        if source in traced.at:
            traced.at[node] = traced.at[source]
        return
    handler = HANDLERS.get(name)
    if handler is None:
        raise traced.refusal(node, f"operation {name} has no layer")
    handler(traced, node)


def _check_output(traced: Traced, node: fx.Node) -> None:
    results: Any = node.args[0]
    if len(results) != 1 or results[0] not in traced.at:
        raise TraceRefused(f"the module returns {len(results)} values, expected one tensor; wrap it to return one")
    if traced.at[results[0]] != len(traced.layers) - 1:
        raise TraceRefused("the output is not the last thing computed; remove what the module computes in vain")
