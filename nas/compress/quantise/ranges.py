"""Steps of grids: from the range of values, or from a search for the least error."""

from __future__ import annotations

import torch
from torch import Tensor

from nas.compress.quantise.quantised import Grid

POWER, RATIOS = 2.4, 100
LEAST_RATIO = 0.2  # of the range that the search keeps
_TINY = 1e-12


def grid_of(low: float, high: float, bits: int) -> Grid:
    """The grid from min(low, 0) to max(high, 0), on which 0 is exact; of unit step where both are 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    top = 2**bits - 1
    scale = (high - low) / top
    if not scale > _TINY:
        return Grid(1.0, 0, bits)
    scale = float(torch.tensor(scale, dtype=torch.float32))
    return Grid(scale, min(top, max(0, round(-low / scale))), bits)


def searched_grid(values: Tensor, low: float, high: float, bits: int) -> Grid:
    """The clipped range whose rounding has the least mean |error| ** 2.4 on a sample of values.

    Args:
        values: sample, of any shape.
        low: of the whole range.
        high: of the whole range.
        bits: of the grid.
    Source: the power is that of Li et al. 2021, "BRECQ" (arXiv 2102.05426); the search over clips is common.
    Deviations: where values have both signs, both ends are searched, one after the other.
    """
    flat = values.reshape(-1).float()
    ratios = torch.linspace(1.0, LEAST_RATIO, RATIOS).tolist()
    best = min((grid_of(low * ratio, high * ratio, bits) for ratio in ratios), key=lambda grid: _error(flat, grid))
    if low < 0 < high:
        ends = [-best.zero_point * best.scale, (2**bits - 1 - best.zero_point) * best.scale]
        for at, end in ((0, low), (1, high)):
            tried = [[ends[0], ends[1]] for _ in ratios]
            for pair, ratio in zip(tried, ratios, strict=True):
                pair[at] = end * ratio
            found = min((grid_of(pair[0], pair[1], bits) for pair in tried), key=lambda grid: _error(flat, grid))
            best = min(best, found, key=lambda grid: _error(flat, grid))
            ends = [-best.zero_point * best.scale, (2**bits - 1 - best.zero_point) * best.scale]
    return best


def on_grid(values: Tensor, grid: Grid) -> Tensor:
    """Values rounded to a grid, as floats."""
    codes = (values / grid.scale).round_().add_(grid.zero_point).clamp_(0, 2**grid.bits - 1)
    result: Tensor = codes.sub_(grid.zero_point).mul_(grid.scale)
    return result


def weight_scale(weight: Tensor, bits: int, *, search: bool) -> Tensor:
    """Step of each output channel of a symmetric grid.

    Args:
        weight: (out, ...).
        bits: codes are -(2**(bits - 1)) .. 2**(bits - 1) - 1.
        search: for the clip of least mean |error| ** 2.4; else the largest weight is the largest code.
    Returns: float32 (out,), above 0.
    """
    flat = weight.flatten(1).float()
    top = 2 ** (bits - 1) - 1
    whole = flat.abs().amax(1) / max(top, 1)
    if search:
        best, least = whole.clone(), torch.full_like(whole, torch.inf)
        for ratio in torch.linspace(1.0, LEAST_RATIO, RATIOS).tolist():
            scale = (whole * ratio).clamp_min(_TINY)
            rounded = (flat / scale[:, None]).round_().clamp_(-top - 1, top).mul_(scale[:, None])
            error = rounded.sub_(flat).abs_().pow_(POWER).sum(1)
            better = error < least
            best, least = torch.where(better, scale, best), torch.where(better, error, least)
        whole = best
    steps: Tensor = whole.clamp_min(_TINY)
    return steps


def with_room_for_bias(scale: Tensor, bias: Tensor | None, input_scale: float) -> Tensor:
    """Steps large enough that the bias, in units of input step * weight step, stays below 2**24."""
    if bias is None:
        return scale
    least: Tensor = bias.abs() / (input_scale * 2**24)
    return torch.maximum(scale, least)


def _error(values: Tensor, grid: Grid) -> float:
    return float(on_grid(values, grid).sub_(values).abs_().pow_(POWER).mean())
