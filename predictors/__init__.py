"""How accurate a network will be: training-free proxies, and predictors that learn from labelled networks.

Example: ``from predictors import AutoPredictor, load``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from search_spaces.plugins import Offer, PluginBroken, Table

if TYPE_CHECKING:
    from predictors.auto.auto_predictor import AutoPredictor
    from predictors.saving import load, save

_OURS = {
    "auto": "predictors.auto.auto_predictor:AutoPredictor",
    "ridge": "predictors.models.linear:Ridge",
    "bayesian-ridge": "predictors.models.linear:BayesianRidge",
    "quadratic-kernel-ridge": "predictors.models.kernel_ridge:QuadraticKernelRidge",
    "gaussian-process": "predictors.models.gaussian_process:GaussianProcess",
    "boosted-stumps": "predictors.models.stumps:BoostedStumps",
    "bilinear": "predictors.models.bilinear:BilinearRegressor",
    "cascade-bagging": "predictors.models.cascade:CascadeBagging",
    "ranking-net": "predictors.models.ranking_net:RankingNet",
    "co-kriging": "predictors.fidelity:CoKriging",
}


def _plugged(offer: Offer) -> str:
    """Where the class of an installed package is; it must be a regressor like ours."""
    from predictors.regressor import Regressor

    found = offer.point.load()
    if not (isinstance(found, type) and issubclass(found, Regressor)):
        raise PluginBroken(f"is {found!r}, expected a subclass of predictors.regressor.Regressor")
    return offer.value


PREDICTORS: Table[str] = Table(_OURS, "netwright.predictors", _plugged)
"""Class of each predictor in text, ours and those of installed packages; all are scikit-learn regressors."""

__all__ = ["PREDICTORS", "AutoPredictor", "load", "load_predictor", "save"]
_HOMES = {
    "AutoPredictor": "predictors.auto.auto_predictor",
    "load": "predictors.saving",
    "save": "predictors.saving",
}


def load_predictor(name: str) -> type[Any]:
    """A class of ``PREDICTORS`` by its name.

    Raises: ValueError: with the known names; PluginBroken: an installed package offers it, but does not import.
    """
    if name not in PREDICTORS:
        raise ValueError(f"predictor {name!r}: unknown, expected one of {', '.join(PREDICTORS)}")
    module, _, attribute = PREDICTORS[name].partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


def __getattr__(name: str) -> Any:
    """Import scikit-learn and the rest only when they are used."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'predictors' has no attribute {name!r}")
