"""Which trainings there are: a list, or one proposal after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nas.train.trials.trial import Outcome, Trial


class Source(Protocol):
    """Trials numbered from 0. What a number stands for depends on outcomes of earlier numbers alone."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """JSON-ready: what must be equal for a folder of checkpoints to fit."""

    def trial(self, index: int, finished: Mapping[int, Outcome]) -> Trial | None:
        """The trial of this number; None while an outcome that it depends on is missing."""


class FixedTrials:
    """Trials that are known beforehand."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        """Number them.

        Args:
            trials: their ids are their places.
        """
        self._trials = tuple(trials)
        assert [trial.id for trial in trials] == list(range(len(trials)))

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._trials)

    @property
    def identity(self) -> dict[str, Any]:
        """All of them."""
        return {"trials": [trial.to_dict() for trial in self._trials]}

    def trial(self, index: int, finished: Mapping[int, Outcome]) -> Trial:
        """The trial of this number."""
        return self._trials[index]
