"""Is the predictor better than a cost alone? Cross-validated on the networks of the run, said as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas.accuracy_model import AccuracyModel
from predictors.evaluation import cross_validate
from predictors.evaluation.crossvalidate import Evaluation, plain
from predictors.rank import Estimate
from search_spaces.arch import Architecture

FOLDS, REPEATS = 5, 2
FEWEST = 8  # labels from which on left-out networks tell something
WORDS = {"macs": "MACs", "params": "parameters", "depth": "depth", "zen": "the zen score", "mad": "the mad score"}


def judge_predictor(
    model: AccuracyModel, archs: Sequence[Architecture], labels: Sequence[float], *, seed: int
) -> dict[str, Any]:
    """Fit to all labels, and to parts of them to see how networks left out are ranked.

    Args:
        model: of the space; it is fitted again and again.
        archs: trained networks.
        labels: their accuracies, not all equal.
        seed: of the folds.
    Returns: JSON-ready: "labels", "low", "high", "model", "encoder", "kendall", "baseline", "baseline_kendall",
        "gain" (each with its interval; None when it cannot be told), "sentence".
    """
    model.fit(archs, labels)
    found: dict[str, Any] = {
        "labels": len(labels),
        "low": min(labels),
        "high": max(labels),
        "model": model.predictor.model_,
        "encoder": model.predictor.encoder_,
        "kendall": None,
        "baseline": None,
        "baseline_kendall": None,
        "gain": None,
    }
    if len(labels) < FEWEST:
        sentence = f"fitted to {len(labels)} labels; too few to tell how well it ranks networks left out"
        return found | {"sentence": sentence}
    costs = model.costs(archs)
    folds = min(FOLDS, len(labels) // 2)
    evaluation = cross_validate(
        lambda: _Foldable(model), list(archs), labels, folds=folds, repeats=REPEATS, seed=seed, costs=costs
    )
    return found | {
        "kendall": plain(evaluation.kendall),
        "baseline": evaluation.baseline,
        "baseline_kendall": plain(evaluation.baseline_kendall),
        "gain": plain(evaluation.kendall_gain),
        "sentence": _sentence(evaluation),
    }


class _Foldable:
    """The model with the signature that cross-validation asks for; labels of a fold that are all equal teach 0."""

    def __init__(self, model: AccuracyModel) -> None:
        self._model = model
        self._constant: float | None = None

    def fit(self, archs: Sequence[Architecture], labels: Sequence[float]) -> None:
        if np.ptp(labels) == 0:
            self._constant = float(labels[0])
        else:
            self._model.fit(archs, labels)

    def predict(self, archs: Sequence[Architecture], return_std: bool = False) -> Any:
        if self._constant is not None:
            mean, deviation = np.full(len(archs), self._constant), np.zeros(len(archs))
        else:
            mean, deviation = self._model.predict(archs)
        return (mean, deviation) if return_std else mean


def _sentence(evaluation: Evaluation) -> str:
    said = f"ranks its own {evaluation.networks} networks, left out in turn, with tau {_shown(evaluation.kendall)}"
    if evaluation.baseline is None or evaluation.baseline_kendall is None or evaluation.kendall_gain is None:
        return f"{said}; {_worth(evaluation.kendall)}"
    name = WORDS.get(evaluation.baseline, evaluation.baseline)
    return f"{said}; {name} alone {evaluation.baseline_kendall.value:.2f}: {_against(evaluation.kendall_gain, name)}"


def _against(gain: Estimate, name: str) -> str:
    if gain.low > 0:
        return f"better than {name} by {_shown(gain)}"
    if gain.high < 0:
        return f"worse than {name} by {_shown(Estimate(-gain.value, -gain.high, -gain.low))}; more labels are needed"
    return f"no proof that it is better than {name} (gain {_shown(gain)}); more labels would tell"


def _worth(kendall: Estimate) -> str:
    return "better than chance" if kendall.low > 0 else "no proof that it is better than chance"


def _shown(estimate: Estimate | Mapping[str, float]) -> str:
    e = estimate if isinstance(estimate, Estimate) else Estimate(**estimate)
    return f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]"
