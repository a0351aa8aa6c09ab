"""An executed graph as an ONNX model: nodes are written one by one, what depends on weights alone is computed here."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx

from nas.compress.coupling_tracer import number
from nas.compress.errors import CannotCompress
from nas.compress.graph import operation, place, tensor_of
from search_spaces.layers import Shape
from search_spaces.onnx_graph import INPUT_NAME, IR_VERSION, OPSET, OUTPUT_NAME

Rule = Callable[["Writer", fx.Node], "str | list[str]"]


def write_onnx(graph: fx.GraphModule, input_shape: Shape, *, batch: int | None = 1) -> onnx.ModelProto:
    """The network in float32, with input "images" and output "logits".

    Args:
        graph: of ``nas.compress.graph.executed_graph`` or ``nas.compress.quantise.fold.folded``.
        input_shape: (channels, height, width) of one image.
        batch: images per call; None leaves it open.
    Raises: CannotCompress: an operation that cannot be written; the message names its place.
    """
    return Writer(graph, input_shape, batch).model()


class Writer:
    """Nodes and tensors under construction.

    Attributes:
        graph: what is written.
        batch: images per call; None leaves it open.
        names: by node, the value that it makes, or a list of them.
    """

    def __init__(self, graph: fx.GraphModule, input_shape: Shape, batch: int | None) -> None:
        self.graph, self.input_shape, self.batch = graph, input_shape, batch
        self.names: dict[fx.Node, str | list[str]] = {}
        self._constants: dict[fx.Node, Any] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, onnx.TensorProto] = {}
        self._taken: set[str] = set()
        self._result = _result(graph)

    def model(self) -> onnx.ModelProto:
        """Write everything."""
        from nas.compress.onnx_file.operations import RULES

        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                self.names[node] = self._named(INPUT_NAME)
                self.made(node)
            elif node.op == "call_function" and not self._is_constant(node) and not _is_size(node):
                self._write(node, RULES)
                self.made(node)
        self._name_result()
        return self._proto()

    def _write(self, node: fx.Node, rules: Mapping[str, Rule]) -> None:
        op = operation(node)
        if op not in rules:
            raise CannotCompress(
                f"{place(node)}: operation {op or node.target} cannot be written as ONNX; use another one there, or "
                "write the file with torch.onnx.export"
            )
        self.names[node] = rules[op](self, node)

    def made(self, node: fx.Node) -> None:
        """Called when a node's value has been written; rounding goes here."""

    def layer_tensors(self, node: fx.Node, *, transposed: bool) -> list[str]:
        """Names of weight and bias of a layer; of a linear layer as (in, out) if ``transposed``."""
        from nas.compress.onnx_file.layers import float_tensors

        return float_tensors(self, node, transposed=transposed)

    # what rules use

    def value(self, source: Any) -> str:
        """Name of the value that a node reads: an activation, a tensor of the network, or a number."""
        if isinstance(source, fx.Node):
            if source in self.names:
                found = self.names[source]
                assert isinstance(found, str)
                return found
            if source.op == "get_attr" or self._is_constant(source):
                name = str(source.target) if source.op == "get_attr" else source.name
                return self.constant(name, self.array(source))
            return self._size_value(source)
        return self.constant("number", np.float32(source))

    def array(self, source: Any) -> NDArray[Any]:
        """A tensor that does not depend on the images."""
        if isinstance(source, fx.Node):
            tensor = tensor_of(self.graph, source) if source.op == "get_attr" else self._constants.get(source)
            if isinstance(tensor, Tensor):
                return np.ascontiguousarray(tensor.detach().cpu().numpy())
        raise CannotCompress(f"{getattr(source, 'name', source)}: expected a tensor of the network")

    def step(self, op: str, inputs: Sequence[str], base: str, outputs: int = 1, **attributes: Any) -> Any:
        """Append a node; the name of its output, or a list of names for several."""
        names = [self._named(base if outputs == 1 else f"{base}_{at}") for at in range(outputs)]
        attributes = {key: value for key, value in attributes.items() if value is not None}
        self._nodes.append(helper.make_node(op, list(inputs), names, names[0], **attributes))
        return names[0] if outputs == 1 else names

    def take_back(self, name: str) -> str:
        """Remove the last node, which makes a value that nobody reads yet; the name of its first input."""
        last = self._nodes.pop()
        assert list(last.output) == [name]
        self._taken.discard(name)
        return str(last.input[0])

    def constant(self, base: str, value: NDArray[Any] | np.generic) -> str:
        """Store a tensor, float64 as float32; equal ones of equal name are stored once."""
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        name, at = base, 0
        proto = numpy_helper.from_array(np.ascontiguousarray(array) if array.ndim else array, name)
        while name in self._taken:
            if name in self._tensors and self._tensors[name].raw_data == proto.raw_data:
                same = self._tensors[name]
                if (same.data_type, list(same.dims)) == (proto.data_type, list(proto.dims)):
                    return name
            at += 1
            name = f"{base}_{at}"
        proto.name = name
        self._taken.add(name)
        self._tensors[name] = proto
        return name

    def integers(self, base: str, values: Sequence[int]) -> str:
        """Store int64 numbers."""
        return self.constant(base, np.array(values, np.int64))

    def sizes(self, node: fx.Node) -> list[int]:
        """Shape of what a node makes, with 1 image."""
        return [number(size) for size in node.meta["val"].shape]

    def open_shape(self, node: fx.Node, source: fx.Node) -> list[int]:
        """Target of a Reshape: 0 copies the number of images, -1 stands where it is part of a product."""
        before, after = source.meta["val"].shape, node.meta["val"].shape
        shape = []
        for at, size in enumerate(after):
            if isinstance(size, int):
                shape.append(size)
            else:
                same = at < len(before) and str(before[at]) == str(size)
                shape.append(0 if same and at == 0 else -1)
        if shape.count(-1) > 1:
            raise CannotCompress(f"{place(node)}: a reshape with two sizes that depend on the number of images")
        return shape

    def full_shape(self, base: str, node: fx.Node) -> str:
        """The shape of what a node makes, as a value, for Expand."""
        shape = node.meta["val"].shape
        if self.batch is not None or all(isinstance(size, int) for size in shape):
            return self.integers(f"{base}_shape", [self._at_batch(size) for size in shape])
        parts = [
            self.integers(f"{base}_size", [size]) if isinstance(size, int) else self._images_times(base, size)
            for size in shape
        ]
        return str(self.step("Concat", parts, f"{base}_shape", axis=0))

    # inside

    def _at_batch(self, size: Any) -> int:
        if isinstance(size, int):
            return size
        assert self.batch is not None
        return int(size.node.expr.subs(dict.fromkeys(size.node.expr.free_symbols, self.batch)))

    def _images_times(self, base: str, size: Any) -> str:
        """(1,) int64: the number of images, times what it is multiplied with."""
        first = self.step("Shape", [INPUT_NAME], f"{base}_images", start=0, end=1)
        factor = number(size)
        return str(first) if factor == 1 else str(self.step("Mul", [first, self.integers("factor", [factor])], base))

    def _size_value(self, node: fx.Node) -> str:
        if self.batch is not None:
            return self.constant("number", np.float32(self._at_batch(node.meta["val"])))
        raise CannotCompress(f"{place(node)}: it computes with the number of images")

    def _is_constant(self, node: fx.Node) -> bool:
        """Whether a node depends on tensors of the network alone; its value is then computed."""
        if node in self._constants:
            return True
        reads = node.all_input_nodes
        if node.op != "call_function" or any(read.op != "get_attr" and read not in self._constants for read in reads):
            return False
        if not reads and not isinstance(node.meta.get("val"), Tensor):
            return False

        def given(read: fx.Node) -> Any:
            return tensor_of(self.graph, read) if read.op == "get_attr" else self._constants[read]

        function: Any = node.target
        args, kwargs = fx.node.map_arg(node.args, given), fx.node.map_arg(node.kwargs, given)
        with torch.no_grad():
            self._constants[node] = function(*args, **kwargs)
        return True

    def _named(self, base: str) -> str:
        name, at = base, 0
        while name in self._taken:
            at += 1
            name = f"{base}_{at}"
        self._taken.add(name)
        return name

    def _name_result(self) -> None:
        self._nodes.append(helper.make_node("Identity", [self.value(self._result)], [OUTPUT_NAME], OUTPUT_NAME))
        last = self._nodes[-2] if len(self._nodes) > 1 else None
        source = self._nodes[-1].input[0]
        readers = sum(list(node.input).count(source) for node in self._nodes)
        if last is not None and source in last.output and readers == 1:
            self._nodes.pop()
            last.output[list(last.output).index(source)] = OUTPUT_NAME

    def _proto(self) -> onnx.ModelProto:
        images = "batch" if self.batch is None else self.batch
        shape = self.sizes(self._result)
        proto = helper.make_graph(
            self._nodes,
            "network",
            [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, [images, *self.input_shape])],
            [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, [images, *shape[1:]])],
            list(self._tensors.values()),
        )
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(proto, opset_imports=opset, ir_version=IR_VERSION, producer_name="netwright")


def _result(graph: fx.GraphModule) -> fx.Node:
    output = next(node for node in graph.graph.nodes if node.op == "output")
    found = output.all_input_nodes
    if len(found) != 1:
        raise CannotCompress(f"the network gives {len(found)} tensors, expected one")
    result: fx.Node = found[0]
    return result


def _is_size(node: fx.Node) -> bool:
    """A node that computes sizes, or checks something, and no tensor."""
    value = node.meta.get("val")
    if node.target is operator.getitem or isinstance(value, list | tuple):
        return False
    return not isinstance(value, Tensor)
