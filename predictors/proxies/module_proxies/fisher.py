"""Fisher: how much the loss would change if each channel were removed."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from predictors.proxies.module_proxies.specimen import WEIGHT_LAYERS, Specimen, specimen


def fisher(
    module: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0, device: str = "cpu"
) -> float:
    """Sum over the channels of all convolutions and linear layers of their squared saliency.

        score = sum over channels c of 1 / (2 N) sum over images n of (sum over positions p of a_ncp g_ncp)^2

    a is the layer's output, before norm and activation; g = dL / da with L the mean cross-entropy of the batch.

    Args:
        module: (N, C, H, W) -> logits (N, classes); its weights count as they are.
        images: (N, C, H, W) float32.
        labels: (N,) int64; random classes if None.
        seed: of random labels.
        device: where to compute.
    Returns: squared nats of loss; higher is better. Falls with 1 / N^2: compare at one batch size.
    Raises: ProxyFailed: the module does not fit; it has no convolution or linear layer as a module; dead or
        overflowing network.
    Source: Theis et al. 2018, arXiv 1801.05787; Turner et al. 2020, arXiv 1906.04113; as a score of networks
        Abdelfattah et al. 2021, arXiv 2101.08134, equation 3.
    Deviations: released code of the last weighs each channel by the number of weights of its filter; the
        equation and we do not. As there, g is of the mean loss, where Theis et al. take each image's own.
    """
    with specimen("fisher", module, images, labels, seed=seed, device=device) as trial:
        outputs = _record_outputs(trial)
        loss = trial.loss()
        if not outputs:
            raise trial.failed("the module runs no convolution or linear layer that is a module of its own")
        gradients = trial.gradients(loss, [output for _, output, _ in outputs])
        score = 0.0
        for (name, output, channel), gradient in zip(outputs, gradients, strict=True):
            part = _saliency(output.detach(), gradient, channel)
            if not math.isfinite(part):
                raise trial.failed(f"the saliency of {trial.title(name)} is {part}; {trial.trouble()}")
            score += part
        if score <= 0:
            raise trial.failed(f"dead network: no channel of {len(outputs)} layers matters; {trial.trouble()}")
        return score


def _record_outputs(trial: Specimen) -> list[tuple[str, Tensor, int]]:
    """List (layer, output, position of its channels) as layers run; they pass a clone on, safe from in-place use."""
    outputs: list[tuple[str, Tensor, int]] = []

    def record(name: str, channel: int, output: Tensor) -> Tensor:
        outputs.append((name, output, channel))
        return output.clone()

    for name, part in trial.module.named_modules():
        if isinstance(part, WEIGHT_LAYERS):
            channel = -1 if isinstance(part, nn.Linear) else 1
            part.register_forward_hook(lambda _m, _i, out, name=name, channel=channel: record(name, channel, out))
    return outputs


def _saliency(output: Tensor, gradient: Tensor, channel: int) -> float:
    product = (output * gradient).double().movedim(channel, 1).flatten(2) if output.dim() > 2 else output * gradient
    per_image = product.sum(2) if product.dim() > 2 else product.double()
    return float(0.5 * torch.mean(per_image.square(), 0).sum())
