"""Integers and half precision in ONNX graphs."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from hardware.half_onnx import halve
from hardware.integer_kernels import weight_bits_here
from hardware.quantise_onnx import CannotQuantise, activation_ranges, quantise
from search_spaces import SPACES
from search_spaces.expand import expand
from search_spaces.onnx_graph import onnx_model
from search_spaces.random_weights import random_weights

SHAPE = (3, 32, 32)
FEW = ("resnet-small", "mobilenetv3-tiny-images", "zen-idw-se", "vit-tiny", "nas-bench-201-tiny")


def graph(space, num_classes=5):
    arch = SPACES[space].sample(np.random.default_rng(3))
    layers = expand(arch, SHAPE, num_classes)
    return onnx_model(layers, random_weights(layers, 0), SHAPE, batch=2)


def images(seed, count=1):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((2, *SHAPE), dtype=np.float32) for _ in range(count)]


def run(model, x, optimise=True, exact=False):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if exact:  # sums of bytes in 32 bits on every CPU
        options.add_session_config_entry("session.x64quantprecision", "1")
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def cosine(a, b):
    return float(a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize(
    ("num_classes", "space"),
    [
        pytest.param(n, space, marks=pytest.mark.slow if space == "zen-idw-se" else ())
        for n in (5, None)
        for space in FEW
    ],
)
def test_quantised_networks_are_valid_small_and_point_the_same_way(space, num_classes):
    model = graph(space, num_classes)
    overflows = weight_bits_here().bits < 8
    result = quantise(model, activation_ranges(model, images(0, 4)), reduce_range=overflows)
    onnx.checker.check_model(result, full_check=True)
    [x] = images(1)
    assert 0.99 <= cosine(run(result, x), run(model, x)) < 1
    # what the runtime makes of it is what the integers say: no sum overflows; a tie may be rounded either way
    assert cosine(run(result, x), run(result, x, exact=True)) > 0.99999
    assert cosine(run(result, x), run(result, x, optimise=False)) > 0.995
    weights = [t for t in result.graph.initializer if t.data_type == TensorProto.INT8 and len(t.dims) > 1]
    kinds = Counter(node.op_type for node in model.graph.node)
    assert len(weights) == kinds["Conv"] + kinds["Gemm"] - sum("zero" in node.input[1] for node in convs(model))
    assert not {t.name for t in result.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 4} - {
        t.name for t in model.graph.initializer if "zero" in t.name or "table" in t.name
    }


def convs(model):
    return [node for node in model.graph.node if node.op_type == "Conv"]


def test_it_does_not_touch_its_input_and_quantises_once():
    model = graph("resnet-small")
    before = model.SerializeToString()
    ranges = activation_ranges(model, images(0))
    result = quantise(model, ranges)
    assert model.SerializeToString() == before
    assert quantise(result, ranges) is result


def linear(values, weight, bias, relu=True):
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)]
    nodes += [helper.make_node("Relu", ["y"], ["z"]), helper.make_node("Gemm", ["z", "i"], ["out"])]
    tensors = {"w": weight, "b": bias, "i": np.eye(len(weight))}
    proto = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, values])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, len(weight)])],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in tensors.items()],
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_by_hand():
    """x in [-1, 1.55]: scale 0.01, zero 100; weights 1.27 and 0.127 have scales 0.01 and 0.001; no ReLU is left."""
    model = linear(1, [[1.27], [-0.127]], [0.5, 0.25])
    result = quantise(model, {"x": (-1.0, 1.55), "z": (0.0, 2.55)})
    tensors = {t.name: numpy_helper.to_array(t) for t in result.graph.initializer}
    assert tensors["x_zero"] == 100
    assert tensors["x_scale"] == pytest.approx(0.01)
    assert tensors["w_integers"].tolist() == [[127], [-127]]
    assert tensors["w_scales"] == pytest.approx([0.01, 0.001])
    assert tensors["b_of_y_integers"].tolist() == [5000, 25000]
    assert "Relu" not in [node.op_type for node in result.graph.node]
    x = np.array([[1.0], [-1.0], [9.0]], np.float32)  # the last one is beyond the range
    expected = [[1.77, 0.12], [0.0, 0.38], [2.47, 0.05]]
    assert run(result, x, optimise=False) == pytest.approx(np.array(expected), abs=0.011)


def test_seven_bits():
    model = graph("resnet-small")
    result = quantise(model, activation_ranges(model, images(0)), reduce_range=True)
    weights = [numpy_helper.to_array(t) for t in result.graph.initializer if t.data_type == TensorProto.INT8]
    assert max(np.abs(w).max() for w in weights) == 63


def test_a_tensor_that_is_always_zero():
    model = linear(2, np.zeros((2, 2)), np.zeros(2))
    result = quantise(model, activation_ranges(model, [np.zeros((1, 2), np.float32)]))
    assert run(result, np.zeros((1, 2), np.float32)).tolist() == [[0, 0]]


def test_nothing_to_quantise_and_too_old():
    relu = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 4, 4])],
    )
    model = helper.make_model(relu, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert quantise(model, activation_ranges(model, [np.ones((1, 3, 4, 4), np.float32)])) is model
    old = helper.make_model(relu, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    with pytest.raises(CannotQuantise, match="opset 11, expected 13 or later"):
        quantise(old, {})


@pytest.mark.parametrize(
    "space", [pytest.param(space, marks=pytest.mark.slow if space == "zen-idw-se" else ()) for space in FEW]
)
def test_half_precision(space):
    model = graph(space)
    result = halve(model)
    onnx.checker.check_model(result, full_check=True)
    assert TensorProto.FLOAT not in {tensor.data_type for tensor in result.graph.initializer}
    assert result.graph.input == model.graph.input
    assert result.graph.output == model.graph.output
    [x] = images(1)
    assert 0.999 < cosine(run(result, x), run(model, x)) <= 1
    assert len(result.SerializeToString()) < 0.8 * len(model.SerializeToString())
