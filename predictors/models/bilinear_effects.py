"""The bilinear estimator of BINAS in closed form: from expectations measured over random networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from predictors.models.bilinear_form import BilinearForm
from predictors.models.bilinear_structure import Floats, Indices, Query, Structure, measurement_plan


class InvalidMeasurements(ValueError):
    """Queries of the plan without a value, or values and errors that no measurement has."""


@dataclass(frozen=True)
class Contribution:
    """What one choice of a network adds to its label.

    Attributes:
        stage, block: where, 0-based; block is None for the depth of the stage.
        choice: the depth, or the 0-based configuration.
        effect: in the unit of the label.
        error: its standard error; NaN when none was given.
    """

    stage: int
    block: int | None
    choice: int
    effect: float
    error: float


@dataclass(frozen=True)
class BilinearEstimator:
    """Label = base + effects of the depths + effects of the configurations of blocks that exist.

    Attributes:
        structure: the stages.
        base, base_error: mean label of a random network, and its standard error.
        depths, depth_errors: (beta,) effects of depths, and standard errors.
        configs, config_errors: (alpha,) effects of configurations, and standard errors.
    Standard errors are NaN where none was given.
    """

    structure: Structure
    base: float
    base_error: float
    depths: Floats
    depth_errors: Floats
    configs: Floats
    config_errors: Floats

    def predict(self, depths: ArrayLike, configs: ArrayLike) -> Floats:
        """(n,) labels of networks as ``Structure`` describes them. Raises InvalidStructure."""
        depth_places, alpha_places, exists = self.structure.places(depths, configs)
        of_depths = self.depths[depth_places].sum(axis=1)
        found: Floats = self.base + of_depths + (self.configs[alpha_places] * exists).sum(axis=1)
        return found

    def contributions(self, depths: ArrayLike, configs: ArrayLike) -> list[Contribution]:
        """What each choice of one network adds; with the base, their sum is the prediction. Raises InvalidStructure."""
        numbers, chosen = np.asarray(depths), np.asarray(configs)
        depth_places, alpha_places, exists = self.structure.places(numbers[None], chosen[None])
        found = [
            Contribution(s, None, int(numbers[s]), float(self.depths[place]), float(self.depth_errors[place]))
            for s, place in enumerate(depth_places[0])
        ]
        for at, (s, b) in enumerate(self.structure.blocks):
            if exists[0, at]:
                place = alpha_places[0, at]
                effect, error = float(self.configs[place]), float(self.config_errors[place])
                found.append(Contribution(s, b, int(chosen[at]), effect, error))
        return found

    def form(self) -> BilinearForm:
        """The same as base + q'beta + alpha'Q beta + p'alpha."""
        return BilinearForm.of_effects(self.structure, self.base, self.depths, self.configs)

    @classmethod
    def of_form(cls, form: BilinearForm) -> BilinearEstimator:
        """Back from the matrices, without standard errors. Raises NotOfBlocks: it is no sum of effects."""
        base, depths, configs = form.effects()
        unknown = np.full(len(configs), np.nan)
        return cls(form.structure, base, float("nan"), depths, unknown[: len(depths)], configs, unknown)


def estimate(
    structure: Structure,
    measured: Mapping[Query, tuple[float, float | None]],
    *,
    differences: bool = False,
    pooled: bool = True,
    shrink: bool | None = None,
) -> BilinearEstimator:
    """The bilinear estimator from what ``measurement_plan`` asks for.

    Args:
        structure: the stages.
        measured: of each query of the plan: (mean label, its standard error or None).
        differences: whether the values, but for that of ``Query()``, are differences to ``query.reference``, with
            their errors. Measure so where you can: the same images and the same other choices on both sides.
        pooled: whether a reference is also estimated by the mean of the choices that are compared with it, which has
            the same expectation when what is not named is drawn uniformly. False takes the reference as measured.
        shrink: whether effects are drawn towards 0 by their signal-to-noise ratio (empirical Bayes, a family being all
            depths or all configurations of a block); None: where all standard errors are given.
    Raises: InvalidMeasurements: a query without a value, values that are not finite, negative errors.
    Source: Nayman et al. 2022, "BINAS: Bilinear Interpretable Neural Architecture Search", arXiv 2110.12399. Effects of
        blocks are relative to the mean *at the depth that they were measured at*, as the paper has it. Deviations: the
        authors' code takes all effects relative to the mean of all networks, which counts the depth again with each
        block; pooling and shrinking are ours.
    """
    queries, means, errors = _checked(structure, measured)
    place = {query: at for at, query in enumerate(queries)}
    effects, spread = np.zeros(len(queries)), np.zeros(len(queries))
    for members in _families(queries):
        if differences:
            effects[members], spread[members] = means[members], errors[members]
        else:
            at = place[queries[members[0]].reference]
            effects[members], spread[members] = _relative(means, errors, members, at, pooled)
    known = bool(np.isfinite(errors).all())
    if shrink and not known:
        raise InvalidMeasurements("shrink: needs the standard error of every query; give them, or leave shrink at None")
    if known and shrink is not False:
        for members in _shrunk_together(queries):
            effects[members], spread[members] = shrunk(effects[members], spread[members])
    depth_at = np.array([at for at, query in enumerate(queries) if query.stage is not None and query.block is None])
    config_at = np.array([at for at, query in enumerate(queries) if query.block is not None])
    return BilinearEstimator(
        structure, float(means[0]), float(errors[0]),
        effects[depth_at], spread[depth_at], effects[config_at], spread[config_at],
    )  # fmt: skip


def shrunk(effects: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Posterior means and standard deviations of effects drawn from one normal distribution around 0.

    Its variance is what the squared effects exceed the squared errors by, on average, and at least 0.
    """
    variance = max(float(np.mean(effects**2 - errors**2)), 0.0)
    total = variance + errors**2
    share = np.where(total > 0, variance / np.where(total > 0, total, 1.0), 1.0)
    return share * effects, np.sqrt(share) * errors


def _relative(means: Floats, errors: Floats, members: Indices, at: int, pooled: bool) -> tuple[Floats, Floats]:
    """Differences of a family to its reference, and their standard errors."""
    own, reference = errors[members] ** 2, errors[at] ** 2
    kept = 1.0  # weight of the reference as it was measured
    average = own.sum() / len(members) ** 2
    if pooled and np.isfinite(own).all() and np.isfinite(reference) and average + reference > 0:
        kept = average / (average + reference)
    elif pooled:
        kept = 1 / (1 + len(members))  # all measured equally well
    centre = kept * means[at] + (1 - kept) * means[members].mean()
    variance = own * (1 - 2 * (1 - kept) / len(members)) + (1 - kept) ** 2 * average + kept**2 * reference
    return means[members] - centre, np.sqrt(np.maximum(variance, 0.0))


def _families(queries: list[Query]) -> list[Indices]:
    """Places of the choices that stand for each other: the depths of a stage, the configurations of a block."""
    found: dict[tuple[int | None, int | None], list[int]] = {}
    for at, query in enumerate(queries[1:], 1):
        found.setdefault((query.stage, query.block), []).append(at)
    return [np.array(members) for members in found.values()]


def _shrunk_together(queries: list[Query]) -> list[Indices]:
    """Families, but for the depths: a stage has too few of them to tell their spread, so those of all stages."""
    families = _families(queries)
    depths = [members for members in families if queries[members[0]].block is None]
    return [np.concatenate(depths), *(members for members in families if queries[members[0]].block is not None)]


def _checked(
    structure: Structure, measured: Mapping[Query, tuple[float, float | None]]
) -> tuple[list[Query], Floats, Floats]:
    queries = measurement_plan(structure)
    missing = [query for query in queries if query not in measured]
    if missing:
        raise InvalidMeasurements(
            f"measured: {len(missing)} of {len(queries)} queries have no value, such as {missing[0]}"
        )
    means = np.array([measured[query][0] for query in queries], np.float64)
    given = (measured[query][1] for query in queries)
    errors = np.array([np.nan if error is None else error for error in given], np.float64)
    if not np.isfinite(means).all():
        raise InvalidMeasurements(
            f"measured: {queries[int((~np.isfinite(means)).argmax())]} is not finite, measure it again"
        )
    if (errors < 0).any() or np.isinf(errors).any():
        raise InvalidMeasurements("measured: negative or infinite standard errors, expected 0 or above, or None")
    return queries, means, errors
