"""Fisher: how much the loss would change if each channel were removed."""

from __future__ import annotations

import math

from torch import Tensor, nn

from predictors.proxies.module_proxies.specimen import WEIGHT_LAYERS, Specimen, specimen


def fisher(
    module: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0, device: str = "cpu"
) -> float:
    """Sum over the channels of all convolutions and linear layers of their squared saliency, by filter size.

        score = sum over channels c of s_c / (2 N) sum over images n of (sum over positions p of a_ncp g_ncp)^2

    a is the layer's output, before norm and activation; g = dL / da with L the mean cross-entropy of the batch;
    s_c is the number of weights of the channel's filter.

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
        Abdelfattah et al. 2021, arXiv 2101.08134.
    Deviations: s_c is in the released code of the last, on which published figures rest, not in the papers:
        ``fisher_channels`` is without. As in that code, g is of the mean loss; Theis et al. take each image's own.
    """
    with specimen("fisher", module, images, labels, seed=seed, device=device) as trial:
        return _total(trial, by_size=True)


def fisher_channels(
    module: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0, device: str = "cpu"
) -> float:
    """Compute the same with every channel counted once, as in the papers; the rest as of ``fisher``."""
    with specimen("fisher_channels", module, images, labels, seed=seed, device=device) as trial:
        return _total(trial, by_size=False)


def _total(trial: Specimen, *, by_size: bool) -> float:
    outputs = _record_outputs(trial)
    loss = trial.loss()
    if not outputs:
        raise trial.failed("the module runs no convolution or linear layer that is a module of its own")
    gradients = trial.gradients(loss, [output for _, output in outputs])
    score = 0.0
    for (name, output), gradient in zip(outputs, gradients, strict=True):
        layer = trial.module.get_submodule(name)
        channel = -1 if isinstance(layer, nn.Linear) else 1
        part = _saliency(output.detach(), gradient, channel)
        if not math.isfinite(part):
            raise trial.failed(f"the saliency of {trial.title(name)} is {part}; {trial.trouble()}")
        score += part * (_filter_size(layer, output.shape[channel]) if by_size else 1)
    if score <= 0:
        raise trial.failed(f"dead network: no channel of {len(outputs)} layers matters; {trial.trouble()}")
    return score


def _filter_size(layer: nn.Module, channels: int) -> int:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.numel() // channels


def _record_outputs(trial: Specimen) -> list[tuple[str, Tensor]]:
    """List (layer, output) as layers run; they pass a clone on, safe from use in place."""
    outputs: list[tuple[str, Tensor]] = []

    def record(name: str, output: Tensor) -> Tensor:
        outputs.append((name, output))
        return output.clone()

    for name, part in trial.module.named_modules():
        if isinstance(part, WEIGHT_LAYERS):
            part.register_forward_hook(lambda _m, _i, output, name=name: record(name, output))
    return outputs


def _saliency(output: Tensor, gradient: Tensor, channel: int) -> float:
    product = (output * gradient).double().movedim(channel, 1)  # (N, channels, ...)
    per_image = product.reshape(*product.shape[:2], -1).sum(2)
    return float(0.5 * per_image.square().mean(0).sum())
