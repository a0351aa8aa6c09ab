"""Models named on the command line, for the commands that time them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.cli.options import shapes


@dataclass(frozen=True)
class ImageOptions:
    """What ``task_options`` give."""

    data: str | None
    resolution: int | None
    classes: int | None
    in_channels: int | None


def load_model(text: str, images: ImageOptions) -> Any:
    """An .onnx file, or an architecture (published structure, JSON file, RUN:ID), which gets random weights."""
    from hardware.measure import LayerModel, OnnxFile
    from nas.spec import load_spec
    from search_spaces.arch import InvalidArchitecture

    if text.endswith(".onnx"):
        if not Path(text).is_file():
            raise InvalidArchitecture(f"{text}: no such file, expected an ONNX model")
        side = images.resolution
        return OnnxFile(Path(text), (images.in_channels or 3, side, side) if side else None)
    spec = load_spec(text)
    own_data = spec.data if images.data is None and images.resolution is None else images.data
    channels = images.in_channels or spec.in_channels
    shape, num_classes = shapes(own_data, images.resolution, images.classes, channels)
    name = text if len(text) <= 32 else spec.arch.digest
    return LayerModel.of(spec.arch, shape, num_classes, name)
