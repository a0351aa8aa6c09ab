"""Tells callbacks of a run; one that fails is told no more, which is said once, and the search goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from nas.callbacks.callback import Callback, RunStart, TrialReport
from nas.callbacks.standing import Standing
from nas.records import Result

BATCH = 1_000  # results at once when a callback catches up
UNTOLD = ("clock",)  # events that only the search itself needs
WINNER_EPOCH = "epoch"  # the event of an epoch of the winner's training
_METRICS = ("learning_rate", "train_loss", "validation_loss", "validation_top1", "seconds")


class Dispatcher:
    """Turns what the run file is given into calls of callbacks.

    Args:
        callbacks: with their names.
        population: candidates that make a generation.
        say: tells a person one line.
    """

    def __init__(self, callbacks: Iterable[tuple[str, Callback]], population: int, say: Callable[[str], None]) -> None:
        self._callbacks = list(callbacks)
        self._population, self._say = population, say
        self.standing = Standing()

    def start(self, run: RunStart, known: Iterable[Result]) -> None:
        """Begin; callbacks that want to know get the results that they missed, by id."""
        self._tell(lambda callback: callback.on_start(run))
        last: dict[int, int] = {}  # by identity, of the callbacks that catch up

        def ask(callback: Callback) -> None:
            if (seen := callback.last_id()) is not None:
                last[id(callback)] = seen

        if run.resumed:
            self._tell(ask)
        batch: list[Result] = []
        for result in known:
            self.standing.count(result)
            batch.append(result)
            if len(batch) == BATCH:
                self._catch_up(batch, last)
                batch = []
        self._catch_up(batch, last)

    def _catch_up(self, batch: Sequence[Result], last: Mapping[int, int]) -> None:
        def tell(callback: Callback) -> None:
            if id(callback) not in last:
                return
            missed = [result for result in batch if result.candidate.id > last[id(callback)]]
            if missed:
                callback.on_batch_scored(missed, self.standing)

        self._tell(tell)

    def batch(self, results: Sequence[Result]) -> None:
        """Results that have just become durable; told of in pieces that end where a generation does."""
        while results:
            left = self._population - self.standing.candidates % self._population
            self._piece(results[:left])
            results = results[left:]

    def _piece(self, results: Sequence[Result]) -> None:
        changed = [self.standing.count(result) for result in results]
        self._tell(lambda callback: callback.on_batch_scored(results, self.standing))
        if any(changed):
            front = self.standing.front_rows()
            self._tell(lambda callback: callback.on_pareto_change(front, self.standing))
        number, left = divmod(self.standing.candidates, self._population)
        if not left:
            self._tell(lambda callback: callback.on_generation(number, self.standing))

    def epoch(self, report: TrialReport) -> None:
        """An epoch of a training that has no run file."""
        self._tell(partial(_trial, report=report))

    def event(self, kind: str, payload: Mapping[str, Any]) -> None:
        """An event that has just become durable."""
        for report in trial_reports(kind, payload):
            self.epoch(report)
        if kind not in (*UNTOLD, WINNER_EPOCH):
            self._tell(lambda callback: callback.on_stage(kind, payload))

    def end(self, summary: Mapping[str, Any] | None, reason: str) -> None:
        """The run has ended, or stops here."""
        self._tell(lambda callback: callback.on_end(summary, reason))

    def _tell(self, call: Callable[[Callback], None]) -> None:
        for entry in list(self._callbacks):
            name, callback = entry
            try:
                call(callback)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a callback does, the search goes on
                self._callbacks.remove(entry)
                lines = str(error).strip().splitlines() or [""]
                self._say(f"callback {name}: {type(error).__name__}: {lines[0][:300]}; the run goes on without it")


def _trial(callback: Callback, report: TrialReport) -> None:
    callback.on_trial_report(report)


def trial_reports(kind: str, payload: Mapping[str, Any]) -> list[TrialReport]:
    """The epochs that an event tells of: itself, or those of its curve."""
    if kind == WINNER_EPOCH:
        return [_report("winner", payload)]
    curve = payload.get("curve")
    if not isinstance(curve, list | tuple):
        return []
    training = f"{kind}-{payload['id']}" if "id" in payload else kind
    return [_report(training, epoch) for epoch in curve if isinstance(epoch, Mapping) and "epoch" in epoch]


def _report(training: str, epoch: Mapping[str, Any]) -> TrialReport:
    metrics = {name: float(epoch[name]) for name in _METRICS if isinstance(epoch.get(name), int | float)}
    return TrialReport(training, int(epoch["epoch"]), metrics)
