"""What a callback may hear; by default it ignores everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.records import Result

if TYPE_CHECKING:
    from nas.callbacks.standing import Standing


@dataclass(frozen=True, slots=True)
class RunStart:
    """The run that is about to begin, or to go on.

    Attributes:
        directory: of the run; relative paths of options are meant from here.
        config: the resolved configuration, JSON-ready.
        candidates: that the run file holds already; 0 for a new run.
        resumed: the run was begun earlier.
    """

    directory: Path
    config: Mapping[str, Any]
    candidates: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class TrialReport:
    """One epoch of one training.

    Attributes:
        training: which one: "winner", "finalist-12", "label-3", "supernet"; the number is the id of its event.
        epoch: from 1.
        metrics: learning_rate, train_loss and validation_loss (nats), validation_top1 (0..1), seconds; what there is.
            Of a supernet loss and top-1 of its largest network, and smallest_top1.
    """

    training: str
    epoch: int
    metrics: Mapping[str, float]


class Callback:
    """Hears of a run after the run file does, in the process of the search; override what you need.

    An exception silences the callback for the rest of the run; it does not end the search. Slow methods delay it.
    """

    def on_start(self, run: RunStart) -> None:
        """Once, before anything else."""

    def last_id(self) -> int | None:
        """Id of the last candidate that is known from an earlier session, -1 for none; None: the past is no matter.

        Asked after ``on_start`` of a resumed run; what the run file holds beyond comes first, by ``on_batch_scored``.
        """
        return None

    def on_batch_scored(self, results: Sequence[Result], standing: Standing) -> None:
        """Candidates that were just committed to the run file, kept and rejected ones, by id; about twice a second."""

    def on_generation(self, number: int, standing: Standing) -> None:
        """As many candidates as the population holds have passed, for the ``number``-th time, from 1."""

    def on_pareto_change(self, front: Sequence[Mapping[str, float]], standing: Standing) -> None:
        """A batch changed the front: its rows with id, score and the cost, cheapest first."""

    def on_trial_report(self, report: TrialReport) -> None:
        """An epoch of the winner's training as it ends; those of other trainings when the training is recorded."""

    def on_stage(self, kind: str, payload: Mapping[str, Any]) -> None:
        """An event of the run file: searched, finalists, measured, finalist, winner, test, verified, finished …."""

    def on_end(self, summary: Mapping[str, Any] | None, reason: str) -> None:
        """Once, at the end: what ``search --json`` prints; None when the run stops earlier, for this reason."""
