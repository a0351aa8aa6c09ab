"""What can be measured: an ONNX file, or layers with random or with trained weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.layers import CONV, INPUT, RELU, Layer, Shape


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX model on disk with one float32 image input and no open axis but the batch.

    Attributes:
        path: the file.
        input_shape: (channels, height, width); needed only where the file leaves them open.
    """

    path: Path
    input_shape: Shape | None = None

    @property
    def name(self) -> str:
        """For messages and results."""
        return Path(self.path).name


@dataclass(frozen=True)
class LayerModel:
    """A network given as layers; it is timed with random weights, or with those of a file.

    Attributes:
        name: for messages and results.
        layers: of ``expand``; a single block is a network too.
        input_shape: (channels, height, width) of one image.
        seed: of the random weights.
        weights: a safetensors file with tensors named as in a state dict, instead of random ones.
    """

    name: str
    layers: Sequence[Layer]
    input_shape: Shape
    seed: int = 0
    weights: Path | None = None

    @classmethod
    def of(cls, arch: Architecture, input_shape: Shape, num_classes: int | None, name: str = "") -> LayerModel:
        """The model of an architecture; ``num_classes`` None leaves the classifier out."""
        return cls(name or arch.digest, expand(arch, input_shape, num_classes), input_shape)


Model = OnnxFile | LayerModel
CHAIN_LENGTH = 64
CHAIN = LayerModel(
    "chain of the smallest convolutions",
    tuple(Layer(f"c{at}", CONV, (at - 1,), (8, 1, 1), (8, 1, 1)) for at in range(CHAIN_LENGTH)),
    (8, 1, 1),
)
EMPTY = LayerModel("empty network", (Layer("relu", RELU, (INPUT,), (8, 1, 1), (8, 1, 1)),), (8, 1, 1))


def model_to_dict(model: Model) -> dict[str, Any]:
    """JSON-ready form, for the measuring process."""
    if isinstance(model, OnnxFile):
        return {"path": str(Path(model.path).resolve()), "input_shape": model.input_shape}
    return {
        "name": model.name,
        "layers": [layer._asdict() for layer in model.layers],
        "input_shape": model.input_shape,
        "seed": model.seed,
        "weights": None if model.weights is None else str(Path(model.weights).resolve()),
    }


def model_from_dict(data: dict[str, Any]) -> Model:
    """Read what ``model_to_dict`` wrote."""
    shape = tuple(data["input_shape"]) if data["input_shape"] else None
    if "path" in data:
        return OnnxFile(Path(data["path"]), shape)
    assert shape is not None
    weights = Path(data["weights"]) if data["weights"] else None
    return LayerModel(data["name"], tuple(map(_layer, data["layers"])), shape, data["seed"], weights)


def _layer(row: dict[str, Any]) -> Layer:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    return Layer(**values)
