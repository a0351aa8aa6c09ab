"""Post-training quantisation of user modules: codes, grids, integer arithmetic, learning, resuming, refusals."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.compress.errors import CannotCompress, Untraceable
from nas.compress.quantise import QuantiseSettings, left_in_float, quantise_network, simulated
from nas.compress.quantise.network import quantise_network as quantise
from nas.train.checkpoint import InvalidCheckpoint

FAST = {"iterations": 20, "batch_size": 16}


class Small(nn.Module):
    """Two residual blocks after a stem, with a reshape that asks for the number of images."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.norm3 = nn.Conv2d(width, width, 3, padding=1, groups=width), nn.BatchNorm2d(width)
        self.conv4, self.norm4 = nn.Conv2d(width, width, 1), nn.BatchNorm2d(width)
        self.out = nn.Linear(width * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))
        x = x + self.norm4(self.conv4(F.relu6(self.norm3(self.conv3(x)))))
        x = F.max_pool2d(F.relu(x), 4)
        return self.out(x.view(x.size(0), -1))


def smooth_images(count: int, seed: int = 0, side: int = 8) -> Tensor:
    """Noise without high frequencies: neighbouring pixels are alike, as in photographs."""
    coarse = torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(side, side), mode="bilinear").contiguous()


def network(seed: int = 0) -> nn.Module:
    """A network with the statistics of its images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Small()
        model.train()
        for norm in (each for each in model.modules() if isinstance(each, nn.BatchNorm2d)):
            norm.momentum = None
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.3)
        with torch.no_grad():
            model(smooth_images(256, 1))
    return model.eval()


def logits_error(model: nn.Module, quantised, images: Tensor) -> float:
    with torch.no_grad():
        return float((simulated(quantised)(images) - model(images)).square().mean())


def test_eight_bits_change_outputs_little_and_the_model_not_at_all():
    model, images = network().train(), smooth_images(32)
    before = copy.deepcopy(model.state_dict())
    quantised = quantise_network(model, images, settings=QuantiseSettings(method="nearest"))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    net, held_out = simulated(quantised), smooth_images(50, 2)
    with torch.no_grad():
        wanted = model(held_out)
        assert float((net(held_out) - wanted).square().mean()) < 1e-3 * float(wanted.var())
        assert torch.allclose(net(held_out[:1]), net(held_out)[:1], atol=1e-6)


@pytest.mark.parametrize(("weights", "activations"), [(8, 8), (7, 8), (4, 8), (4, 4), (3, 3), (2, 4), (4, None)])
def test_codes_and_grids_have_the_bits_asked_for(weights, activations):
    settings = QuantiseSettings(weight_bits=weights, activation_bits=activations, method="minmax")
    quantised = quantise_network(network(), smooth_images(16), settings=settings)
    edges = {"conv2d", "linear"}
    assert set(quantised.weights) == {"conv2d", "conv2d_1", "conv2d_2", "conv2d_3", "conv2d_4", "linear"}
    for name, found in quantised.weights.items():
        assert found.bits == (8 if name in edges else weights)
        assert found.codes.dtype == torch.int8
        assert int(found.codes.min()) >= -(2 ** (found.bits - 1))
        assert int(found.codes.abs().max()) == 2 ** (found.bits - 1) - 1
        assert found.scale.shape == (len(found.codes),)
    bits = {name: grid.bits for name, grid in quantised.activations.items()}
    assert quantised.input_shape == (3, 8, 8)
    if activations is None:
        assert bits == {}
    else:
        assert bits["x"] == 8
        assert bits["relu"] == bits["relu_1"] == bits["relu_2"] == bits["relu6"] == activations
        assert bits["relu_3"] == bits["max_pool2d"] == 8  # what the classifier reads
        assert bits["conv2d_2"] == bits["conv2d_4"] == 8  # operands of additions
        assert not {"conv2d", "conv2d_1", "conv2d_3", "add", "linear"} & set(bits)  # before a ReLU alone, and logits
    assert all(0 <= grid.zero_point < 2**grid.bits for grid in quantised.activations.values())


def test_simulation_equals_integer_arithmetic():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1), nn.Flatten(), nn.Linear(64, 3))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for layer in (model[0], model[2], model[4]):
            layer.reset_parameters()
    images = smooth_images(16, side=6)
    quantised = quantise_network(model, images, settings=QuantiseSettings(weight_bits=4, activation_bits=4, **FAST))
    names = {node.name: node for node in quantised.graph.graph.nodes}
    grids = quantised.activations

    def sums(layer: str, codes: Tensor, source: str, compute) -> Tensor:
        """64-bit sums of products of codes, and the bias in their unit, back to real numbers."""
        weights, step = quantised.weights[layer], quantised.weights[layer].scale.double() * grids[source].scale
        bias = quantised.graph.get_parameter(str(names[layer].args[2].target)).double()
        total = compute(codes - grids[source].zero_point, weights.codes.long(), (bias / step).round().long())
        return total.double() * step.reshape(-1, *[1] * (total.ndim - 2))

    def codes_of(values: Tensor, name: str) -> Tensor:
        grid = grids[name]
        return ((values / grid.scale).round().long() + grid.zero_point).clamp(0, 2**grid.bits - 1)

    held_out = smooth_images(20, 5, side=6)
    x = codes_of(held_out.double(), "input_1")
    x = codes_of(sums("conv2d", x, "input_1", F.conv2d).relu(), "relu")
    x = codes_of(sums("conv2d_1", x, "relu", lambda a, w, b: F.conv2d(a, w, b, padding=1)), "conv2d_1")
    wanted = sums("linear", x.flatten(1), "conv2d_1", lambda a, w, b: a @ w.T + b)
    with torch.no_grad():
        found = simulated(quantised)(held_out)
    close = (found - wanted).abs() < 1e-4 * float(wanted.abs().max())
    assert float(close.double().mean()) > 0.95  # the rest: a value half-way between two codes
    assert float((found - wanted).abs().max()) < 0.05 * float(wanted.abs().max())


def test_learned_weights_are_the_float_ones_rounded_up_or_down():
    settings = QuantiseSettings(weight_bits=3, activation_bits=4, **FAST)
    quantised = quantise_network(network(), smooth_images(32), settings=settings)
    by_name = {node.name: node for node in quantised.graph.graph.nodes}
    moved = 0
    for name, found in quantised.weights.items():
        weight = dict(quantised.graph.named_parameters())[str(by_name[name].args[1].target)]
        steps = weight / found.scale.reshape(-1, *[1] * (weight.ndim - 1))
        least, most = -(2 ** (found.bits - 1)), 2 ** (found.bits - 1) - 1
        assert torch.equal(
            torch.minimum(found.codes, steps.floor().clamp(least, most)), steps.floor().clamp(least, most)
        )
        assert torch.equal(torch.maximum(found.codes, steps.ceil().clamp(least, most)), steps.ceil().clamp(least, most))
        moved += int((found.codes != steps.round().clamp(least, most)).sum())
    assert moved > 0


def test_learning_never_does_worse_on_the_calibration_images_than_rounding_to_nearest():
    reports = []
    settings = QuantiseSettings(weight_bits=3, activation_bits=3, **FAST)
    quantise_network(network(), smooth_images(32), settings=settings, on_unit=reports.append)
    assert [report.unit for report in reports] == ["conv2d", "conv2d_1+conv2d_2", "conv2d_3+conv2d_4", "linear"]
    assert all(report.after <= report.before for report in reports)
    assert any(report.after < 0.9 * report.before for report in reports)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["layer", "unit"])
def test_learning_does_better_than_rounding_to_nearest_on_images_not_seen(method):
    ratios = []
    for seed in range(5):
        model, images, held_out = network(seed), smooth_images(256, seed + 10), smooth_images(200, seed + 50)
        learned, nearest = (
            logits_error(
                model,
                quantise_network(
                    model,
                    images,
                    settings=QuantiseSettings(weight_bits=3, activation_bits=4, method=each, drop=0.0),
                    seed=seed,
                ),
                held_out,
            )
            for each in (method, "nearest")
        )
        ratios.append(learned / nearest)
    assert max(ratios) < 1, ratios  # measured on ten other seeds: a mean of 0.60 for both, one of the layers' above 1
    assert np.exp(np.log(ratios).mean()) < 0.8, ratios


def test_importance_and_all_else_give_the_same_codes_for_the_same_seed():
    settings = QuantiseSettings(weight_bits=3, activation_bits=3, importance="output", **FAST)
    first, again, other = (
        quantise_network(network(), smooth_images(32), settings=settings, seed=seed) for seed in (0, 0, 1)
    )
    same = [torch.equal(first.weights[name].codes, again.weights[name].codes) for name in first.weights]
    differ = [torch.equal(first.weights[name].codes, other.weights[name].codes) for name in first.weights]
    assert all(same)
    assert first.activations == again.activations
    assert not all(differ)


def test_interrupted_and_resumed_is_equal_bit_for_bit(tmp_path):
    model, images = network(), smooth_images(32)
    settings = QuantiseSettings(weight_bits=3, activation_bits=3, **FAST)
    whole = quantise_network(model, images, settings=settings)
    seen = []

    def stop(report) -> None:
        seen.append(report.unit)
        if len(seen) == 2:
            raise KeyboardInterrupt

    path = tmp_path / "quantise.pt"
    with pytest.raises(KeyboardInterrupt):
        quantise_network(model, images, settings=settings, checkpoint=path, on_unit=stop)
    rest = []
    resumed = quantise_network(model, images, settings=settings, checkpoint=path, on_unit=rest.append)
    assert len(rest) == 2
    assert resumed.activations == whole.activations
    for name, codes in whole.weights.items():
        assert torch.equal(codes.codes, resumed.weights[name].codes)
        assert torch.equal(codes.scale, resumed.weights[name].scale)
    with pytest.raises(InvalidCheckpoint, match="seed"):
        quantise_network(model, images, settings=settings, checkpoint=path, seed=1)
    with pytest.raises(InvalidCheckpoint, match="network and images"):
        quantise_network(model, images + 1, settings=settings, checkpoint=path)


def test_bits_of_single_layers_can_be_set():
    settings = QuantiseSettings(weight_bits=4, method="nearest", layer_bits={"conv2.weight": 2, "stem.weight": 6})
    quantised = quantise_network(network(), smooth_images(16), settings=settings)
    with pytest.raises(CannotCompress, match=r"near it: conv2\.weight"):
        quantise(network(), smooth_images(16), settings=QuantiseSettings(layer_bits={"conv2.wait": 4}))
    assert {name: codes.bits for name, codes in quantised.weights.items()} == {
        **{"conv2d": 6, "conv2d_1": 4, "conv2d_2": 2, "conv2d_3": 4, "conv2d_4": 4, "linear": 8}
    }


def test_a_layer_used_twice_has_codes_for_each_use_and_a_transposed_one_stays_float():
    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.up = nn.Conv2d(3, 3, 3, padding=1), nn.ConvTranspose2d(3, 3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.up(F.relu(self.conv(F.relu(self.conv(x)))))

    model, images = Reused().eval(), smooth_images(32)
    quantised = quantise_network(model, images, settings=QuantiseSettings(**FAST))
    assert set(quantised.weights) == {"conv2d", "conv2d_1"}
    assert list(left_in_float(quantised.graph)) == ["conv_transpose2d"]
    assert left_in_float(quantised.graph)["conv_transpose2d"].startswith("up: ")
    with torch.no_grad():
        assert logits_error(model, quantised, images) < 1e-3 * float(model(images).var())


def test_dead_channels_keep_their_bias():
    model, images = network(), smooth_images(32)
    model.conv1.weight.data[2] = 0
    model.conv1.weight.data[3] = 1e-20
    quantised = quantise_network(model, images, settings=QuantiseSettings(method="nearest"))
    with torch.no_grad():
        wanted = float(model(images).var())
    assert logits_error(model, quantised, images) < 1e-3 * wanted


def test_bias_correction_keeps_the_mean_of_every_layer():
    model, images = network(), smooth_images(64)
    plain, corrected = (
        quantise_network(
            model,
            images,
            settings=QuantiseSettings(weight_bits=3, activation_bits=8, method="nearest", bias_correction=correct),
        )
        for correct in (False, True)
    )
    with torch.no_grad():
        wanted = model(images).mean(0)
        off = [float((simulated(each)(images).mean(0) - wanted).abs().max()) for each in (plain, corrected)]
    assert off[1] < 0.05 * off[0]


BAD_IMAGES = {
    "NaN": (torch.full((16, 3, 8, 8), float("nan")), "NaN or infinite"),
    "infinite": (torch.full((16, 3, 8, 8), float("inf")), "NaN or infinite"),
    "few": (torch.zeros(7, 3, 8, 8), "at least 8"),
    "integers": (torch.zeros(16, 3, 8, 8, dtype=torch.uint8), "float32"),
    "double": (torch.zeros(16, 3, 8, 8, dtype=torch.float64), "float32"),
    "one image": (torch.zeros(3, 8, 8), "expected a tensor"),
    "channels": (torch.zeros(16, 4, 8, 8), "4x8x8"),
    "array": ([[1.0]], "expected a tensor"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_calibration_images_that_cannot_be_used_are_named_in_one_line(name):
    images, message = BAD_IMAGES[name]
    with pytest.raises(CannotCompress, match=message) as caught:
        quantise(network(), images)
    assert "\n" not in str(caught.value)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.sum()) > 0 else -x


def test_models_that_cannot_be_quantised_are_refused():
    with pytest.raises(Untraceable, match="Branching"):
        quantise(Branching(), smooth_images(16))
    with pytest.raises(CannotCompress, match="no convolution"):
        quantise(nn.Sequential(nn.ReLU()), smooth_images(16))
    with pytest.raises(CannotCompress, match="transposed"):
        quantise(nn.Sequential(nn.ConvTranspose2d(3, 3, 2)), smooth_images(16))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[("weight_bits", 1), ("weight_bits", 9), ("activation_bits", 0), ("edge_bits", 16), ("method", "adaround")],
        *[("iterations", 0), ("drop", 1.0), ("step_rate", float("nan")), ("layer_bits", {"stem.weight": 1})],
    ],
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(CannotCompress, match=setting):
        QuantiseSettings(**{setting: value})
