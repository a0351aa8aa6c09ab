"""Sums of bytes that overflow: which CPUs have them, and that they are counted against exact arithmetic."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hardware.integer_kernels import weight_bits_here
from nas.compress.graph import executed_graph
from nas.compress.onnx_file import write_quantised_onnx
from nas.compress.onnx_file.saturation import Saturation, saturation
from nas.compress.quantise.quantised import Grid, Quantised, WeightCodes

CHANNELS, SIDE = 32, 6


def largest_codes(bits: int) -> tuple[Quantised, np.ndarray]:
    """One convolution whose inputs and weights are of large codes, and images on the input's grid."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Conv2d(CHANNELS, 8, 3, padding=1, bias=False), nn.Flatten()).eval()
    graph = executed_graph(model, (CHANNELS, SIDE, SIDE))
    nodes = [node for node in graph.graph.nodes if node.op in ("placeholder", "call_function")]
    images, conv = (next(n.name for n in nodes if n.op == op and "val" in n.meta and n.meta["val"].ndim == 4)
                    for op in ("placeholder", "call_function"))  # fmt: skip
    most = 2 ** (bits - 1) - 1
    signs = rng.choice([-1, 1], (8, CHANNELS, 3, 3))
    codes = torch.from_numpy((signs * rng.integers(most - 10, most + 1, signs.shape)).astype(np.int8))
    weights = {conv: WeightCodes(codes, torch.full((8,), 2.0**-10), bits)}
    grids = {images: Grid(1.0, 0, 8), conv: Grid(16.0, 128, 8)}
    pixels = rng.integers(200, 256, (12, CHANNELS, SIDE, SIDE)).astype(np.float32)
    return Quantised(graph, weights, grids, (CHANNELS, SIDE, SIDE)), pixels


def exact_codes(quantised: Quantised, images: np.ndarray) -> np.ndarray:
    """(N, 8, H, W) codes of the convolution's output by 64-bit integers."""
    [weights] = quantised.weights.values()
    sums = F.conv2d(torch.from_numpy(images).long(), weights.codes.long(), padding=1).double()
    return (sums * 2.0**-10 / 16).round().clamp(-128, 127).add(128).numpy()


def run_codes(file: onnx.ModelProto, images: np.ndarray, *, exact: bool) -> np.ndarray:
    """The same codes as ONNX Runtime computes them."""
    watched = onnx.ModelProto()
    watched.CopyFrom(file)
    name = [node.output[0] for node in file.graph.node if node.op_type == "QuantizeLinear"][-1]
    watched.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([name], {"images": image[None]})[0] for image in images])


@pytest.mark.parametrize("bits", [8, 7, 4])
def test_the_exact_kernel_computes_what_64_bit_integers_do(bits: int) -> None:
    quantised, images = largest_codes(bits)
    file = write_quantised_onnx(quantised)
    assert (run_codes(file, images, exact=True) == exact_codes(quantised, images)).all()


@pytest.mark.parametrize("bits", [7, 4, 3])
def test_weights_of_up_to_7_bits_are_exact_on_any_cpu(bits: int) -> None:
    quantised, images = largest_codes(bits)
    file = write_quantised_onnx(quantised)
    assert (run_codes(file, images, exact=False) == exact_codes(quantised, images)).all()
    found = saturation(file, images)
    assert found == Saturation(0.0, 0.0, len(images))
    assert found.sentence == f"no 8-bit sum overflows on {len(images)} images"


def test_the_share_of_wrong_codes_is_that_against_64_bit_integers() -> None:
    quantised, images = largest_codes(8)
    file = write_quantised_onnx(quantised)
    wrong = int((run_codes(file, images, exact=False) != exact_codes(quantised, images)).sum())
    found = saturation(file, images)
    assert found.codes == wrong / (images.size + 8 * images.size // CHANNELS)  # the codes of the images count too
    if weight_bits_here().bits == 8:
        assert found.codes == 0
    else:
        assert found.codes > 0.05
        assert "use 7-bit weights" in found.sentence
