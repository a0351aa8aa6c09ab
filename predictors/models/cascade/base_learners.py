"""The base learners of cascade bagging by name, with the settings of its authors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Maker = Callable[[int, int], Any]  # rows, seed -> unfitted scikit-learn regressor


class UnknownLearner(ValueError):
    """No base learner has this name; the message lists those that there are."""


def base_learners() -> dict[str, Maker]:
    """All of them. They expect features and labels of mean 0 and variance 1.

    Source: Zhang et al. 2021, arXiv 2108.05613, and its released settings. Deviations: xgboost sorts a feature into
        32 bins, not 256 (twice as fast). The authors let scikit-learn scale each column to length 1, which makes a
        penalty of 1.9 one of 1.9 n on columns of variance 1, and a lasso penalty of 1e-5, on accuracies between 0 and
        1, about 0.1 on labels of variance 1. The nu-SVR also sees labels of variance 1: on fractions its tolerance of
        0.005 is wider than the labels.
    """
    return {
        "xgboost": _xgboost,
        "forest": _forest,
        "extra-trees": _extra_trees,
        "knn": _neighbours,
        "ridge": _ridge,
        "lasso": _lasso,
        "bayesian-ridge": _bayesian_ridge,
        "nu-svr": _nu_svr,
        "adaboost": _adaboost,
    }


def makers_of(names: str | Sequence[str]) -> list[Maker]:
    """Those of one name or of several. Raises UnknownLearner."""
    known = base_learners()
    asked = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in asked if name not in known]
    if unknown or not asked:
        got = repr(unknown[0]) if unknown else "none"
        raise UnknownLearner(f"base learner {got}, expected one or several of {', '.join(known)}")
    return [known[name] for name in asked]


def _xgboost(rows: int, seed: int) -> Any:
    from xgboost import XGBRegressor

    return XGBRegressor(
        max_depth=4, learning_rate=0.24, n_estimators=30, reg_lambda=2.4, max_bin=32, n_jobs=1, random_state=seed
    )


def _forest(rows: int, seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(n_estimators=55, min_samples_leaf=6, random_state=seed)


def _extra_trees(rows: int, seed: int) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(n_estimators=30, min_samples_split=10, random_state=seed)


def _neighbours(rows: int, seed: int) -> Any:
    from sklearn.neighbors import KNeighborsRegressor

    return KNeighborsRegressor(n_neighbors=min(34, rows), weights="distance", algorithm="brute")


def _ridge(rows: int, seed: int) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=1.9 * rows)


def _lasso(rows: int, seed: int) -> Any:
    from sklearn.linear_model import Lasso

    return Lasso(alpha=0.1)


def _bayesian_ridge(rows: int, seed: int) -> Any:
    from sklearn.linear_model import BayesianRidge

    return BayesianRidge(alpha_2=1.2e-3)


def _nu_svr(rows: int, seed: int) -> Any:
    from sklearn.svm import NuSVR

    return NuSVR(C=1.0, kernel="rbf", gamma="scale", tol=5e-3)


def _adaboost(rows: int, seed: int) -> Any:
    from sklearn.ensemble import AdaBoostRegressor
    from sklearn.tree import DecisionTreeRegressor

    tree = DecisionTreeRegressor(max_depth=4)
    return AdaBoostRegressor(tree, n_estimators=100, learning_rate=3.0, loss="exponential", random_state=seed)
