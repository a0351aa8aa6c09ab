import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from predictors.proxies import ProxyFailed
from predictors.proxies.module_proxies.fisher import fisher, fisher_channels
from predictors.proxies.module_proxies.grad_norm import grad_norm, grad_norm_all
from predictors.proxies.module_proxies.grasp import grasp
from predictors.proxies.module_proxies.jacob_cov import K, jacob_cov
from predictors.proxies.module_proxies.naswot import naswot
from predictors.proxies.module_proxies.ntk import ntk_condition
from predictors.proxies.module_proxies.snip import snip
from predictors.proxies.module_proxies.specimen import specimen
from predictors.proxies.module_proxies.synflow import synflow, synflow_bn
from search_spaces.build import Network
from search_spaces.execute import plain_network
from search_spaces.expand import expand
from search_spaces.plainnet import read_structure

LABELS = torch.tensor([0, 1, 2, 0, 1])


def _images(count=5, side=6):
    return torch.randn(count, 2, side, side, generator=torch.Generator().manual_seed(0))


def _net(norm=False, bias=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=bias),
        nn.BatchNorm2d(4, eps=1e-12) if norm else nn.Identity(),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3, groups=1, bias=bias),
        nn.BatchNorm2d(5, eps=1e-12) if norm else nn.Identity(),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 3, bias=bias),
    )


def _graded(net):
    """The module's own gradients after one backward pass."""
    F.cross_entropy(net(_images()), LABELS).backward()
    return net


def test_grad_norm_is_the_sum_over_layers_and_grad_norm_all_the_norm_over_everything():
    net = _graded(_net(norm=True))
    layers = [net[0], net[3], net[8]]
    fresh = _net(norm=True)
    assert grad_norm(fresh, _images(), LABELS) == pytest.approx(sum(x.weight.grad.norm().item() for x in layers), 1e-5)
    everything = torch.cat([p.grad.flatten() for p in net.parameters()])
    assert grad_norm_all(fresh, _images(), LABELS) == pytest.approx(everything.norm().item(), rel=1e-5)


def test_snip_is_the_first_order_change_of_the_loss():
    net = _graded(_net())
    expected = sum((x.weight * x.weight.grad).abs().sum().item() for x in (net[0], net[3], net[8]))
    assert snip(_net(), _images(), LABELS) == pytest.approx(expected, rel=1e-5)


def test_grasp_is_minus_the_weights_times_the_change_of_the_gradient_along_itself():
    net = _net().double()
    layers = [net[0], net[3], net[8]]

    def gradient():
        loss = F.cross_entropy(net(_images().double()), LABELS)
        return torch.autograd.grad(loss, [layer.weight for layer in layers])

    first, step = gradient(), 1e-5
    with torch.no_grad():
        for layer, change in zip(layers, first, strict=True):
            layer.weight += step * change
    moved = gradient()
    with torch.no_grad():
        for layer, change in zip(layers, first, strict=True):
            layer.weight -= step * change
    pairs = zip(layers, first, moved, strict=True)
    expected = -sum((layer.weight * (b - a)).sum().item() / step for layer, a, b in pairs)
    assert grasp(_net(), _images(), LABELS) == pytest.approx(expected, rel=1e-3)


def test_grasp_of_normalised_layers_is_their_squared_gradient():
    """The loss does not feel the scale of such a weight: w (H g) = -|g|^2."""

    class Headless(nn.Module):  # all weights are normalised; a plain reduction gives the logits
        def __init__(self):
            super().__init__()
            self.body = _net(norm=True)[:6]

        def forward(self, x):
            return self.body(x).mean((2, 3))

    net = _graded(Headless())
    squared = sum((net.body[at].weight.grad ** 2).sum().item() for at in (0, 3))
    assert grasp(Headless(), _images(), LABELS) == pytest.approx(squared, rel=1e-3)


def test_fisher_is_half_the_mean_square_of_each_channels_saliency():
    net = _net()
    values = [_images()]
    for layer in net:
        values.append(layer(values[-1]))
    outputs = [values[at + 1] for at in (0, 3, 8)]
    gradients = torch.autograd.grad(F.cross_entropy(values[-1], LABELS), outputs)
    parts = [
        0.5 * (a * g).reshape(*a.shape[:2], -1).sum(2).square().mean(0).sum().item()
        for a, g in zip(outputs, gradients, strict=True)
    ]
    assert fisher_channels(_net(), _images(), LABELS) == pytest.approx(sum(parts), rel=1e-5)
    sizes = (2 * 9, 4 * 9, 5)
    expected = sum(part * size for part, size in zip(parts, sizes, strict=True))
    assert fisher(_net(), _images(), LABELS) == pytest.approx(expected, rel=1e-5)


def test_fisher_of_grouped_transposed_and_token_layers():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.grouped = nn.Conv2d(2, 4, 3, groups=2)
            self.transposed = nn.ConvTranspose2d(4, 6, 2)
            self.tokens = nn.Linear(6, 3)

        def forward(self, x):
            return self.tokens(self.transposed(self.grouped(x)).flatten(2).mT).mean(1)

    net = Mixed()
    grouped = net.grouped(_images())
    transposed = net.transposed(grouped)
    tokens = net.tokens(transposed.flatten(2).mT)
    loss = F.cross_entropy(tokens.mean(1), LABELS)
    gradients = torch.autograd.grad(loss, [grouped, transposed, tokens])
    parts = [
        0.5 * (a * g).sum(axes).square().mean(0).sum().item()
        for a, g, axes in zip((grouped, transposed, tokens), gradients, ((2, 3), (2, 3), (1,)), strict=True)
    ]
    expected = parts[0] * 9 + parts[1] * 4 * 4 + parts[2] * 6
    assert fisher(net, _images(), LABELS) == pytest.approx(expected, rel=1e-5)


def test_fisher_sees_the_output_before_an_activation_in_place():
    inplace = _net()
    inplace[1] = nn.ReLU(inplace=True)
    plain = _net()
    plain[1] = nn.ReLU()
    assert fisher(inplace, _images(), LABELS) == fisher(plain, _images(), LABELS)


def test_synflow_of_a_chain_is_the_number_of_layers_times_the_flow():
    """Without biases every layer carries the whole flow."""
    net = _net(bias=False)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
        flow = net.double()(torch.ones(1, 2, 6, 6, dtype=torch.float64)).sum().item()
    assert synflow(_net(bias=False), _images()) == pytest.approx(math.log(3 * flow), rel=1e-6)


def test_synflow_takes_the_norms_out_and_synflow_bn_leaves_them_in():
    with_norms, without = _net(norm=True), _net()
    for net in (with_norms, without):
        net[0].padding = net[3].padding = (1, 1)
    assert synflow(with_norms, _images()) == synflow(without, _images())
    assert synflow_bn(with_norms, _images()) != synflow(with_norms, _images())
    assert synflow_bn(without, _images()) == synflow(without, _images())


def test_synflow_bn_of_a_map_without_borders_is_nothing():
    """An image of ones stays flat without padding, and a norm takes all of it away."""
    with pytest.raises(ProxyFailed, match=r"first layer whose output is zero everywhere: 1 \(BatchNorm2d\)"):
        synflow_bn(_net(norm=True), _images())


def test_synflow_survives_what_float32_does_not_and_says_what_is_too_much():
    torch.manual_seed(0)
    deep = nn.Sequential(*(nn.Linear(64, 64) for _ in range(60)))
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 64), *deep, nn.Linear(64, 3))
    for layer in net[1:]:
        nn.init.normal_(layer.weight)
    assert 60 * math.log(64 * 0.79) < synflow(net, _images()) < 62 * math.log(64 * 0.81) + math.log(72 * 62)
    for layer in net[1:]:
        nn.init.constant_(layer.weight, 1e6)
    with pytest.raises(ProxyFailed, match=r"flow is (inf|nan).*first layer whose output is not finite: \d+ \(Linear\)"):
        synflow(net, _images())


def test_naswot_is_the_determinant_of_the_agreement_of_codes():
    net = _net()
    x = _images()
    codes = []
    for layer in net:
        if isinstance(layer, nn.ReLU):
            codes.append((x > 0).flatten(1))
        x = layer(x)
    code = torch.cat(codes, 1)
    agreement = (code[:, None] == code[None]).sum(2).double()
    assert naswot(_net(), _images()) == pytest.approx(torch.linalg.slogdet(agreement).logabsdet.item(), rel=1e-12)


@pytest.mark.parametrize(
    "rectifier",
    [F.relu, torch.relu, F.relu_, F.relu6, F.leaky_relu, F.gelu, F.silu, F.hardswish, F.elu, F.mish, nn.PReLU()],
)
def test_naswot_counts_every_rectifier_module_or_not(rectifier):
    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.rectifier = _net(), rectifier
            self.net[2], self.net[5] = nn.Identity(), nn.Identity()

        def forward(self, x):
            return self.net[3:](self.rectifier(self.net[:3](x)))

    reference = nn.Sequential(*_net()[:3], nn.Flatten())
    assert naswot(Called(), _images()) == naswot(reference, _images())


def test_naswot_wants_a_rectifier_and_images_that_differ():
    smooth = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Hardtanh(), nn.Sigmoid(), nn.Flatten())
    with pytest.raises(ProxyFailed, match="no rectifier ran"):
        naswot(smooth, _images())
    with pytest.raises(ProxyFailed, match=r"images 0 and 1 switch all \d+ activations alike"):
        naswot(_net(), _images()[:1].repeat(3, 1, 1, 1))
    with pytest.raises(ProxyFailed, match="expected at least 2"):
        naswot(_net(), _images(1))


def test_ntk_condition_is_that_of_the_gram_matrix_without_biases():
    net = _net(norm=True).double()
    outputs = net(_images().double()).sum(1)
    weights = [p for name, p in net.named_parameters() if "bias" not in name]
    rows = [torch.autograd.grad(value, weights, retain_graph=True) for value in outputs]
    jacobian = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
    values = torch.linalg.svdvals(jacobian)
    expected = (values[0] / values[-1]).item() ** 2
    assert ntk_condition(_net(norm=True), _images()) == pytest.approx(expected, rel=1e-3)


def test_ntk_condition_refuses_a_kernel_that_has_none():
    with pytest.raises(ProxyFailed, match="singular in float32"):
        ntk_condition(_net(), _images()[:1].repeat(3, 1, 1, 1))


def test_jacob_cov_is_the_formula_on_the_correlations():
    images = _images().requires_grad_(True)
    (jacobian,) = torch.autograd.grad(_net()(images).sum(), images)
    correlations = np.corrcoef(jacobian.flatten(1).double().numpy())
    shifted = np.linalg.eigvalsh(correlations) + K
    assert jacob_cov(_net(), _images()) == pytest.approx(-float((np.log(shifted) + 1 / shifted).sum()), rel=1e-4)


def test_jacob_cov_is_highest_where_nothing_correlates():
    assert jacob_cov(_net(), _images()) <= -5 + 1e-6


TOYS = {  # of the released code of Zen-NAS, batch 16, 32 x 32, no shortcuts, 8 seeds: mean, standard deviation
    "T0": (
        "SuperConvK3BNRELU(3,8,1,1)SuperResK3K3(8,16,1,8,1)SuperResK3K3(16,32,2,16,1)SuperResK3K3(32,64,2,32,1)"
        "SuperResK3K3(64,64,2,32,1)SuperConvK1BNRELU(64,128,1,1)",
        {"grad_norm_all": (9.07, 0.96), "naswot": (165.80, 0.04), "ntk": (2.15, 0.28)},
    ),
    "TB": (
        "SuperConvK3BNRELU(3,16,1,1)SuperResK1K3K1(16,32,2,16,2)SuperResK1K5K1(32,64,2,16,1)SuperConvK1BNRELU(64,128,1,1)",
        {"grad_norm_all": (22.0, 2.7), "naswot": (178.12, 0.05), "ntk": (4.15, 0.94)},
    ),
    "TI": (
        "SuperConvK3BNRELU(3,16,2,1)SuperResIDWE2K3(16,24,2,24,1)SuperResIDWE4K5(24,32,2,32,2)SuperConvK1BNRELU(32,64,1,1)",
        {"grad_norm_all": (25.3, 2.4), "naswot": (165.35, 0.06), "ntk": (6.54, 1.59)},
    ),
}
SCORES = {"grad_norm_all": grad_norm_all, "naswot": naswot, "ntk": ntk_condition}


def _toy(layers, arch, seed, normal):
    torch.manual_seed(seed)
    net = Network(layers, arch, 10, 3)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 1e-3
        elif isinstance(part, nn.Conv2d | nn.Linear):
            part.reset_parameters()
            if normal:
                nn.init.normal_(part.weight)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
    return net, torch.randn(16, 3, 32, 32)


@pytest.mark.parametrize("name", ["grad_norm_all", "naswot", pytest.param("ntk", marks=pytest.mark.slow)])
@pytest.mark.parametrize("toy", TOYS)
def test_toy_networks_score_as_the_released_code_of_zen_nas_does(toy, name):
    """N(0, 1) weights; torch's own for the tangent kernel, for which that code draws none."""
    structure, authors = TOYS[toy]
    mean, deviation = authors[name]
    arch = read_structure(structure)[0]
    layers = plain_network(expand(arch, (3, 32, 32), 10))
    values = []
    for seed in range(8):
        net, images = _toy(layers, arch, seed, normal=name != "ntk")
        values.append(SCORES[name](net, images, seed=seed))
    error = math.sqrt((deviation**2 + np.var(values, ddof=1)) / 8)
    assert abs(np.mean(values) - mean) < 3 * error + 0.005  # as many digits as the reference has


def _names(module):
    with specimen("test", module, _images(), None, seed=0, device="cpu") as trial:
        return list(trial.weights())


def test_weights_are_what_multiplies():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.own = nn.Parameter(torch.randn(3, 4))
            self.token = nn.Parameter(torch.randn(1, 5, 4))
            self.scale = nn.Parameter(torch.randn(4, 1, 1))
            self.table = nn.Embedding(5, 4)
            self.norm = nn.LayerNorm((3, 4))
            self.attention = nn.MultiheadAttention(4, 2)
            self.one = nn.Linear(4, 1)
            self.shared = self.one

    assert _names(Mixed()) == ["own", "attention.in_proj_weight", "attention.out_proj.weight", "one.weight"]
    with pytest.raises(ProxyFailed, match="no convolution, linear layer"):
        _names(nn.BatchNorm2d(3))


@pytest.mark.parametrize("wrap", [weight_norm, spectral_norm])
def test_parametrised_weights_are_scored(wrap):
    net = _net()
    wrap(net[3])
    assert math.isfinite(snip(net, _images(), LABELS))


def test_a_module_that_cannot_be_copied_is_one_line():
    net = _net()
    prune.l1_unstructured(net[3], "weight", 0.5)
    net(_images())
    with pytest.raises(ProxyFailed, match="cannot be copied"):
        snip(net, _images(), LABELS)


def test_random_layers_follow_the_seed():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = _net()

        def forward(self, x):
            return self.net(F.dropout(x, 0.5, self.training))

    assert snip(Noisy(), _images(), LABELS, seed=1) == snip(Noisy(), _images(), LABELS, seed=1)
    assert snip(Noisy(), _images(), LABELS, seed=1) != snip(Noisy(), _images(), LABELS, seed=2)


def test_one_class_has_no_loss():
    with pytest.raises(ProxyFailed, match="at least 2 classes"):
        grad_norm(nn.Sequential(nn.Flatten(), nn.Linear(72, 1)), _images())


def test_what_cannot_be_differentiated_says_so():
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = _net()

        def forward(self, x):
            return self.net(x).detach()

    with pytest.raises(ProxyFailed, match="cannot be differentiated"):
        snip(Detached(), _images(), LABELS)


def test_half_precision_modules_are_scored_in_single():
    assert math.isfinite(snip(_net().half(), _images(), LABELS))


def test_the_table_loads_without_torch():
    code = "import sys, predictors.proxies.module_proxies; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
