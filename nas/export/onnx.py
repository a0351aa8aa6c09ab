"""A trained network -> ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nas.export.errors import ExportFailed
from search_spaces.arch import InvalidArchitecture
from search_spaces.build import Network
from search_spaces.layers import Shape
from search_spaces.onnx_graph import WeightsMismatch, onnx_model


def write_onnx(model: Network, path: Path, input_shape: Shape, *, batch: int | None = 1) -> Path:
    """Write the inference graph with norms folded into convolutions; input "images", output "logits".

    Args:
        model: its weights and statistics as they are; the mode does not matter.
        path: of the file.
        input_shape: (channels, height, width) of one normalised image.
        batch: images per call; None leaves it open.
    Returns: the path.
    Raises: ExportFailed: the network does not take such images, or a weight does not fit.
    """
    weights = {
        name: np.ascontiguousarray(tensor.detach().cpu().numpy())
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }
    if input_shape[0] != model.in_channels:
        raise ExportFailed(f"ONNX: input shape {input_shape}, the network takes {model.in_channels} channel(s)")
    try:
        layers = model.layers_at(input_shape)
        proto = onnx_model(layers, weights, input_shape, batch=batch)
    except (InvalidArchitecture, WeightsMismatch) as error:
        raise ExportFailed(f"ONNX: {error}") from None
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return path
