"""Score an architecture by a proxy of modules: build it with fresh weights, look at random images."""

from __future__ import annotations

import torch

from predictors.proxies.failure import ProxyFailed
from predictors.proxies.module_proxies import MODULE_PROXIES
from search_spaces.arch import Architecture
from search_spaces.build import build
from search_spaces.layers import Shape


def score_architecture(
    name: str,
    arch: Architecture,
    input_shape: Shape,
    *,
    num_classes: int = 10,
    seed: int = 0,
    device: str = "cpu",
) -> float:
    """Score freshly initialised weights (as ``build`` draws them) on N(0, 1) images and random labels.

    Args:
        name: key of ``MODULE_PROXIES``.
        arch: the design.
        input_shape: (channels, height, width) of one image.
        num_classes: of the classifier.
        seed: of weights, images and labels; the global random state is left as it was.
        device: where to compute; weights and images are drawn on the CPU, so that they are the same everywhere.
    Returns: as the proxy does; ``MODULE_PROXIES[name].better`` tells the direction.
    Raises: ProxyFailed: an unknown name; what the proxy raises. InvalidArchitecture: as ``build`` does.
    """
    if name not in MODULE_PROXIES:
        raise ProxyFailed(f"proxy {name!r}: unknown, expected one of {', '.join(MODULE_PROXIES)}")
    proxy = MODULE_PROXIES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(arch, num_classes=num_classes, in_channels=input_shape[0])
    images = torch.randn((proxy.batch, *input_shape), generator=torch.Generator().manual_seed(seed))
    return proxy.load()(module, images, seed=seed, device=device)
