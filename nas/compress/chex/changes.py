"""One change of masks: how many units each group keeps, which stay and which come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from nas.compress.chex.allocation import Counts, Limits, Ranking, whole
from nas.compress.chex.columns import Tensors, columns, scale_of_units
from nas.compress.chex.regrow import draw_regrown
from nas.compress.chex.scores import select_columns
from nas.compress.chex.settings import ChexSettings
from nas.compress.groups import Coupling


@dataclass(frozen=True, slots=True)
class Numbers:
    """Units of each group: that stay, and that are alive once others have come back."""

    kept: Counts
    alive: Counts


def first_numbers(wanted: Mapping[str, float], regrow: float, limits: Limits) -> Numbers:
    """At the start every group has the same share, and d0 of its units more."""
    kept = whole(wanted)
    more = {name: round(count + regrow * limits.sizes[name]) for name, count in wanted.items()}
    return Numbers(kept, {name: min(limits.sizes[name], max(kept[name], count)) for name, count in more.items()})


def later_numbers(ranking: Ranking, removed: int, regrow: float) -> Numbers:
    """Kept at the threshold that keeps the budget, alive at a threshold lower by d_t of all units."""
    return Numbers(ranking.counts(removed), ranking.counts(removed - round(regrow * ranking.units)))


def signals(
    tensors: Tensors, coupling: Coupling, keep: Mapping[str, Tensor], scales: frozenset[str], signal: str
) -> dict[str, Tensor]:
    """What is compared across groups, larger is worth more.

    Args:
        tensors: state dict; under its masks, units that are masked have signal 0, with restored values their last one.
        coupling: of the network.
        keep: by group, bool (units,): alive now.
        scales: of ``norm_scales``.
        signal: of the settings.
    Returns: by group, (units,) float64.
    """
    by_norm = {
        name: None if signal == "filters" else scale_of_units(tensors, group, scales)
        for name, group in coupling.groups.items()
    }
    known = [value[keep[name]] for name, value in by_norm.items() if value is not None]
    typical = float(torch.cat(known).mean()) if signal == "norms" and known else 1.0
    found: dict[str, Tensor] = {}
    for name, group in coupling.groups.items():
        scale = by_norm[name]
        if signal == "norms" and scale is not None:
            found[name] = scale
            continue
        values = columns(tensors, group).square().sum(0).sqrt() if scale is None else scale
        found[name] = typical * values / values[keep[name]].mean().clamp_min(1e-30)
    return found


def choose_first(tensors: Tensors, coupling: Coupling, alive: Counts) -> dict[str, Tensor]:
    """The units with the largest filters by L1 norm."""
    chosen = {}
    for name, group in coupling.groups.items():
        everything = torch.ones(group.size, dtype=torch.bool)
        chosen[name] = select_columns(columns(tensors, group), everything, alive[name], "l1")
    return chosen


def choose(  # noqa: PLR0913 - the facts of a change, all named
    masked: Tensors,
    restored: Tensors,
    coupling: Coupling,
    *,
    keep: Mapping[str, Tensor],
    numbers: Numbers,
    settings: ChexSettings,
    generator: Generator,
) -> dict[str, Tensor]:
    """Which units are alive next: those that subset selection keeps and those that are drawn to come back.

    Args:
        masked: state dict under the present masks, from which the units to keep are selected.
        restored: the same with the most recent values of masked channels; residuals are taken on it.
        coupling: of the network.
        keep: by group, bool (units,): alive now.
        numbers: of the change.
        settings: selection and regrowth.
        generator: of the draw.
    """
    chosen = {}
    for name, group in coupling.groups.items():
        count = min(numbers.kept[name], int(keep[name].sum()))
        kept = select_columns(columns(masked, group), keep[name], count, settings.selection)
        back = numbers.alive[name] - count
        chosen[name] = kept | draw_regrown(columns(restored, group), kept, back, generator, settings.regrowth)
    return chosen
