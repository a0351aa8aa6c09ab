"""Condition number of the neural tangent kernel: how unevenly training would move the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from predictors.proxies.module_proxies.specimen import Specimen, specimen

_COLUMNS = 1 << 20
_ROUNDING = 16 * torch.finfo(torch.float32).eps  # of a gradient, relative to the largest


def ntk_condition(
    module: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0, device: str = "cpu"
) -> float:
    """Largest over smallest eigenvalue of the tangent kernel of the batch.

        score = lambda_max / lambda_min of Theta,  Theta_ij = <df(x_i) / dw, df(x_j) / dw>,  f = sum of the logits

    Args:
        module: (N, C, H, W) -> (N, ...); its weights count as they are.
        images: (N, C, H, W) float32, N >= 2; N backward passes and N copies of all weights in memory.
        labels: ignored.
        seed: of randomness inside the module, if there is any.
        device: where to compute.
    Returns: >= 1; LOWER is better. Rises with N: compare at one batch size.
    Raises: ProxyFailed: the module does not fit; no or not finite gradients; a kernel that is singular within
        the precision of float32, whose condition number would be noise.
    Source: Chen et al. 2021, TE-NAS, arXiv 2102.11535.
    Deviations: as its code does, w are all parameters but the biases, f is the sum of the logits, and batch norms
        use the statistics of the batch. Where the code reports 100000 for a kernel without condition, this raises.
    """
    with specimen("ntk", module, images, labels, seed=seed, device=device) as trial:
        if len(trial.images) < 2:
            raise trial.failed("images: 1, expected at least 2")
        named = {
            name: p
            for name, p in trial.module.named_parameters()
            if p.requires_grad and "bias" not in name.rpartition(".")[2]
        }
        if not named:
            raise trial.failed("the module has no weights")
        sums = trial.forward(trial.images).flatten(1).sum(1)
        rows = []
        for value in sums:
            gradients = trial.gradients(value, list(named.values()), retain_graph=True)
            rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
        jacobian = torch.stack(rows)
        if not jacobian.isfinite().all():
            raise trial.failed(f"a gradient is not finite; {trial.trouble()}")
        if not jacobian.any():
            raise trial.failed(f"dead network: all gradients are zero; {trial.trouble()}")
        return _condition(trial, jacobian)


def _condition(trial: Specimen, jacobian: Tensor) -> float:
    kernel = torch.zeros(len(jacobian), len(jacobian), dtype=torch.float64)
    for columns in torch.split(jacobian, _COLUMNS, dim=1):
        exact = columns.cpu().double()
        kernel.addmm_(exact, exact.T)
    eigenvalues = torch.linalg.eigvalsh(kernel)
    low, high = float(eigenvalues[0]), float(eigenvalues[-1])
    if low <= high * (_ROUNDING * len(jacobian)) ** 2:
        raise trial.failed(
            f"eigenvalues of the kernel {low:.3g} .. {high:.3g}: singular in float32; take fewer or other images"
        )
    return high / low
