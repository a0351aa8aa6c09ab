"""Who judges weak labels: a model fitted on them, by its error on networks with true labels."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

from predictors.regressor import Floats

JudgeName = Literal["nu-svr", "kernel-ridge"]
PENALTY = 1.0  # of the kernel ridge, on labels of variance 1


class Judge(Protocol):
    """The error on true labels, as a function of one weak label."""

    def __init__(self, weak: Floats, shifted: Floats, true: Floats, labels: Floats) -> None: ...

    def of(self, current: Floats, place: int, tried: Floats) -> Floats:
        """(len(tried),) mean square error on the true rows for each value tried for the weak label at ``place``."""


def judge_of(name: str) -> type[Judge]:
    """By name."""
    known: dict[str, type[Judge]] = {"nu-svr": NuSvrJudge, "kernel-ridge": KernelRidgeJudge}
    if name not in known:
        raise ValueError(f"judge={name!r}, expected one of {', '.join(known)}")
    return known[name]


class _Kernel:
    """RBF kernel of gamma = 1 / (d variance) between standardised weak rows, and of true rows with them."""

    def __init__(self, weak: Floats, shifted: Floats, true: Floats, labels: Floats) -> None:
        scale = weak.std(axis=0)
        scale[scale == 0] = 1.0
        points, asked = ((rows - weak.mean(axis=0)) / scale for rows in (weak, true))
        variance = points.var()
        gamma = 1 / (points.shape[1] * variance) if variance > 0 else 1.0
        self._among, self._across = (np.exp(-gamma * _squares(rows, points)) for rows in (points, asked))
        self._middle = float(shifted.mean())
        self._unit = float(shifted.std()) or 1.0
        self._truth = (labels - self._middle) / self._unit


class NuSvrJudge(_Kernel):
    """A nu-SVR of C = 1, fitted anew for every value."""

    def of(self, current: Floats, place: int, tried: Floats) -> Floats:
        """As the protocol says."""
        from sklearn.svm import NuSVR

        target = (current - self._middle) / self._unit
        errors = np.empty(len(tried))
        for number, value in enumerate(tried):
            target[place] = (value - self._middle) / self._unit
            said = NuSVR(C=1.0, kernel="precomputed", tol=5e-3).fit(self._among, target).predict(self._across)
            errors[number] = np.mean((said - self._truth) ** 2)
        return errors


class KernelRidgeJudge(_Kernel):
    """A kernel ridge regression: linear in the labels, so one matrix serves all values."""

    def __init__(self, weak: Floats, shifted: Floats, true: Floats, labels: Floats) -> None:
        super().__init__(weak, shifted, true, labels)
        system = self._among + PENALTY * np.eye(len(weak))
        self._smoother = np.linalg.solve(system, self._across.T).T

    def of(self, current: Floats, place: int, tried: Floats) -> Floats:
        """As the protocol says."""
        left = self._truth - self._smoother @ ((current - self._middle) / self._unit)
        moves = (tried - current[place]) / self._unit
        errors: Floats = ((left[:, None] - self._smoother[:, [place]] * moves) ** 2).mean(axis=0)
        return errors


def _squares(rows: Floats, points: Floats) -> Floats:
    """Squared distances, at least 0."""
    found = (rows**2).sum(axis=1)[:, None] + (points**2).sum(axis=1) - 2 * rows @ points.T
    return np.asarray(np.maximum(found, 0.0))
