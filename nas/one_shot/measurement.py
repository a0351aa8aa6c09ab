"""What every choice adds, measured in a supernet: BINAS's expectations over random networks, on paired paths.

For each family (the configurations of one block, the depths of one stage) random networks are drawn once, and every
member of the family is put into each of them. The effect of a member is its label less the mean of the family in the
same network, averaged over networks. The other choices being uniform, that mean has the expectation of the reference
that the paper names: that of all networks, and for a block that not every depth has that of the smallest depth which
has it. What all members share cancels, images and all other choices, so the errors are far smaller than those of two
separate expectations.
Source: Nayman et al. 2022, "BINAS", arXiv 2110.12399. Deviations: a random network judges all common images, the paper
draws one for every image; the references are means of families, see ``predictors.models.bilinear_effects.estimate``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nas.one_shot.scores import Scores
from nas.one_shot.structure import SpaceView
from nas.train.supernet.judge import SubnetScore
from predictors.models.bilinear_effects import BilinearEstimator, estimate
from predictors.models.bilinear_structure import Floats, Indices, Query, Structure, measurement_plan

Label = Callable[[SubnetScore], float]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured.

    Attributes:
        estimator: effects with standard errors, shrunk where asked.
        networks: different ones that were scored.
        paths: random networks of every family.
    """

    estimator: BilinearEstimator
    networks: int
    paths: int


def negative_loss(score: SubnetScore) -> float:
    """The label of a network; higher is better."""
    return score.score


@dataclass(frozen=True, slots=True)
class Paths:
    """How choices are measured.

    Attributes:
        count: random networks of every family, at least 2.
        seed: of them.
        label: of a network's score; higher is better.
        shrink: draw effects towards 0 by their signal-to-noise ratio.
    """

    count: int
    seed: int
    label: Label = negative_loss
    shrink: bool = True


def measure_effects(
    view: SpaceView, scores: Scores, paths: Paths, progress: Callable[[float], None] | None = None
) -> Measured:
    """Measure every choice.

    Args:
        view: the space as stages.
        scores: of networks.
        paths: how.
        progress: told the share that is done, 0..1.
    """
    structure = view.structure
    families = families_of(structure)
    networks = _Networks(view, scores, paths.label)
    measured: dict[Query, tuple[float, float | None]] = {}
    base: list[float] = []
    for at, members in enumerate(families):
        rng = np.random.default_rng((paths.seed, 0xB1A5, at))
        depths, configs = structure.sample(paths.count, rng)
        labels = networks.labels([structure.satisfy(query, depths, configs) for query in members])
        base += labels.mean(axis=1).tolist() if members[0].block is None else []
        effects = labels - labels.mean(axis=1, keepdims=True)
        errors = effects.std(axis=0, ddof=1) / np.sqrt(paths.count)
        for query, effect, error in zip(members, effects.mean(axis=0), errors, strict=True):
            measured[query] = (float(effect), float(error))
        if progress is not None:
            progress((at + 1) / len(families))
    # the depth families draw networks of the whole space, so their labels also tell the mean of all
    measured[Query()] = float(np.mean(base)), float(np.std(base, ddof=1) / np.sqrt(len(base)))
    found = estimate(structure, measured, differences=True, shrink=paths.shrink)
    return Measured(found, len(networks.seen), paths.count)


def families_of(structure: Structure) -> list[list[Query]]:
    """The queries of the plan that stand for each other: depths of a stage, configurations of a block."""
    found: dict[tuple[int | None, int | None], list[Query]] = {}
    for query in measurement_plan(structure)[1:]:
        found.setdefault((query.stage, query.block), []).append(query)
    return list(found.values())


class _Networks:
    """Labels of networks that are given as arrays; counts the different ones."""

    def __init__(self, view: SpaceView, scores: Scores, label: Label) -> None:
        self._view, self._scores, self._label = view, scores, label
        self.seen: set[str] = set()

    def labels(self, members: Sequence[tuple[Indices, Indices]]) -> Floats:
        """(paths, members) labels of a family, all asked for at once.

        Members of one path stand together: what they have in common is then computed once.
        """
        by_member = [self._view.architectures(depths, configs) for depths, configs in members]
        archs = [arch for path in zip(*by_member, strict=True) for arch in path]
        self.seen.update(arch.digest for arch in archs)
        found = np.array([self._label(score) for score in self._scores.scores(archs)], np.float64)
        return found.reshape(-1, len(members))
