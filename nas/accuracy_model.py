"""What the accuracy of a network will be, learnt from a few trained ones: a predictor bound to a space and a task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hardware.counts import count
from nas.protocols import SearchSpace
from predictors import AutoPredictor
from predictors.proxies.entropy import mad_score
from predictors.proxies.failure import ProxyFailed
from predictors.proxies.zen import zen_score
from search_spaces import load_space
from search_spaces.arch import Architecture
from search_spaces.layers import Shape

Floats = NDArray[np.float64]
PROXIES: dict[str, Callable[[Architecture, Shape], float]] = {"zen": zen_score, "mad": mad_score}  # where they apply
KEPT = 50_000  # networks whose costs are remembered


class AccuracyModel:
    """Predicts from the design, its costs and its scores in closed form.

    The latency is no feature: accuracy does not depend on the device, and size is known from the costs already. The
    same labels in the same order give the same model.
    """

    def __init__(self, space: SearchSpace, input_shape: Shape, num_classes: int, *, seed: int = 0) -> None:
        """Bind to a task.

        Args:
            space: of the networks.
            input_shape: (channels, height, width) of one image.
            num_classes: outputs of the classifier.
            seed: of the folds by which the predictor is chosen.
        """
        self.space = space
        self.input_shape = input_shape
        self.num_classes = num_classes
        self.seed = seed
        self._known: dict[str, dict[str, float]] = {}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], input_shape: Shape) -> Self:
        """Fitted to the labels of an ``Objective``; the fit takes seconds. Raises InvalidLabels."""
        model = cls(load_space(data["space"]), input_shape, data["num_classes"], seed=data["seed"])
        archs = [Architecture.from_dict(arch) for arch in data["archs"]]
        return model.fit(archs, data["labels"])

    def fit(self, archs: Sequence[Architecture], labels: Sequence[float]) -> Self:
        """Choose and fit the predictor.

        Args:
            archs: networks of the space.
            labels: their accuracies, not all equal.
        Raises: InvalidLabels.
        """
        facts = self._facts(archs)
        self._fill = {name: float(values.min()) for name, values in facts.items() if np.isfinite(values).all()}
        self.predictor = AutoPredictor(space=self.space, preset="quick", random_state=self.seed)
        self.predictor.fit(archs, np.asarray(labels, np.float64), extras=self._extras(archs))
        return self

    def predict(self, archs: Sequence[Architecture]) -> tuple[Floats, Floats]:
        """(n,) accuracies and their standard deviations."""
        mean, deviation = self.predictor.predict(archs, return_std=True, extras=self._extras(archs))
        return mean, deviation

    def costs(self, archs: Sequence[Architecture]) -> dict[str, Floats]:
        """(n,) of every cost and closed-form score that all of these networks have."""
        return {name: values for name, values in self._facts(archs).items() if np.isfinite(values).all()}

    def _extras(self, archs: Sequence[Architecture]) -> dict[str, Floats]:
        """What the predictor reads beside the design; where a score does not apply, the least of the fitted ones."""
        facts = self._facts(archs)
        return {name: np.where(np.isfinite(facts[name]), facts[name], fill) for name, fill in self._fill.items()}

    def _facts(self, archs: Sequence[Architecture]) -> dict[str, Floats]:
        rows = [self._facts_of(arch) for arch in archs]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    def _facts_of(self, arch: Architecture) -> dict[str, float]:
        if arch.digest not in self._known:
            if len(self._known) >= KEPT:
                self._known.clear()
            counts = count(arch, self.input_shape, self.num_classes)
            costs: dict[str, float] = {"macs": counts.macs, "params": counts.params, "depth": counts.depth}
            self._known[arch.digest] = costs | {name: self._proxy(name, arch) for name in PROXIES}
        return self._known[arch.digest]

    def _proxy(self, name: str, arch: Architecture) -> float:
        try:
            return float(PROXIES[name](arch, self.input_shape))
        except ProxyFailed:
            return math.nan
