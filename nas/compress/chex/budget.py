"""What the final network may cost: a share of multiply-accumulates, or a latency that the caller measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from nas.compress.chex.allocation import (
    Counts,
    Limits,
    Ranking,
    first_units,
    rounded,
    share_within,
    uniform_counts,
    whole,
)
from nas.compress.chex.settings import ChexSettings, InvalidChex
from nas.compress.errors import BudgetUnreachable
from nas.compress.groups import Coupling
from nas.compress.sliced_cost import SlicedCost
from nas.compress.slicing import sliced

Latency = Callable[[nn.Module], float]  # sliced network -> milliseconds


class Budget:
    """The budget of one network.

    A latency is turned into multiply-accumulates twice: before training, on groups of equal shares, for exploration,
    and once more for the final widths. Every look slices the network with rounded widths and measures it.

    Attributes:
        limits: of every group.
        cost: of the sliced network.
        macs: of the present budget.
        measured_ms: latency of the widths chosen last, None without such a budget.

    Args:
        model: whole network; not changed.
        coupling: of it.
        settings: macs or latency_ms, floors and rounding.
        latency_ms: measures a module; needed for a budget of latency.
    Raises: BudgetUnreachable, InvalidChex.
    """

    def __init__(
        self, model: nn.Module, coupling: Coupling, settings: ChexSettings, latency_ms: Latency | None = None
    ) -> None:
        if (settings.latency_ms is None) != (latency_ms is None):
            raise InvalidChex(
                f"chex: settings.latency_ms={settings.latency_ms} and latency_ms "
                f"{'is not given' if latency_ms is None else 'is given'}, expected both or none"
            )
        self._model, self._coupling, self._settings, self._latency = model, coupling, settings, latency_ms
        self.limits = Limits.of(coupling, settings)
        self.cost = SlicedCost(model, coupling)
        self.measured_ms: float | None = None
        self.whole = self.cost.macs({})
        self.macs = self.whole
        if settings.macs is not None:
            self.macs = int(settings.macs * self.whole)
            self.limits.check(self.cost.macs, self.macs, f"chex: macs={settings.macs:g}")

    def begin(self) -> dict[str, float]:
        """Units of each group for the first masks: equal shares."""
        if self._settings.latency_ms is not None:
            self.macs = self._within_latency(lambda macs: uniform_counts(self.limits, self.cost.macs, macs))
        return self.equal_shares()

    def equal_shares(self) -> dict[str, float]:
        """Units of each group when all have the same share; not whole numbers."""
        return uniform_counts(self.limits, self.cost.macs, self.macs)

    def final(self, ranking: Ranking) -> Counts:
        """Rounded units of each group by the last ranking; those of equal shares when groups are not compared."""

        def wanted(macs: int) -> Mapping[str, float]:
            if self._settings.signal == "uniform":
                return uniform_counts(self.limits, self.cost.macs, macs)
            return ranking.counts(ranking.within(self.cost.macs, macs))

        if self._settings.latency_ms is not None:
            self.macs = self._within_latency(wanted)
        return rounded(wanted(self.macs), self.limits, self.cost.macs, self.macs)

    def _within_latency(self, wanted: Callable[[int], Mapping[str, float]]) -> int:
        """The most multiply-accumulates whose rounded widths keep the latency."""
        assert self._latency is not None
        assert self._settings.latency_ms is not None
        seen: dict[tuple[int, ...], float] = {}
        by_share: dict[float, float] = {}
        latency = self._latency

        def cost(share: float) -> float:
            counts = self._rounded_at(share, wanted)
            key = tuple(counts.values())
            if key not in seen:
                keep = first_units(counts, self.limits.sizes)
                seen[key] = float(latency(sliced(self._model, self._coupling, keep).eval()))
            by_share[share] = seen[key]
            return seen[key]

        share = share_within(cost, self._settings.latency_ms)
        if share is None:
            raise BudgetUnreachable(
                f"chex: latency_ms={self._settings.latency_ms:g}, but with every group at its floor the network takes "
                f"{by_share[0.0]:.3g} ms; ask for more, or lower floor_units, floor_share or round_to"
            )
        self.measured_ms = by_share[share]
        return self._macs_at(share)

    def _macs_at(self, share: float) -> int:
        """From those of the floors, share 0, to those of the whole network, share 1."""
        least = self.cost.macs(self.limits.floors)
        return least + int(share * (self.whole - least))

    def _rounded_at(self, share: float, wanted: Callable[[int], Mapping[str, float]]) -> Counts:
        macs = self._macs_at(share)
        return rounded(whole(wanted(macs)), self.limits, self.cost.macs, macs)
