"""A trained detector -> ONNX: images in, boxes and scores of every place out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from nas.export.errors import ExportFailed
from nas.train.detection.network import GROUPS, MAX_LOG_DISTANCE, Detector
from nas.train.detection.targets import places
from search_spaces.arch import InvalidArchitecture
from search_spaces.expand import expand
from search_spaces.layers import Layer, Shape
from search_spaces.onnx_graph import OUTPUT_NAME, WeightsMismatch, onnx_model

BOXES, SCORES = "boxes", "scores"
_LAST_MAP = "last_map"


def write_detector_onnx(model: Detector, path: Path, input_shape: Shape, *, batch: int | None = 1) -> Path:
    """Write the inference graph: input "images", outputs "boxes" and "scores".

    ``boxes`` (N, P, 4) are x1, y1, x2, y2 in pixels, cut off at the image; ``scores`` (N, P, classes) lie in 0..1.
    Thresholding and suppression of duplicates are left to the caller.

    Args:
        model: its weights and statistics as they are.
        path: of the file.
        input_shape: (channels, height, width) of one normalised image; multiples of the largest stride.
        batch: images per call; None leaves it open.
    Returns: the path.
    Raises: ExportFailed.
    """
    weights = {name: t.detach().cpu().numpy() for name, t in model.backbone.state_dict().items()}
    layers = expand(model.arch, input_shape)[: model.backbone.ends[-1] + 1]
    try:
        proto = onnx_model(layers, weights, input_shape, batch=batch)
    except (InvalidArchitecture, WeightsMismatch) as error:
        raise ExportFailed(f"ONNX: {error}") from None
    graph = _Graph(proto.graph)
    maps = [graph.map_of(layers, at) for at in model.backbone.ends]
    shapes = [layers[at].shape[1:] for at in model.backbone.ends]
    levels = graph.pyramid(model, maps, shapes)
    graph.decode(*graph.head(model, levels, shapes), model, (input_shape[1], input_shape[2]))
    images = "batch" if batch is None else batch
    count = sum(height * width for height, width in shapes)
    del proto.graph.output[:]
    for name, last in ((BOXES, 4), (SCORES, model.num_classes)):
        proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [images, count, last]))
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return path


class _Graph:
    """Appends neck, head and decoding to the graph of a backbone."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        for node in graph.node:  # the backbone's last map is no output any more
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == OUTPUT_NAME:
                        names[i] = _LAST_MAP

    def map_of(self, layers: Sequence[Layer], at: int) -> str:
        """Name of the value of a layer; a norm that its convolution took in has that one's."""
        if at == len(layers) - 1:
            return _LAST_MAP
        known = {name for node in self.graph.node for name in node.output}
        while layers[at].name not in known:
            at = layers[at].inputs[0]
        return layers[at].name

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        self.graph.node.append(helper.make_node(op, list(inputs), [output], output, **attributes))
        return output

    def constant(self, name: str, value: object, dtype: type = np.float32) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype=dtype, order="C"), name))
        return name

    def conv(self, x: str, conv: nn.Conv2d, tensors: str, output: str) -> str:
        """A convolution whose tensors, stored once under the name ``tensors``, several levels may share."""
        inputs = [x, f"{tensors}.weight", *([f"{tensors}.bias"] if conv.bias is not None else [])]
        if not any(tensor.name == inputs[1] for tensor in self.graph.initializer):
            self.constant(inputs[1], _array(conv.weight))
            if conv.bias is not None:
                self.constant(inputs[2], _array(conv.bias))
        kernel = conv.kernel_size[0]
        return self.node("Conv", inputs, output, kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4)

    def pyramid(self, model: Detector, maps: Sequence[str], shapes: Sequence[tuple[int, int]]) -> list[str]:
        neck = model.neck
        merged = [self.conv(x, _conv(neck.lateral[i]), f"neck.lateral.{i}", f"neck.l{i}") for i, x in enumerate(maps)]
        for i in reversed(range(len(merged) - 1)):
            factor = shapes[i][0] // shapes[i + 1][0]
            scales = self.constant(f"neck.scales{i}", [1, 1, factor, factor])
            up = self.node(
                "Resize",
                [merged[i + 1], "", scales],
                f"neck.up{i}",
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
            merged[i] = self.node("Add", [merged[i], up], f"neck.sum{i}")
        return [self.conv(x, _conv(neck.smooth[i]), f"neck.smooth.{i}", f"neck.p{i}") for i, x in enumerate(merged)]

    def head(self, model: Detector, levels: Sequence[str], shapes: Sequence[tuple[int, int]]) -> tuple[str, str, str]:
        """Names of class logits (N, P, classes), log-distances times stride (N, P, 4), centre logits (N, P, 1)."""
        head = model.head
        parts: list[tuple[str, str, str]] = []
        for i, x in enumerate(levels):
            classes = self.tower(head.class_tower, x, "head.class_tower", i, shapes[i])
            boxes = self.tower(head.box_tower, x, "head.box_tower", i, shapes[i])
            outputs = (
                self.conv(classes, head.classes, "head.classes", f"head.classes{i}"),
                self.distances(self.conv(boxes, head.boxes, "head.boxes", f"head.boxes{i}"), model, i),
                self.conv(boxes, head.centre, "head.centre", f"head.centre{i}"),
            )
            parts.append((self.rows(outputs[0]), self.rows(outputs[1]), self.rows(outputs[2])))
        names = ("class_logits", "distances", "centre_logits")
        found = [self.node("Concat", [part[i] for part in parts], name, axis=1) for i, name in enumerate(names)]
        return found[0], found[1], found[2]

    def tower(self, tower: nn.Sequential, x: str, name: str, level: int, shape: tuple[int, int]) -> str:
        for at in range(0, len(tower), 3):  # convolution, group norm, ReLU
            here = f"{name}.{at}.level{level}"
            x = self.conv(x, _conv(tower[at]), f"{name}.{at}", f"{here}.conv")
            x = self.group_norm(x, tower[at + 1], here, shape)
            x = self.node("Relu", [x], f"{here}.relu")
        return x

    def group_norm(self, x: str, norm: nn.Module, here: str, shape: tuple[int, int]) -> str:
        """As instance norm of the groups, which every runtime has."""
        assert isinstance(norm, nn.GroupNorm)
        grouped = self.node("Reshape", [x, self.constant(f"{here}.groups", [0, GROUPS, -1], np.int64)], f"{here}.split")
        ones, zeros = self.constant(f"{here}.ones", np.ones(GROUPS)), self.constant(f"{here}.zeros", np.zeros(GROUPS))
        normed = self.node("InstanceNormalization", [grouped, ones, zeros], f"{here}.normed", epsilon=norm.eps)
        whole = self.constant(f"{here}.shape", [0, norm.num_channels, *shape], np.int64)
        joined = self.node("Reshape", [normed, whole], f"{here}.joined")
        weight = self.constant(f"{here}.weight", _array(norm.weight)[:, None, None])
        scaled = self.node("Mul", [joined, weight], f"{here}.scaled")
        bias = self.constant(f"{here}.bias", _array(norm.bias)[:, None, None])
        return self.node("Add", [scaled, bias], f"{here}.norm")

    def distances(self, x: str, model: Detector, level: int) -> str:
        scale = self.constant(f"head.scale{level}", _array(model.head.scales)[level])
        logs = self.node("Mul", [x, scale], f"head.logs{level}")
        most = self.constant(f"head.most{level}", MAX_LOG_DISTANCE)
        clipped = self.node("Clip", [logs, "", most], f"head.clipped{level}")
        exponential = self.node("Exp", [clipped], f"head.exp{level}")
        stride = self.constant(f"head.stride{level}", model.strides[level])
        return self.node("Mul", [exponential, stride], f"head.distances{level}")

    def rows(self, x: str) -> str:
        """(N, C, H, W) -> (N, H * W, C)."""
        flat = self.constant(f"{x}.flat", [0, 0, -1], np.int64)
        reshaped = self.node("Reshape", [x, flat], f"{x}.columns")
        return self.node("Transpose", [reshaped], f"{x}.rows", perm=[0, 2, 1])

    def decode(self, classes: str, distances: str, centre: str, model: Detector, shape: tuple[int, int]) -> None:
        """Boxes and scores as ``nas.train.detection.predict.decode`` makes them."""
        height, width = shape
        points = self.constant("points", places(shape, model.strides).points.numpy())
        two = self.constant("two", [2, 2], np.int64)
        sides = ["left_top", "right_bottom"]
        self.graph.node.append(helper.make_node("Split", [distances, two], sides, "sides", axis=2))
        low = self.node("Sub", [points, "left_top"], "low")
        high = self.node("Add", [points, "right_bottom"], "high")
        both = self.node("Concat", [low, high], "corners", axis=2)
        positive = self.node("Max", [both, self.constant("zero", 0)], "corners_low")
        self.node("Min", [positive, self.constant("size", [width, height, width, height])], BOXES)
        product = self.node(
            "Mul", [self.node("Sigmoid", [classes], "p"), self.node("Sigmoid", [centre], "centre")], "product"
        )
        self.node("Sqrt", [product], SCORES)


def _conv(module: nn.Module) -> nn.Conv2d:
    assert isinstance(module, nn.Conv2d)
    return module


def _array(tensor: object) -> NDArray[np.float32]:
    assert isinstance(tensor, Tensor)
    result: NDArray[np.float32] = tensor.detach().cpu().numpy()
    return result
