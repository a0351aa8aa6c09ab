"""Users' modules as layers: counts as torch's, outputs as the module's, and clear refusals."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hardware.counts import peak_memory_bytes
from hardware.kernels import kernels_of
from search_spaces.arch import Architecture
from search_spaces.build import Network, build
from search_spaces.expand import expand
from search_spaces.genet import GENET_TINY
from search_spaces.layers import ADD, CONCAT, CONV, GLOBAL_POOL, LINEAR, MAX_POOL, MUL, main_path
from search_spaces.onnx_graph import onnx_model
from search_spaces.trace import TraceRefused, trace


class Basic(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if stride != 1 or cin != cout:
            self.down = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        identity = x if self.down is None else self.down(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += identity
        return self.relu(out)


def resnet():
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        Basic(16, 16, 1),
        Basic(16, 32, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


class Inverted(nn.Module):
    def __init__(self, cin, cout, stride, expand_ratio):
        super().__init__()
        mid = cin * expand_ratio
        self.main = nn.Sequential(
            nn.Conv2d(cin, mid, 1, bias=False),
            nn.BatchNorm2d(mid),
            nn.ReLU6(inplace=True),
            nn.Conv2d(mid, mid, 5, stride, 2, groups=mid, bias=False),
            nn.BatchNorm2d(mid),
            nn.Hardswish(),
        )
        self.reduce, self.expand = nn.Conv2d(mid, 8, 1), nn.Conv2d(8, mid, 1)
        self.project = nn.Sequential(nn.Conv2d(mid, cout, 1, bias=False), nn.BatchNorm2d(cout))
        self.residual = stride == 1 and cin == cout

    def forward(self, x):
        y = self.main(x)
        gate = self.expand(F.relu(self.reduce(F.adaptive_avg_pool2d(y, 1))))
        y = self.project(F.hardsigmoid(gate) * y)
        return x + y if self.residual else y


def mobilenet():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.SiLU(),
        Inverted(16, 16, 1, 4),
        Inverted(16, 24, 2, 3),
        nn.Dropout(0.2),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(1),
        nn.Linear(24, 12, bias=False),
    )


class Dense(nn.Module):
    """Concatenation, mean over the map, a classifier over a whole map, a shared activation, groups."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 8, 3, padding="same"), nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.act = nn.GELU()
        self.fc = nn.Linear(16 * 4 * 4, 5)

    def forward(self, x):
        a = self.act(self.a(x))
        both = F.max_pool2d(torch.cat([a, self.act(self.b(a))], dim=1), 2)
        return self.fc(both.view(both.shape[0], -1))


CASES = {"resnet": (resnet, (3, 64, 48)), "mobilenet": (mobilenet, (3, 64, 64)), "dense": (Dense, (1, 8, 8))}


def torch_macs(module, shape):
    total = 0

    def hook(m, inputs, output):
        nonlocal total
        taps = m.weight[0].numel()
        total += output.numel() * taps

    handles = [m.register_forward_hook(hook) for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        module.eval()(torch.zeros(1, *shape))
    for handle in handles:
        handle.remove()
    return total


@pytest.fixture(params=CASES, scope="module")
def traced(request):
    factory, shape = CASES[request.param]
    torch.manual_seed(0)
    module = factory()
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_mean)
            nn.init.uniform_(m.running_var, 0.5, 2)
    return module, shape, trace(module, shape)


def test_counts_are_those_of_torch(traced):
    module, shape, layers = traced
    assert sum(layer.weight_count for layer in layers) == sum(p.numel() for p in module.parameters())
    assert sum(layer.macs for layer in layers) == torch_macs(module, shape)
    assert len({layer.name for layer in layers}) == len(layers)
    assert peak_memory_bytes(layers, shape) > 0
    assert sum(kernel.macs for kernel in kernels_of(layers)) == sum(layer.macs for layer in layers)


def test_the_layers_compute_what_the_module_computes(traced):
    module, shape, layers = traced
    state = {name: value for name, value in module.state_dict().items() if not name.endswith("num_batches_tracked")}
    shapes = {f"{layer.name}.weight": layer for layer in layers}
    for name, value in state.items():  # a linear layer may stand as a convolution of the same weights
        layer = shapes.get(name)
        if layer is not None and layer.op == CONV and value.ndim == 2:
            state[name] = value.view(layer.channels, layer.in_channels, layer.kernel, layer.kernel)
    network = Network(layers, Architecture(()), 0, shape[0]).eval()
    network.load_state_dict(state, strict=False)
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = module.eval()(images), network(images).flatten(1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    weights = {name: value.numpy() for name, value in state.items()}
    session = onnxruntime.InferenceSession(onnx_model(layers, weights, shape, batch=2).SerializeToString())
    [from_onnx] = session.run(None, {"images": images.numpy()})
    np.testing.assert_allclose(from_onnx.reshape(2, -1), expected.numpy(), rtol=1e-3, atol=1e-4)


def test_names_and_operations_are_those_of_the_module():
    layers = trace(resnet(), (3, 32, 32))
    by_name = {layer.name: layer for layer in layers}
    assert by_name["1.conv1"].op == CONV
    assert by_name["0.3"].op == MAX_POOL
    assert [layer.op for layer in layers[-2:]] == [GLOBAL_POOL, LINEAR]
    assert sum(layer.op == ADD for layer in layers) == 2
    assert [layer.name for layer in main_path(layers) if layer.op == CONV and layer.kernel == 1] == []
    mobile = trace(mobilenet(), (3, 32, 32))
    assert sum(layer.op == MUL for layer in mobile) == 2
    assert CONCAT in {layer.op for layer in trace(Dense(), (1, 8, 8))}


def test_a_network_of_ours_traces_to_its_own_layers():
    arch = GENET_TINY.sample(np.random.default_rng(0))
    expected = expand(arch, (3, 16, 16), 10)
    found = trace(build(arch, num_classes=10), (3, 16, 16))
    assert [layer[1:9] for layer in found] == [layer[1:9] for layer in expected]


def test_the_module_is_left_as_it_was():
    module = resnet().train()
    trace(module, (3, 32, 32))
    assert module.training


def wrap(function, *layers):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(layers)

        def forward(self, *x):
            return function(self, *x)

    return Wrapped()


def after(layer):
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), layer)


REFUSED = {
    "no layer": (after(nn.LeakyReLU()), "1: operation aten.leaky_relu.default has no layer"),
    "dilation": (after(nn.Conv2d(8, 8, 3, padding=2, dilation=2)), r"1: dilation \[2, 2\], expected 1"),
    "no padding": (after(nn.Conv2d(8, 8, 3)), "1: a 3x3 window with stride 1 padded by 0, expected 1"),
    "oblong": (after(nn.Conv2d(8, 8, (1, 3), padding=(0, 1))), r"1: sides \(1, 3\), expected a square"),
    "bare norm": (after(nn.BatchNorm2d(8, affine=False)), "1: a norm without scale"),
    "tanh": (after(nn.GELU("tanh")), "1: GELU by tanh"),
    "clamp": (after(nn.Hardtanh()), r"1: values are clamped to \(-1.0, 1.0\), expected ReLU6"),
    "pooling": (after(nn.AdaptiveAvgPool2d(3)), "pools .* expected one position"),
    "ceiling": (after(nn.MaxPool2d(3, 2, 1, ceil_mode=True)), "with the padding of layers it would be"),
    "scaling": (wrap(lambda self, x: self.layers[0](x) * 2.0, nn.Conv2d(3, 8, 1)), "operand 2 is 2.0, expected a map"),
    "two outputs": (wrap(lambda self, x: (self.layers[0](x), x), nn.Conv2d(3, 8, 1)), "returns 2 values"),
    "in vain": (
        wrap(lambda self, x: (self.layers[0](x), self.layers[1](x))[0], nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1)),
        "not the last thing computed",
    ),
    "crash": (wrap(lambda self, x: x.no_such_thing()), "PyTorch cannot export it for images of 3x16x16"),
}


@pytest.mark.parametrize(("module", "message"), REFUSED.values(), ids=REFUSED)
def test_what_layers_cannot_express_is_refused_with_its_place(module, message):
    with pytest.raises(TraceRefused, match=message) as refused:
        trace(module, (3, 16, 16))
    assert "\n" not in str(refused.value)
