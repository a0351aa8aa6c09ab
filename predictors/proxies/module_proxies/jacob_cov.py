"""Jacobian covariance: how differently the network responds to small changes of different images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from predictors.proxies.module_proxies.specimen import specimen

K = 1e-5


def jacob_cov(
    module: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0, device: str = "cpu"
) -> float:
    """Minus the sum of ln(v + k) + 1 / (v + k) over the eigenvalues v of a correlation matrix, k = 1e-5.

    Row n of the matrix that is correlated is d(sum of the logits of the batch) / d(image n).

    Args:
        module: (N, C, H, W) -> (N, ...); its weights count as they are.
        images: (N, C, H, W) float32, N >= 2.
        labels: ignored.
        seed: of randomness inside the module, if there is any.
        device: where to compute.
    Returns: at most -N, reached where no two Jacobians correlate; higher is better. Compare at one batch size.
    Raises: ProxyFailed: the module does not fit; an image whose gradient is constant or not finite.
    Source: Mellor et al., arXiv 2006.04647 version 1; as a score "jacob_cov" Abdelfattah et al. 2021,
        arXiv 2101.08134.
    Deviations: symmetric eigenvalues in float64, negative rounding errors as 0.
    """
    with specimen("jacob_cov", module, images, labels, seed=seed, device=device) as trial:
        if len(trial.images) < 2:
            raise trial.failed("images: 1, expected at least 2 to correlate")
        trial.images.requires_grad_(True)
        (gradient,) = trial.gradients(trial.forward(trial.images).sum(), [trial.images])
        if not gradient.isfinite().all():
            raise trial.failed(f"the gradient of the images is not finite; {trial.trouble()}")
        rows = gradient.double().flatten(1).cpu()
        centred = rows - rows.mean(1, keepdim=True)
        norms = centred.norm(dim=1, keepdim=True)
        if not norms.all():
            at = int((norms == 0).flatten().nonzero()[0])
            raise trial.failed(f"the gradient of image {at} is the same everywhere; {trial.trouble()}")
        unit = centred / norms
        shifted = torch.linalg.eigvalsh(unit @ unit.T).clamp_(min=0) + K
        return -float((shifted.log() + 1 / shifted).sum())
