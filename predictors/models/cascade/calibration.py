"""Label calibration: cheap labels brought to the level of true ones, as far as the true ones given say how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_array, column_or_1d

from predictors.models.cascade.bagging import CascadeBagging
from predictors.models.cascade.judges import JudgeName, judge_of
from predictors.models.linear import Ridge
from predictors.regressor import Floats

Steps = Literal["shift", "groups", "full"]
STEPS = ("shift", "groups", "full")
REACH = 1.6  # standard deviations of the weak labels that a group's constant may be off the common one
SHARES = np.linspace(0, 1, 11)  # of the old label that is kept


class InvalidWeakLabels(ValueError):
    """Weak rows that do not fit together or do not fit the true ones; the message says which."""


@dataclass(frozen=True)
class CalibratedLabels:
    """Weak labels at the level of the true ones, and how they came there.

    Attributes:
        labels: (m,) calibrated.
        shifts: (groups,) constant added to each group, from the lowest labels to the highest.
        group: (m,) of each label.
        kept: (m,) share of the shifted label that was kept, 0 to 1; the rest is the bag's.
    """

    labels: Floats
    shifts: Floats
    group: NDArray[np.int64]
    kept: Floats


def calibrate_labels(  # noqa: PLR0913 - two tables, and the choices of the method
    weak_X: ArrayLike,
    weak_y: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    *,
    steps: Steps = "full",
    groups: int = 3,
    bag: CascadeBagging | None = None,
    judge: JudgeName = "nu-svr",
    random_state: int = 0,
) -> CalibratedLabels:
    """Bring weak labels to the level of true ones. It reads every true label: give it those of training rows only.

    Args:
        weak_X: (m, d) features of networks with cheap labels, finite.
        weak_y: (m,) their labels, finite, in the unit of ``y``.
        X: (n, d) features of networks with true labels.
        y: (n,) true labels.
        steps: "shift" adds one constant; "groups" one to each group; "full" also draws each label to a bag's.
        groups: of the sorted weak labels, of equal size, from 1.
        bag: whose out-of-bag predictions the labels are drawn to; None for 50 first-level models of 500 draws.
        judge: fitted on the weak rows and asked about the true ones for every share of every label: "nu-svr" as
            published (seconds for 200 labels), or "kernel-ridge" (milliseconds).
        random_state: of the bag where it is None.

    Returns: the calibrated labels.
    Raises: InvalidWeakLabels: no rows, other columns, or no group can be made.
    Source: Zhang et al. 2021, arXiv 2108.05613, and its released code. Deviations: (groups) they try 10^3 triples of
        constants and take the least leave-one-out error of xgboost on the true rows; we solve for the least
        leave-one-out error of a ridge regression, which is linear in the constants, within the same distance of the
        common constant (1.6 standard deviations of the weak labels). (full) their bag has seen the label that it
        corrects, ours has not; the nu-SVR sees labels of variance 1.
    """
    weak, cheap, true, labels = _checked(weak_X, weak_y, X, y)
    if steps not in STEPS:
        raise ValueError(f"steps={steps!r}, expected one of {', '.join(STEPS)}")
    if not 1 <= groups <= len(cheap):
        raise InvalidWeakLabels(f"groups={groups}, expected 1 to the number of weak labels, {len(cheap)}")
    common = common_shift(weak, cheap, true, labels)
    group = _groups(cheap, groups if steps != "shift" else 1)
    shifts = np.array([common])
    if steps != "shift":
        shifts = _group_shifts(weak, cheap, true, labels, group, common)
    shifted = cheap + shifts[group]
    kept = np.ones(len(cheap))
    if steps == "full":
        bag = bag or CascadeBagging(estimators=50, draws=500, second_estimators=0, random_state=random_state)
        shifted, kept = _draw_to_bag(weak, shifted, true, labels, bag, judge)
    return CalibratedLabels(shifted, shifts, group, kept)


def common_shift(weak: Floats, cheap: Floats, true: Floats, labels: Floats) -> float:
    """Mean of the true labels less what a ridge regression of the weak ones says of the same networks."""
    return float((labels - Ridge().fit(weak, cheap).predict(true)).mean())


def _groups(cheap: Floats, count: int) -> NDArray[np.int64]:
    """(m,) group of each label: sorted, cut in parts of equal size; equal labels share one."""
    place = np.searchsorted(np.sort(cheap), cheap)
    return np.asarray(place * count // len(cheap), np.int64)


def _group_shifts(
    weak: Floats, cheap: Floats, true: Floats, labels: Floats, group: NDArray[np.int64], common: float
) -> Floats:
    """(groups,) constants within reach of the common one, of least leave-one-out error of ridge on the true rows."""
    from scipy.optimize import lsq_linear

    features, count = np.vstack([weak, true]), len(weak)
    member = np.zeros((len(features), int(group.max()) + 1))
    member[np.arange(count), group] = 1.0
    together = np.concatenate([cheap + common, labels])
    leave_out = _leave_one_out(features, together)[count:]
    reach = REACH * max(float(cheap.std()), 1e-9)
    found = lsq_linear(leave_out @ member, -(leave_out @ together), bounds=(-reach, reach))
    return np.asarray(common + found.x)


def _leave_one_out(features: Floats, labels: Floats) -> Floats:
    """(n, n) matrix that turns labels into leave-one-out residuals of a ridge regression; strength by GCV."""
    strength = Ridge().fit(features, labels).strength_
    left, singular, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    squares = singular**2
    penalty = strength * squares.mean() if squares.mean() > 0 else 1.0
    hat = (left * (squares / (squares + penalty))) @ left.T + 1 / len(features)
    left_over = np.eye(len(features)) - hat
    found: Floats = left_over / np.maximum(np.diag(left_over), 1e-9)[:, None]
    return found


def _draw_to_bag(
    weak: Floats, shifted: Floats, true: Floats, labels: Floats, bag: CascadeBagging, judge: JudgeName
) -> tuple[Floats, Floats]:
    """One greedy pass over the weak labels, each drawn to the bag's as far as the judge errs less on the true rows."""
    from sklearn.base import clone

    everything = np.vstack([weak, true])
    chances = np.concatenate([np.full(len(weak), 0.6 / len(weak)), np.full(len(true), 0.4 / len(true))])
    fitted = clone(bag).fit(everything, np.concatenate([shifted, labels]), sample_weight=chances)
    pulled = fitted.oob_prediction_[: len(weak)]
    error = judge_of(judge)(weak, shifted, true, labels)
    current, kept = shifted.copy(), np.ones(len(shifted))
    for place, old in enumerate(shifted):
        tried = SHARES * old + (1 - SHARES) * pulled[place]
        errors = error.of(current, place, tried)
        best = len(SHARES) - 1 - int(np.argmin(errors[::-1]))  # of equal ones, the one that keeps most
        current[place], kept[place] = tried[best], SHARES[best]
    return current, kept


def _checked(weak_X: ArrayLike, weak_y: ArrayLike, X: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
    try:
        weak, true = (check_array(table, dtype=np.float64) for table in (weak_X, X))
        cheap, labels = (column_or_1d(column, dtype=np.float64) for column in (weak_y, y))
    except ValueError as error:
        raise InvalidWeakLabels(f"weak or true labels: {error}") from None
    for name, table, column in (("weak", weak, cheap), ("true", true, labels)):
        if len(table) != len(column) or not np.isfinite(column).all():
            raise InvalidWeakLabels(
                f"{name} labels: {len(table)} networks and {np.isfinite(column).sum()} finite labels, "
                "expected as many of both"
            )
    if weak.shape[1] != true.shape[1]:
        raise InvalidWeakLabels(f"weak networks have {weak.shape[1]} features, the true ones {true.shape[1]}")
    return weak, cheap, true, labels
