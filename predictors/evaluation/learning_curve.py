"""How a predictor gets better with more labels, beside the baseline: whether labelling more is worth it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from predictors.evaluation.baseline import Columns, baseline_columns, choose_baseline
from predictors.evaluation.crossvalidate import checked_labels
from predictors.evaluation.folds import Rows, TooFewRows, network_numbers
from predictors.evaluation.out_of_fold import fit_and_predict
from predictors.evaluation.statistics import resampling
from predictors.rank import Estimate, Floats, kendall_of, rmse_of

SMALLEST_TEST = 10
TEST_SHARE = 0.25
FIRST = 25


@dataclass(frozen=True)
class CurvePoint:
    """One training size.

    Attributes:
        size: networks that were trained on.
        kendall: of networks held out; the interval is over networks and repeats.
        rmse: unit of the labels.
        baseline_kendall: tau of one column, chosen with its sign on the same training rows; None without columns.
    """

    size: int
    kendall: Estimate
    rmse: Estimate
    baseline_kendall: Estimate | None


def learning_curve(  # noqa: PLR0913 - the data, and how it is split
    make_model: Callable[[], Any],
    X: Any,
    y: ArrayLike,
    *,
    sizes: Sequence[int] | None = None,
    repeats: int = 5,
    seed: int = 0,
    costs: Any = None,
    groups: ArrayLike | None = None,
) -> tuple[CurvePoint, ...]:
    """Judge a kind of model trained on ever more labels, always by the same networks held out.

    Each repeat shuffles the networks, holds out a quarter (at least ten) and trains on growing parts of the rest, each
    part within the next.

    Args:
        make_model: gives a fresh model, as for ``cross_validate``.
        X: n rows of what the model reads.
        y: (n,) finite labels, higher is better.
        sizes: numbers of training networks; None: 25, 50, 100, ... and all that are not held out.
        repeats: shuffles.
        seed: of shuffles and intervals.
        costs: see ``baseline_columns``.
        groups: (n,) which network each row is of, when some have several labels.
    Returns: one point a size, ascending.
    Raises: InvalidLabels; TooFewRows: fewer than 15 networks, or a size that is too large or below 2.
    """
    labels = checked_labels(X, y)
    network = network_numbers(len(labels), groups)
    count = int(network.max()) + 1
    held = max(SMALLEST_TEST, round(TEST_SHARE * count))
    asked = _sizes(sizes, count, held)
    columns = baseline_columns(X, costs)
    draws = resampling(count, repeats, seed)
    shuffles = [np.random.default_rng((seed, repeat)).permutation(count) for repeat in range(repeats)]
    tests = [np.flatnonzero(np.isin(network, order[:held])) for order in shuffles]
    points = []
    for size in asked:
        trains = [np.flatnonzero(np.isin(network, order[held : held + size])) for order in shuffles]
        means = [
            fit_and_predict(make_model, X, labels, train, test).mean for train, test in zip(trains, tests, strict=True)
        ]
        scores = [_baseline(columns, labels, train, test) for train, test in zip(trains, tests, strict=True)]

        def tau(i: int, counts: Floats, predicted: list[Floats] = means) -> Floats:
            return kendall_of(predicted[i], labels[tests[i]], counts[:, network[tests[i]]])

        def error(i: int, counts: Floats, predicted: list[Floats] = means) -> Floats:
            return rmse_of(predicted[i], labels[tests[i]], counts[:, network[tests[i]]])

        def known(i: int, counts: Floats, predicted: list[Floats] = scores) -> Floats:
            return tau(i, counts, predicted)

        baseline = draws.estimate(known) if columns else None
        points.append(CurvePoint(size, draws.estimate(tau), draws.estimate(error), baseline))
    return tuple(points)


def _sizes(sizes: Sequence[int] | None, count: int, held: int) -> list[int]:
    left = count - held
    if left < SMALLEST_TEST // 2:
        raise TooFewRows(f"{count} labelled networks, expected at least {SMALLEST_TEST * 3 // 2} for a learning curve")
    if sizes is None:
        doubled = [FIRST * 2**i for i in range(20)]
        return [size for size in doubled if size < 0.8 * left] + [left]
    asked = sorted(set(sizes))
    if not asked or asked[0] < 2 or asked[-1] > left:
        raise TooFewRows(
            f"sizes {list(sizes)}, expected 2 to {left}: {held} of the {count} labelled networks are held out"
        )
    return asked


def _baseline(columns: Columns, labels: Floats, train: Rows, test: Rows) -> Floats:
    found = choose_baseline(columns, labels, train)
    return found.score(columns, test) if found else np.zeros(len(test))
