"""GraSP: how much the flow of gradients would change if the weights were removed."""

from __future__ import annotations

import math

from torch import Tensor, nn

from predictors.proxies.module_proxies.specimen import specimen


def grasp(
    module: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0, device: str = "cpu"
) -> float:
    """Minus the sum over the weights of w (H g).

        score = - w^T H g,    g = dL / dw,  H = d^2 L / dw^2,  L = mean cross-entropy of the batch

    A layer l that a batch norm follows does not feel the scale of its weights, so w_l^T (H g)_l = -|g_l|^2
    exactly, and its part of the score is the squared norm of its gradient. Where every layer but the classifier
    is normalised, GraSP is a GradNorm plus what the classifier adds.

    Args:
        module: (N, C, H, W) -> logits (N, classes), twice differentiable; its weights count as they are.
        images: (N, C, H, W) float32.
        labels: (N,) int64; random classes if None.
        seed: of random labels.
        device: where to compute.
    Returns: either sign; higher is better.
    Raises: ProxyFailed: the module does not fit or has no second derivatives; dead or overflowing network.
    Source: Wang et al. 2020, arXiv 2002.07376; as a score of networks, with this sign,
        Abdelfattah et al. 2021, arXiv 2101.08134.
    Deviations: no temperature on the logits (Wang et al. divide them by 200 for pruning). Weights as in
        ``Specimen.weights``; equal for networks of convolutions and linear layers.
    """
    with specimen("grasp", module, images, labels, seed=seed, device=device) as trial:
        weights = trial.weights()
        tensors = list(weights.values())
        gradients = trial.gradients(trial.loss(), tensors, create_graph=True)
        trial.checked_gradients(weights, [gradient.detach() for gradient in gradients])
        inner = sum((gradient * gradient.detach()).sum() for gradient in gradients)
        assert isinstance(inner, Tensor)
        curved = trial.gradients(inner, tensors)
        pairs = zip(tensors, curved, strict=True)
        score = -float(sum((weight.detach().double() * product.double()).sum() for weight, product in pairs))
        if not math.isfinite(score):
            broken = next(n for n, c in zip(weights, curved, strict=True) if not c.isfinite().all())
            raise trial.failed(f"the second derivative by {broken} is not finite; {trial.trouble()}")
        return score
