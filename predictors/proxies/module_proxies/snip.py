"""SNIP: how much the loss would change if each weight were removed."""

from __future__ import annotations

from torch import Tensor, nn

from predictors.proxies.module_proxies.specimen import specimen


def snip(
    module: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0, device: str = "cpu"
) -> float:
    """Sum over the weights of their connection sensitivity.

        score = sum over weights w of |w dL / dw|,    L = mean cross-entropy of the batch

    Args:
        module: (N, C, H, W) -> logits (N, classes); its weights count as they are.
        images: (N, C, H, W) float32.
        labels: (N,) int64; random classes if None.
        seed: of random labels.
        device: where to compute.
    Returns: nats of loss; higher is better.
    Raises: ProxyFailed: the module does not fit; no gradient, or one that is not finite.
    Source: Lee et al. 2019, arXiv 1810.02340; as a score of networks Abdelfattah et al. 2021,
        arXiv 2101.08134. There the sensitivities are normalised to sum to 1 before pruning; here
        their sum is the score.
    Deviations: weights as in ``Specimen.weights``; equal for networks of convolutions and linear layers.
    """
    with specimen("snip", module, images, labels, seed=seed, device=device) as trial:
        weights = trial.weights()
        pairs = zip(weights.values(), trial.loss_gradients(weights), strict=True)
        score = float(
            sum((weight.detach() * gradient).abs().sum(dtype=gradient.dtype).double() for weight, gradient in pairs)
        )
        if score <= 0:
            raise trial.failed(f"every weight with a gradient is zero; {trial.trouble()}")
        return score
