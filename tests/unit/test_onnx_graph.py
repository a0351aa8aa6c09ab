import numpy as np
import onnx
import onnxruntime
import pytest

from search_spaces.arch import Architecture, Block
from search_spaces.expand import expand, expand_block
from search_spaces.layers import CONV, INPUT, NORM, Layer
from search_spaces.onnx_graph import WeightsMismatch, onnx_model
from search_spaces.random_weights import random_weights

SHAPE = (3, 12, 12)
ARCH = Architecture((Block("conv", 8, stride=2), Block("zen_bl", 16, inner=8, depth=2, se=True)))


def session(model):
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def images(batch, shape=SHAPE):
    return np.random.default_rng(0).standard_normal((batch, *shape), dtype=np.float32)


def test_names_shapes_and_no_norm_is_left():
    layers = expand(ARCH, SHAPE, 5)
    model = onnx_model(layers, random_weights(layers, 0), SHAPE)
    runner = session(model)
    assert [(i.name, i.shape) for i in runner.get_inputs()] == [("images", [1, 3, 12, 12])]
    assert [(o.name, o.shape) for o in runner.get_outputs()] == [("logits", [1, 5])]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_an_open_batch_axis_takes_any_batch_and_changes_no_value():
    layers = expand(ARCH, SHAPE, 5)
    weights = random_weights(layers, 0)
    free, fixed = (
        session(onnx_model(layers, weights, SHAPE, batch=None)),
        session(onnx_model(layers, weights, SHAPE)),
    )
    x = images(3)
    output = free.run(None, {"images": x})[0]
    assert output.shape == (3, 5)
    np.testing.assert_allclose(output[:1], fixed.run(None, {"images": x[:1]})[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "layers",
    [
        expand(ARCH, SHAPE),
        expand_block(Block("genet_dw", 6, inner=9), SHAPE),
        expand_block(Block("conv", 6), SHAPE),
    ],
    ids=["features", "block with a shortcut", "conv"],
)
def test_pieces_of_networks_are_networks(layers):
    output = session(onnx_model(layers, random_weights(layers, 0), SHAPE)).run(None, {"images": images(1)})[0]
    assert output.shape == (1, *layers[-1].shape)
    assert np.isfinite(output).all()


def test_a_norm_without_a_convolution_of_its_own_stays_a_norm():
    shape = (4, 5, 5)
    conv = Layer("c", CONV, (INPUT,), shape, shape, kernel=3)
    norms = [Layer(f"n{i}", NORM, (0,), shape, shape) for i in range(2)]
    layers = [conv, *norms, Layer("sum", "add", (1, 2), shape, shape)]
    model = onnx_model(layers, random_weights(layers, 0), shape)
    assert [node.op_type for node in model.graph.node].count("BatchNormalization") == 2
    assert np.isfinite(session(model).run(None, {"images": images(1, shape)})[0]).all()


def test_a_network_may_end_with_a_folded_norm():
    shape = (4, 5, 5)
    layers = [Layer("c", CONV, (INPUT,), shape, shape, bias=True), Layer("n", NORM, (0,), shape, shape)]
    weights = random_weights(layers, 3)
    output = session(onnx_model(layers, weights, shape)).run(None, {"images": images(1, shape)})[0]
    scale = weights["n.weight"] / np.sqrt(weights["n.running_var"] + 1e-5)
    mixed = np.einsum("oi,nihw->nohw", weights["c.weight"][:, :, 0, 0], images(1, shape))
    shift = weights["c.bias"] - weights["n.running_mean"]
    expected = (mixed + shift[:, None, None]) * scale[:, None, None] + weights["n.bias"][:, None, None]
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


def test_missing_and_misshaped_weights_are_named():
    layers = expand(ARCH, SHAPE, 5)
    weights = random_weights(layers, 0)
    with pytest.raises(WeightsMismatch, match=r"'head.fc.bias' has shape \(4,\), expected \(5,\)"):
        onnx_model(layers, {**weights, "head.fc.bias": np.zeros(4, np.float32)}, SHAPE)
    del weights["head.fc.weight"]
    with pytest.raises(WeightsMismatch, match=r"'head.fc.weight' is missing"):
        onnx_model(layers, weights, SHAPE)


def test_random_weights_follow_the_seed_and_serve_layers_larger_than_their_buffer():
    layers = expand(Architecture((Block("conv", 1200, kernel=3), Block("conv", 1200, kernel=1))), SHAPE)
    a, b, c = (random_weights(layers, seed) for seed in (1, 1, 2))
    name = next(name for name, value in a.items() if value.size > 1_000_003)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[key], b[key]) for key in a)
    assert not np.array_equal(a[name], c[name])
    assert a[name].std() == pytest.approx((2 / (a[name].size / 1200)) ** 0.5, rel=0.01)
