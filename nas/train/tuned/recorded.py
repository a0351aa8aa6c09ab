"""Trials whose outcomes go into a run file as they come, and are never trained again."""

from __future__ import annotations

from dataclasses import asdict, replace

from nas.narrator import Silent
from nas.store import RunStore
from nas.train.fit import EpochReport
from nas.train.trials.engine import Placement, Work, train_trials
from nas.train.trials.trial import Outcome, Trial


def train_recorded(
    work: Work, kind: str, what: str, store: RunStore, placement: Placement, narrator: Silent
) -> list[Outcome]:
    """Train what the run file does not know yet.

    Args:
        work: the trials; its listeners are replaced.
        kind: of the events.
        what: the trials are called when telling of them.
        store: gets one event per trial: its outcome and its recipe.
        placement: where they are trained.
        narrator: told of every epoch.
    """
    known = {event["id"]: Outcome.from_dict(event) for event in store.events(kind)}
    recorded, count = set(known), work.source.count

    def on_epoch(index: int, report: EpochReport) -> None:
        narrator.update(
            f"{what} {index + 1} of {count}, epoch {report.epoch}, top-1 {report.validation_top1:.4f}",
            min(1.0, len(recorded) / count),
        )

    def on_outcome(trial: Trial, outcome: Outcome) -> None:
        recorded.add(outcome.id)
        store.record(kind, {**asdict(outcome), "recipe": dict(trial.recipe), "top1": outcome.top1})

    outcomes = train_trials(replace(work, known=known, on_epoch=on_epoch, on_outcome=on_outcome), placement)
    narrator.done()
    return outcomes
