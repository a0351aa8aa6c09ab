"""Chooses networks to train in rounds: far apart at first, then where a predictor of their accuracy expects most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nas.gates import Gates
from nas.guided.batch import diverse_best
from nas.guided.members import members_within
from nas.guided.proposals import Proposals, Scored
from nas.protocols import SearchSpace
from predictors.acquisition import expected_improvement, lower_confidence_bound
from predictors.designs import d_optimal, diverse
from search_spaces.arch import Architecture

Floats = NDArray[np.float64]
Acquisition = Literal["ei", "lcb", "ucb"]
FEWEST = 4  # labels below which no predictor is fitted


class Predictor(Protocol):
    """What proposes needs of a predictor; higher labels are better."""

    def fit(self, archs: Sequence[Architecture], labels: Sequence[float]) -> Any:
        """Learn from labels that are not all equal."""

    def predict(self, archs: Sequence[Architecture]) -> tuple[Floats, Floats]:
        """(n,) labels and their standard deviations."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A network that was trained; without a label where the training failed."""

    arch: Architecture
    label: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """How networks are chosen.

    Attributes:
        initial: networks of the first round.
        batch: networks of every later round, at most.
        proposals: networks looked at in a round, beside the pool.
        acquisition: "ei", expected improvement; "ucb", mean and ``kappa`` standard deviations; "lcb", mean less those.
        kappa: at least 0.
        explore: share of the networks of later rounds that are the most uncertain ones that may still be the best.
        pool: members within the limits, from which the first networks are chosen.
    """

    initial: int = 12
    batch: int = 5
    proposals: int = 1_000
    acquisition: Acquisition = "ei"
    kappa: float = 1.0
    explore: float = 0.0
    pool: int = 600


class GuidedSearch:
    """Asks for networks to label, round by round, under hard limits.

    What it asks for is a function of the seed and of the labels so far, in order: a search that was interrupted goes on
    from its labels alone. No network is asked for twice, and none outside the limits.

    First round: of a pool of members within the limits, those that tell most about a linear model of the encoding
    and its squares (D-optimal). Later rounds: the predictor is
    fitted to all labels; members of the pool, the best labelled networks and their offspring are evolved on the
    acquisition; the batch is taken from all that were seen, best first, less what stands next to one already taken.

    Source: Wen et al. 2020, "Neural Predictor for Neural Architecture Search" (arXiv 1912.00848); White et al. 2021,
        "BANANAS" (arXiv 1910.11858), for the evolution on the acquisition; Gonzalez et al. 2016, "Batch Bayesian
        Optimization via Local Penalization" (arXiv 1505.08052), for the batch. Deviations: the first networks are
        designed, not random; the penalty falls with the distance in the encoding, by the spacing of the pool.
    """

    def __init__(
        self, space: SearchSpace, gates: Gates, plan: Plan, make_predictor: Callable[[], Predictor], *, seed: int
    ) -> None:
        """Nothing is known yet.

        Args:
            space: where to search.
            gates: the limits.
            plan: how to choose.
            make_predictor: gives a predictor of the space; it may be the same one again, which is then fitted anew.
            seed: of all randomness.
        """
        self.space, self.gates, self.plan, self.seed = space, gates, plan, seed
        self._make = make_predictor
        self._pool: list[Architecture] | None = None
        self._scale: tuple[Floats, Floats] | None = None

    def ask(self, told: Sequence[Labelled]) -> list[Architecture]:
        """Networks to label next.

        Args:
            told: those of all rounds before, in the order asked, with their labels.
        Returns: fewer than planned, or none, when the space within the limits has no more.
        """
        if not told:
            return self._designed()
        labels = {one.label for one in told if one.label is not None}
        if len(labels) < 2 or sum(one.label is not None for one in told) < FEWEST:
            return self._spread(told)
        return self._guided(told)

    def pool(self) -> list[Architecture]:
        """Members within the limits, found once."""
        if self._pool is None:
            rng = np.random.default_rng((self.seed, 0x9001))
            wanted = self.plan.pool
            found = members_within(self.space, self.gates, rng=rng, seed=self.seed, wanted=wanted, samples=2 * wanted)
            self._pool = [candidate.arch for candidate in found]
        return self._pool

    def encode(self, archs: Sequence[Architecture]) -> Floats:
        """(n, d) encodings, each column with mean 0 and standard deviation 1 on the pool; constant ones left out."""
        if self._scale is None:
            encoded = np.array([self.space.encode(arch) for arch in self.pool()])
            self._scale = encoded.mean(axis=0), encoded.std(axis=0)
        middle, spread = self._scale
        kept = spread > 0
        rows = np.array([self.space.encode(arch) for arch in archs])
        return np.asarray((rows[:, kept] - middle[kept]) / spread[kept])

    def _designed(self) -> list[Architecture]:
        pool = self.pool()
        if len(pool) <= self.plan.initial:
            return list(pool)
        features = self.encode(pool)
        curved = np.hstack([features, features**2])  # a line alone would only ask for the ends
        return [pool[i] for i in d_optimal(curved, self.plan.initial, seed=self.seed)]

    def _spread(self, told: Sequence[Labelled]) -> list[Architecture]:
        """Members of the pool far from each other, none of which was asked for; while nothing can be predicted."""
        asked = {one.arch.digest for one in told}
        left = [arch for arch in self.pool() if arch.digest not in asked]
        if len(left) <= self.plan.batch:
            return left
        return [left[int(i)] for i in diverse(self.encode(left), self.plan.batch, seed=self.seed + len(told))]

    def _guided(self, told: Sequence[Labelled]) -> list[Architecture]:
        archs = [one.arch for one in told if one.label is not None]
        labels = [one.label for one in told if one.label is not None]
        model = self._make()
        model.fit(archs, labels)
        best = float(model.predict(archs)[0].max())  # of the predictions: the best label is partly luck

        def acquire(networks: Sequence[Architecture]) -> Scored:
            mean, deviation = model.predict(networks)
            return Scored(self._acquisition(mean, deviation, best), mean + 2 * deviation, deviation)

        rng = np.random.default_rng((self.seed, 0x9002, len(told)))
        order = np.argsort(-np.asarray(labels), kind="stable")
        proposals = Proposals(self.space, self.gates, rng, acquire, asked={one.arch.digest for one in told})
        proposals.begin(self.pool(), [archs[i] for i in order])
        proposals.evolve(self.plan.proposals)
        found, scored = proposals.open()
        if not found:
            return []
        return [found[i] for i in self._batch(found, scored, best, len(told))]

    def _batch(self, found: Sequence[Architecture], scored: Scored, best: float, told: int) -> list[int]:
        """Positions of the next batch: most by their acquisition, some because nobody knows."""
        wanted = min(self.plan.batch, len(found))
        before = max(0, told - self.plan.initial)
        explored = int(self.plan.explore * (before + wanted)) - int(self.plan.explore * before)
        features = self.encode(found)
        chosen = diverse_best(scored.value, features, wanted - explored)
        doubt = np.where(scored.upper >= best, scored.deviation, 0.0)
        return chosen + diverse_best(doubt, features, wanted - len(chosen), taken=chosen)

    def _acquisition(self, mean: Floats, deviation: Floats, best: float) -> Floats:
        if self.plan.acquisition == "ei":
            return expected_improvement(mean, deviation, best)
        kappa = self.plan.kappa if self.plan.acquisition == "lcb" else -self.plan.kappa
        return lower_confidence_bound(mean, deviation, kappa=kappa)
