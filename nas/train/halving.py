"""Successive halving whose outcome does not depend on who arrives first.

ASHA (Li et al. 2020, arXiv 1810.05934) compares a candidate that reaches a rung with those that happened to
reach it before, so the survivors depend on timing. Here a candidate waits at a rung until its fate is
certain: it goes on when it must be among the best 1/eta whatever the missing ones will show, and it stops
when enough are better already. Most decisions fall early, and the survivors are those of synchronous
successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943), for any number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ETA = 3

Verdict = Literal["continue", "stop", "wait"]
Curve = tuple[float, ...]  # validation top-1 after epochs 1, 2, ...


@dataclass(frozen=True, slots=True)
class Halving:
    """The rungs of a race between n candidates.

    Attributes:
        candidates: number of candidates at the start.
        max_epochs: epochs of a full training.
        eta: one of eta goes on at each rung.
        grace: no comparison before this epoch, because nothing is learned yet.
    """

    candidates: int
    max_epochs: int
    eta: int = ETA
    grace: int = 1

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which candidates are compared: max/eta^k, as many as it takes to leave one.

        Those before ``grace`` are put off until then, and fall together.
        """
        count = math.ceil(math.log(self.candidates, self.eta) - 1e-9) if self.candidates > 1 else 0
        epochs = {self.max_epochs // self.eta**k for k in range(1, count + 1)} - {0}
        put_off = {max(self.grace, epoch) for epoch in epochs}
        return tuple(sorted(epoch for epoch in put_off if epoch < self.max_epochs))

    def places(self, rung: int) -> int:
        """How many candidates go on after the rung at this position (from 0)."""
        places = self.candidates
        for _ in range(rung + 1):
            places = math.ceil(places / self.eta)
        return places

    def verdict(self, candidate: int, curves: Mapping[int, Curve], failed: frozenset[int] = frozenset()) -> Verdict:
        """What a candidate does after its last reported epoch.

        Args:
            candidate: its id.
            curves: what every candidate has reported so far; ids without an epoch may be missing.
            failed: ids whose training broke; they rank behind everyone at every rung they did not reach.
        """
        epoch = len(curves.get(candidate, ()))
        if candidate in failed or epoch >= self.max_epochs:
            return "stop"
        if epoch not in self.rungs:
            return "continue"
        rung = self.rungs.index(epoch)
        mine = _rank_key(candidate, curves, epoch)
        reached = [other for other, curve in curves.items() if len(curve) >= epoch]
        better = sum(_rank_key(other, curves, epoch) < mine for other in reached)
        missing = self._finishers(rung, curves, failed) - len(reached)
        if better >= self.places(rung):
            return "stop"
        return "continue" if better + missing < self.places(rung) else "wait"

    def _finishers(self, rung: int, curves: Mapping[int, Curve], failed: frozenset[int]) -> int:
        """How many reach this rung: the winners of the one before, less those that broke on the way."""
        count = self.candidates
        for at in range(rung + 1):
            start = self.rungs[at - 1] if at else 0
            entrants = min(count, self.places(at - 1)) if at else count
            count = entrants - sum(start <= len(curves.get(other, ())) < self.rungs[at] for other in failed)
        return count

    @property
    def total_epochs(self) -> int:
        """Epochs that the whole race trains when nobody fails."""
        total, start, runners = 0, 0, self.candidates
        for rung, epoch in enumerate(self.rungs):
            total += runners * (epoch - start)
            start, runners = epoch, self.places(rung)
        return total + runners * (self.max_epochs - start)


def _rank_key(candidate: int, curves: Mapping[int, Curve], epoch: int) -> tuple[float, int]:
    """Higher accuracy first; equal ones in the order of their ids."""
    return (-curves[candidate][epoch - 1], candidate)
