"""SynFlow: how much flows through the network from an image of ones when nothing can cancel."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from predictors.proxies.module_proxies.specimen import NORMS, Specimen, specimen


def synflow(
    module: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0, device: str = "cpu"
) -> float:
    """Logarithm of the total synaptic flow, norms taken out.

        score = ln sum over weights w of w dR / dw,    R = sum of the logits of one image of ones

    with every parameter and buffer replaced by its absolute value, in float64. Norms of all kinds pass their
    input on unchanged.

    Args:
        module: (N, C, H, W) -> (N, ...); its weights count as they are.
        images: (N, C, H, W) float32; only their shape counts.
        labels: ignored.
        seed: of randomness inside the module, if there is any.
        device: where to compute; needs float64.
    Returns: nats; higher is better (the literature's sign; the code of Zen-NAS has it reversed).
    Raises: ProxyFailed: the module does not fit; no flow at all; flow beyond 1e308 (``synflow_bn`` never is).
    Source: Tanaka et al. 2020, arXiv 2006.05467; summed over the weights as a score
        of networks in Abdelfattah et al. 2021, arXiv 2101.08134.
    Deviations: the logarithm, which keeps the order. Layer and group norms are taken out like batch norms.
        Norms called as functions, not modules, stay.
    """
    with specimen("synflow", module, images, labels, seed=seed, device=device) as trial:
        for part in trial.module.modules():
            if isinstance(part, NORMS):
                part.forward = _pass_on  # type: ignore[method-assign]
        return _log_flow(trial)


def synflow_bn(
    module: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0, device: str = "cpu"
) -> float:
    """Compute the same with the norms left in, batch norms taking the statistics of the one image of ones.

    Arguments, direction and errors as of ``synflow``. Source: the ablation "synflow_bn" in the released code of
    Abdelfattah et al. 2021, arXiv 2101.08134; Zen-NAS's "Syncflow" also leaves them in. Norms break the
    conservation of flow that SynFlow rests on: a poor ranking, here for comparison. Fails where a norm sees a flat
    map: one pixel, or convolutions without padding before it.
    """
    with specimen("synflow_bn", module, images, labels, seed=seed, device=device) as trial:
        return _log_flow(trial)


def _pass_on(x: Tensor) -> Tensor:
    return x


def _log_flow(trial: Specimen) -> float:
    trial.module.double()
    with torch.no_grad():
        for tensor in (*trial.module.parameters(), *trial.module.buffers()):
            if tensor.is_floating_point():
                tensor.abs_()
    ones = torch.ones_like(trial.images[:1], dtype=torch.float64)
    weights = trial.weights()
    gradients = trial.gradients(trial.forward(ones).sum(), list(weights.values()))
    pairs = zip(weights.values(), gradients, strict=True)
    flow = float(sum((weight.detach() * gradient).abs().sum() for weight, gradient in pairs))
    if not 0 < flow < math.inf:
        raise trial.failed(f"the flow is {flow}, expected positive and finite; {trial.trouble(ones)}")
    return math.log(flow)
