"""What every proxy of modules promises; a new row of MODULE_PROXIES is tested by being there."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hardware.counts import count
from predictors.proxies import ProxyFailed
from predictors.proxies.module_proxies import MODULE_PROXIES
from predictors.proxies.module_proxies.of_architecture import score_architecture
from search_spaces import SPACES
from search_spaces.build import build

SHAPE, CLASSES = (3, 32, 32), 4


class Gated(nn.Module):
    """Residual unit with squeeze-and-excite, grouped convolution, functional and in-place ReLU."""

    def __init__(self, channels):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=2, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1),
        )
        self.norm = nn.BatchNorm2d(channels)
        self.squeeze = nn.Conv2d(channels, 4, 1)
        self.excite = nn.Conv2d(4, channels, 1)

    def forward(self, x):
        y = self.norm(self.main(x))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        return F.relu_(x + y * gate)


class Transformer(nn.Module):
    """Patches, class token, positions, two encoder layers with dropout."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 17, 16))
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.3, activation="gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).mT
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.body(x)[:, 0])


def _mlp():
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(3 * 32 * 32, 32),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(32, 16),
        nn.ReLU(),
        nn.Linear(16, 4),
    )


def _residual():
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6())
    return nn.Sequential(stem, Gated(8), Gated(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))


def _without_norms():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.SiLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(4)
    )


def _member(name):
    rng = np.random.default_rng(3)
    arch = min((SPACES[name].sample(rng) for _ in range(20)), key=lambda arch: count(arch, SHAPE, CLASSES).macs)
    return build(arch, num_classes=CLASSES)


MODULES = {
    "mlp": _mlp,
    "residual": _residual,
    "without-norms": _without_norms,
    "transformer": Transformer,
    "zen-tiny": lambda: _member("zen-tiny"),
    "genet-tiny": lambda: _member("genet-tiny"),
}
every_proxy = pytest.mark.parametrize("name", MODULE_PROXIES)
SLOW = ("zen-tiny",)
every_module = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW else kind for kind in MODULES]
)


def _images(count=6):
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))


LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


@pytest.fixture
def module(kind):
    torch.manual_seed(0)
    made = MODULES[kind]()
    with torch.no_grad():
        made.eval()(_images(2))
    return made.train()


@every_module
@every_proxy
def test_a_score_is_finite_and_the_same_again(name, module):
    score = MODULE_PROXIES[name].load()
    first = score(module, _images(), LABELS, seed=3)
    torch.rand(7)
    assert type(first) is float
    assert math.isfinite(first)
    assert score(module, _images(), LABELS, seed=3) == first
    with torch.inference_mode():
        assert score(module, _images(), LABELS, seed=3) == first
    module.eval().requires_grad_(False)
    assert score(module, _images(), LABELS, seed=3) == first


@every_module
@every_proxy
def test_random_labels_follow_the_seed_and_nothing_else(name, module):
    proxy = MODULE_PROXIES[name]
    score = proxy.load()
    first = score(module, _images(), seed=3)
    assert score(module, _images(), seed=3) == first
    assert (score(module, _images(), seed=4) != first) == proxy.labels


@every_module
@every_proxy
def test_the_module_and_the_random_state_stay_as_they_were(name, module):
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    next(module.children()).eval()
    next(module.parameters()).requires_grad_(False)
    seen = []
    module.register_forward_hook(lambda *_: seen.append("forward"))
    next(module.children()).register_forward_pre_hook(lambda *_: seen.append("child"))
    images = _images()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    versions = [tensor._version for tensor in (*module.parameters(), *module.buffers(), images)]
    modes = [part.training for part in module.modules()]
    needs = [parameter.requires_grad for parameter in module.parameters()]
    hooks = [[len(part._forward_hooks), len(part._forward_pre_hooks)] for part in module.modules()]
    state = torch.get_rng_state()
    MODULE_PROXIES[name].load()(module, images, LABELS)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert [tensor._version for tensor in (*module.parameters(), *module.buffers(), images)] == versions
    assert all(bool((parameter.grad == 1).all()) for parameter in module.parameters())
    assert [part.training for part in module.modules()] == modes
    assert [parameter.requires_grad for parameter in module.parameters()] == needs
    assert [[len(part._forward_hooks), len(part._forward_pre_hooks)] for part in module.modules()] == hooks
    assert not images.requires_grad
    assert seen == []
    assert torch.is_grad_enabled()


class Fixed(nn.Module):
    """Ends in whatever it is given."""

    def __init__(self, output):
        super().__init__()
        self.conv = nn.Conv2d(3, CLASSES, 1)
        self.output = output

    def forward(self, x):
        return self.output(self.conv(x).relu().mean((2, 3)))


def _broken(value):
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))
    made(_images(2))
    nn.init.constant_(made[2].weight, value)
    nn.init.constant_(made[2].bias, 0.0)
    return made


@every_proxy
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_network_that_is_not_finite_fails_by_name(name, value):
    with pytest.raises(ProxyFailed, match=r"2 \(Conv2d\)") as caught:
        MODULE_PROXIES[name].load()(_broken(value), _images(), LABELS)
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)


@every_proxy
def test_a_dead_network_fails_or_is_seen_to_be_alive(name):
    """Zeros in the middle: nothing passes, but the last bias learns and the codes before tell images apart."""
    dead = _broken(0.0)
    nn.init.zeros_(dead[5].weight)
    nn.init.zeros_(dead[5].bias)
    if name in ("grad_norm_all", "naswot"):
        assert math.isfinite(MODULE_PROXIES[name].load()(dead, _images(), LABELS))
        return
    with pytest.raises(ProxyFailed, match=r"2 \(Conv2d\)"):
        MODULE_PROXIES[name].load()(dead, _images(), LABELS)


@every_proxy
@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(4, 3, 8), r"\(4, 3, 8\), expected floating point \(N, C, H, W\)"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), "uint8"),
        (torch.zeros(0, 3, 8, 8), "none of them 0"),
        (torch.full((2, 3, 8, 8), math.nan), "NaN"),
        (torch.zeros(2, 1, 8, 8), r"conv \(Conv2d\) fails on images"),
    ],
)
def test_images_that_do_not_fit_are_one_line(name, images, said):
    with pytest.raises(ProxyFailed, match=said) as caught:
        MODULE_PROXIES[name].load()(Fixed(nn.Identity()), images)
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)


@every_proxy
@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Fixed(lambda y: (y, y)), "returns tuple, expected a tensor"),
        (Fixed(lambda y: y.sum()), "expected floating-point logits"),
        (Fixed(lambda y: y[:0]), "expected floating-point logits"),
        (nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten()), "has no shape yet"),
    ],
)
def test_modules_that_do_not_fit_are_one_line(name, module, said):
    with pytest.raises(ProxyFailed, match=said):
        MODULE_PROXIES[name].load()(module, _images())


@every_proxy
@pytest.mark.parametrize("device", ["nowhere", "meta", "cuda:99"])
def test_a_device_that_cannot_be_used_is_one_line(name, device):
    with pytest.raises(ProxyFailed, match=f"device='{device}' cannot be used") as caught:
        MODULE_PROXIES[name].load()(Fixed(nn.Identity()), _images(), device=device)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name, proxy in MODULE_PROXIES.items() if proxy.labels])
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (torch.zeros(5, dtype=torch.int64), r"\(5,\), expected integer classes \(6,\)"),
        (torch.zeros(6), "float32"),
        (torch.full((6,), 4), r"labels 4\.\.4, expected 0\.\.3"),
        (torch.full((6,), -1), r"labels -1\.\.-1"),
    ],
)
def test_labels_that_do_not_fit_are_one_line(name, labels, said):
    with pytest.raises(ProxyFailed, match=said):
        MODULE_PROXIES[name].load()(Fixed(nn.Identity()), _images(), labels)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "grasp" else n for n in MODULE_PROXIES]
)
def test_an_architecture_is_scored_alike_for_one_seed(name):
    rng = np.random.default_rng(3)
    arch = min((SPACES["genet-tiny"].sample(rng) for _ in range(20)), key=lambda arch: count(arch, SHAPE, 4).macs)
    state = torch.get_rng_state()
    first = score_architecture(name, arch, SHAPE, num_classes=CLASSES, seed=5)
    assert math.isfinite(first)
    assert score_architecture(name, arch, SHAPE, num_classes=CLASSES, seed=5) == first
    assert score_architecture(name, arch, SHAPE, num_classes=CLASSES, seed=6) != first
    assert torch.equal(torch.get_rng_state(), state)


def test_the_table_is_complete():
    for name, proxy in MODULE_PROXIES.items():
        assert proxy.load().__doc__, name
        assert proxy.sign == (1 if proxy.better == "higher" else -1)
        assert "arXiv" in proxy.source
    with pytest.raises(ProxyFailed, match="unknown, expected one of grad_norm"):
        score_architecture("zico", None, SHAPE)
