"""The same race under Ray Tune: one trial per candidate, workers reused, checkpoints and restart by Tune.

Tune's own ASHA decides by arrival order and forgets its rungs when an experiment is restored (schedulers
are not part of the saved state). The scheduler here keeps no state: it reads the curves that the trials
reported and applies ``nas.train.halving``, so it decides alike for any timing and after any restart.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from nas.runners.ray_session import start_ray
from nas.train.entrant import Entrant
from nas.train.fit import EpochReport, Training, TrainingDiverged
from nas.train.halving import Curve, Halving
from nas.train.race import FinalistResult, Race
from nas.train.tune_experiment import Experiment, broken_by, go_on, report_epoch, use_one_thread

_LOG = logging.getLogger(__name__)


def train_with_ray(race: Race, address: str | None, workers: int | None = None) -> list[FinalistResult]:
    """Run or resume the race on Ray.

    Args:
        race: who runs, and by which rule.
        address: of a cluster; None starts a private one, or joins the session that runs already.
        workers: most trainings side by side; None takes the CPUs there are.
    Raises: RayUnavailable.
    """
    with start_ray(address, workers) as cpus, _running(race, min(workers or cpus, cpus)):
        results = _fit(race)
        if missing := [entrant.id for entrant in race.entrants if entrant.id not in results]:
            _LOG.warning("finalists: Tune's state lacks %d of them; all are trained again", len(missing))
            _experiment(race).forget()
            results = _fit(race)
    return [results[entrant.id] for entrant in race.entrants]


def _fit(race: Race) -> dict[int, FinalistResult]:
    """Results by id."""
    results = {}
    for outcome in _experiment(race).run():
        entrant_id = outcome.config["entrant"]["id"]
        metrics = outcome.metrics or {}
        failure = metrics.get("failure") or (broken_by(outcome.error) if outcome.error else None)
        results[entrant_id] = race.result(entrant_id, _reports(metrics), failure)
    return results


def _experiment(race: Race) -> Experiment:
    return Experiment(
        name="finalists",
        path=race.storage_dir.resolve() / "tune",
        train=train_entrant,
        gpu=race.entrants[0].device != "cpu",
        trial_name=_trial_name,
        choice=tune.TuneConfig(scheduler=CertainHalving(race.halving)),
        listener=_Forward(),
        param_space={"entrant": tune.grid_search([entrant.to_dict() for entrant in race.entrants])},
        retry_broken=True,
    )


def train_entrant(config: dict[str, Any]) -> None:
    """Train one candidate in a worker and report after every epoch; Tune stops or pauses it from outside."""
    use_one_thread()
    training = Entrant.from_dict(config["entrant"]).start()
    go_on(training)
    while training.epoch < training.recipe.epochs:
        try:
            training.train_epoch()
        except TrainingDiverged as error:
            tune.report(_metrics(training, str(error)))
            return
        report_epoch(training, _metrics(training, None))


def _metrics(training: Training, failure: str | None) -> dict[str, Any]:
    return {"curve": [asdict(report) for report in training.curve], "failure": failure}


def _reports(metrics: dict[str, Any]) -> list[EpochReport]:
    return [EpochReport(**row) for row in metrics.get("curve", [])]


def _trial_name(trial: Trial) -> str:
    return f"finalist-{_id(trial)}"


def _id(trial: Trial) -> int:
    return int(trial.config["entrant"]["id"])


def _has_begun(trial: Trial) -> bool:
    return bool((trial.last_result or {}).get("curve"))


class CertainHalving(FIFOScheduler):  # type: ignore[misc]
    """Tune's view of ``Halving``: pause where the rule says wait, go on or stop once the fate is certain."""

    def __init__(self, halving: Halving) -> None:
        super().__init__()
        self.halving = halving

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Let every trial wait until it is chosen; Tune would start all, whatever their number or their fate.

        One whose worker died is added again, and goes on at once: Tune has queued it already.
        """
        if trial.status == Trial.PENDING and trial.num_failures == 0:
            trial.set_status(Trial.PAUSED)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Decide after an epoch."""
        decisions: dict[str, str] = {"continue": self.CONTINUE, "stop": self.STOP, "wait": self.PAUSE}
        return decisions[self._verdict(tune_controller, trial, result)]

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """A new trial if there is one, else one that has waited long enough; stops those that fell out."""
        trials = tune_controller.get_trials()
        waiting = sorted((trial for trial in trials if trial.status == Trial.PAUSED), key=_has_begun)
        verdicts = [self._verdict(tune_controller, trial, trial.last_result or {}) for trial in waiting]
        for trial, verdict in zip(waiting, verdicts, strict=True):
            if verdict == "stop":
                tune_controller.stop_trial(trial)
        starting = [trial for trial in trials if trial.status == Trial.PENDING]
        going_on = [trial for trial, verdict in zip(waiting, verdicts, strict=True) if verdict == "continue"]
        room = _most.get() - len(starting) - sum(trial.status == Trial.RUNNING for trial in trials)
        if room > 0 and going_on:
            return going_on[0]
        return starting[0] if starting else None  # Tune then looks for a worker that became free

    def _verdict(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        results = {other: other.last_result or {} for other in tune_controller.get_trials()} | {trial: result}
        curves: dict[int, Curve] = {
            _id(other): tuple(row["validation_top1"] for row in found.get("curve", []))
            for other, found in results.items()
        }
        failed = {_id(other) for other, found in results.items() if found.get("failure") or other.status == Trial.ERROR}
        return self.halving.verdict(_id(trial), curves, frozenset(failed))


_race: ContextVar[Race | None] = ContextVar("race", default=None)
_most: ContextVar[int] = ContextVar("most", default=1)


@contextmanager
def _running(race: Race, most: int) -> Iterator[None]:
    """Make the race and the number of trainings side by side known to ``_Forward`` and ``CertainHalving``.

    Tune pickles both and brings them back with a restored race, so they cannot hold listeners nor what may change.
    """
    token, most_token = _race.set(race), _most.set(most)
    try:
        yield
    finally:
        _race.reset(token)
        _most.reset(most_token)


class _Forward(tune.Callback):  # type: ignore[misc]
    """Hands reports to the listeners of the race that runs in this context."""

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        reports, race = _reports(result), _race.get()
        if race is not None and reports and not result.get("failure"):
            race.on_epoch(_id(trial), reports[-1])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._finished(trial, trial.last_result.get("failure"))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._finished(trial, broken_by(trial.get_error()))

    def _finished(self, trial: Trial, failure: str | None) -> None:
        if (race := _race.get()) is not None:
            race.on_result(race.result(_id(trial), _reports(trial.last_result or {}), failure))
