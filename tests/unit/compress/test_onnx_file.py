"""ONNX files written from the executed graph: in floating point as PyTorch computes, in integers as simulated."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from compress_modules import MODULES, random_norms
from torch import Tensor, nn
from torch.nn import functional as F

from nas.compress.errors import CannotCompress
from nas.compress.graph import executed_graph
from nas.compress.onnx_file import write_onnx, write_quantised_onnx
from nas.compress.quantise import QuantiseSettings, quantise_network, simulated
from search_spaces import load_space
from search_spaces.build import build

SPACES = ["mobilenetv3-tiny-images", "nas-bench-201-tiny", "vit-tiny", "resnet-small"]


class Rare(nn.Module):
    """Operations that the other modules do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding="same", dilation=2)
        self.groups, self.transposed = nn.GroupNorm(2, 8), nn.ConvTranspose2d(8, 8, 3, 2, 1, 1)
        self.layer, self.out = nn.LayerNorm([8, 8, 8]), nn.Linear(8 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(self.groups(self.stem(x)))
        x = F.interpolate(F.gelu(x), scale_factor=2) + F.leaky_relu(self.transposed(x), 0.2)
        x = F.interpolate(F.mish(x), size=(8, 8), mode="bilinear", align_corners=False)
        x = F.pad(F.hardswish(x), (1, 2, 0, 1), value=0.5)[:, :, :8, 1:9]
        x = F.max_pool2d(x.clamp(-1, 2), 2, ceil_mode=True) - F.avg_pool2d(F.gelu(x, approximate="tanh"), 2)
        x = torch.stack([x, x.abs().sqrt()], 1).mean(1) / (1 + F.softplus(x)) ** 2
        x = torch.cat(x.split([3, 5], 1)[::-1], 1)
        return self.out(F.adaptive_avg_pool2d(F.elu(x), 2).flatten(1))


def run(proto: onnx.ModelProto, images: Tensor) -> np.ndarray:
    """What ONNX Runtime computes."""
    onnx.checker.check_model(proto)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    [found] = session.run(None, {"images": images.numpy()})
    return found


def relative_error(found: np.ndarray, wanted: Tensor) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(found - wanted.numpy()).max() / np.abs(wanted.numpy()).max())


@pytest.mark.parametrize("name", [*MODULES, "rare"])
@pytest.mark.parametrize("batch", [1, None])
def test_float_file_computes_what_pytorch_does(name: str, batch: int | None) -> None:
    torch.manual_seed(0)
    make, shape = (Rare, (3, 8, 8)) if name == "rare" else MODULES[name]
    model = random_norms(make())
    proto = write_onnx(executed_graph(model, shape), shape, batch=batch)
    images = torch.randn(batch or 5, *shape)
    with torch.no_grad():
        assert relative_error(run(proto, images), model(images)) < 1e-5


@pytest.mark.parametrize("space", SPACES)
def test_networks_of_our_spaces_are_written(space: str) -> None:
    model = random_norms(build(load_space(space).sample(np.random.default_rng(3)), num_classes=5))
    proto = write_onnx(executed_graph(model, (3, 32, 32)), (3, 32, 32), batch=None)
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        assert relative_error(run(proto, images), model(images)) < 1e-5


@pytest.mark.parametrize("bits", [(7, 8), (4, 4), (3, 3)])
@pytest.mark.parametrize("name", ["residual", "padded shortcut", "mixture", "transformer"])
def test_integer_file_computes_what_is_simulated(name: str, bits: tuple[int, int]) -> None:
    torch.manual_seed(1)
    make, shape = MODULES[name]
    images = torch.randn(64, *shape)
    settings = QuantiseSettings(method="minmax", weight_bits=bits[0], activation_bits=bits[1], edge_bits=7)
    quantised = quantise_network(random_norms(make()), images, settings=settings)
    proto = write_quantised_onnx(quantised, batch=None)
    with torch.no_grad():
        wanted = simulated(quantised)(images)
    found = run(proto, images)
    step = wanted.abs().max() / 127
    close = np.abs(found - wanted.numpy()) <= float(step)
    assert close.mean() >= (0.98 if name == "mixture" else 0.999)  # a sum between two codes may be rounded either way
    assert (found.argmax(1) == wanted.numpy().argmax(1)).mean() >= 0.98


def test_integer_kernels_run_the_convolutions() -> None:
    torch.manual_seed(0)
    model = random_norms(MODULES["residual"][0]())
    settings = QuantiseSettings(method="minmax", weight_bits=4, activation_bits=4)
    quantised = quantise_network(model, torch.randn(32, 3, 8, 8), settings=settings)
    proto = write_quantised_onnx(quantised)
    kinds = [node.op_type for node in proto.graph.node]
    assert "Relu" not in kinds
    assert "Clip" in kinds
    weights = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.data_type == onnx.TensorProto.INT8}
    codes = onnx.numpy_helper.to_array(weights["conv2.weight_codes"])
    assert codes.min() >= -8
    assert codes.max() <= 7


def test_an_operation_without_a_rule_is_named_with_its_place() -> None:
    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sort(self.conv(x).mean((2, 3)), 1).values

    with pytest.raises(CannotCompress, match=r"operation sort cannot be written as ONNX; use another"):
        write_onnx(executed_graph(Sorted(), (3, 4, 4)), (3, 4, 4))
