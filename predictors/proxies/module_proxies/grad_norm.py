"""GradNorm: how strongly one batch pulls at the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from predictors.proxies.module_proxies.specimen import specimen


def grad_norm(
    module: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0, device: str = "cpu"
) -> float:
    """Sum over the weight tensors of the Euclidean norm of the gradient of the loss.

        score = sum over layers l of |dL / dW_l|_2,    L = mean cross-entropy of the batch

    Args:
        module: (N, C, H, W) -> logits (N, classes); its weights count as they are.
        images: (N, C, H, W) float32.
        labels: (N,) int64; random classes if None.
        seed: of random labels.
        device: where to compute.
    Returns: loss per unit of weight; higher is better.
    Raises: ProxyFailed: the module does not fit; no gradient, or one that is not finite.
    Source: Abdelfattah et al. 2021, arXiv 2101.08134.
    Deviations: weights as in ``Specimen.weights``; equal for networks of convolutions and linear layers.
        Zen-NAS (arXiv 2102.01063) calls by this name the norm of all parameters at once: ``grad_norm_all``.
    """
    with specimen("grad_norm", module, images, labels, seed=seed, device=device) as trial:
        return float(sum(gradient.double().norm() for gradient in trial.loss_gradients(trial.weights())))


def grad_norm_all(
    module: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0, device: str = "cpu"
) -> float:
    """Euclidean norm of the gradient of the loss with respect to all parameters, norms and biases included.

    Arguments, errors and direction as of ``grad_norm``. Source: the released code of Lin et al. 2021, arXiv
    2102.01063. Checked against: its values on the toy networks, in tests/unit/test_module_proxies.py.
    """
    with specimen("grad_norm_all", module, images, labels, seed=seed, device=device) as trial:
        parameters = {name: p for name, p in trial.module.named_parameters() if p.requires_grad}
        if not parameters:
            raise trial.failed("the module has no parameters to differentiate by")
        return float(torch.stack([gradient.double().norm() for gradient in trial.loss_gradients(parameters)]).norm())
