"""A bilinear estimator as JSON, for run files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from predictors.models.bilinear_effects import BilinearEstimator
from predictors.models.bilinear_structure import Floats, Stage, Structure

_ARRAYS = ("depths", "depth_errors", "configs", "config_errors")


class UnreadableEffects(ValueError):
    """The JSON is not a bilinear estimator."""


def effects_to_dict(estimator: BilinearEstimator) -> dict[str, Any]:
    """JSON-ready form; unknown errors become None."""
    stages = [{"depths": list(stage.depths), "configs": list(stage.configs)} for stage in estimator.structure.stages]
    arrays = {name: [_plain(value) for value in getattr(estimator, name)] for name in _ARRAYS}
    return {"stages": stages, "base": estimator.base, "base_error": _plain(estimator.base_error), **arrays}


def effects_from_dict(data: Mapping[str, Any]) -> BilinearEstimator:
    """Read what ``effects_to_dict`` wrote; raises UnreadableEffects."""
    try:
        stages = tuple(Stage(tuple(stage["depths"]), tuple(stage["configs"])) for stage in data["stages"])
        structure = Structure(stages)
        depths, depth_errors, configs, config_errors = (_array(data[name]) for name in _ARRAYS)
        expected = (structure.beta_starts[-1],) * 2 + (structure.alpha_starts[-1],) * 2
        got = tuple(len(values) for values in (depths, depth_errors, configs, config_errors))
        if got != expected:
            raise ValueError(f"{got} numbers, expected {expected}")
        base, base_error = float(data["base"]), float(_array([data["base_error"]])[0])
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableEffects(f"effects: cannot be read ({type(error).__name__}: {error})") from None
    return BilinearEstimator(structure, base, base_error, depths, depth_errors, configs, config_errors)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _array(values: list[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], np.float64)
