"""The same trials under Ray Tune: workers reused, checkpoints, restart of killed workers and of a killed driver.

Tune's searchers are told results in order of arrival, and what they propose then depends on timing. Here the searcher
has no state of its own: it looks at Tune's trials and asks the source for the next number, which answers from the
outcomes that the number depends on, and from no others.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import Searcher

from nas.runners.ray_session import start_ray
from nas.train.fit import Training
from nas.train.trials.engine import Placement, Work
from nas.train.trials.trial import Outcome, Trial, train_on
from nas.train.tune_experiment import Experiment, broken_by, go_on, report_epoch, use_one_thread

_LOG = logging.getLogger(__name__)


def train_with_ray(work: Work, placement: Placement) -> list[Outcome]:
    """Run or resume the trials on Ray.

    Raises: RayUnavailable.
    """
    with start_ray(placement.address, placement.workers) as cpus:
        outcomes = _fit(work, min(placement.workers or cpus, cpus))
        if missing := [index for index in range(work.source.count) if index not in outcomes]:
            _LOG.warning("trials: Tune's state lacks %d of them; they are trained again", len(missing))
            _experiment(work).forget()
            outcomes = _fit(replace(work, known=outcomes), min(placement.workers or cpus, cpus))
    return [outcomes[index] for index in range(work.source.count)]


def _fit(work: Work, most: int) -> dict[int, Outcome]:
    """Outcomes by number, of before and of now."""
    with _running(_Session(work, most)):
        grid = _experiment(work).run()
    outcomes = dict(work.known)
    for one in grid:
        index = one.config["trial"]["id"]
        if index not in outcomes and (one.error or (one.metrics or {}).get("final")):
            outcomes[index] = _outcome(index, one.metrics, broken_by(one.error) if one.error else None)
    return outcomes


def _experiment(work: Work) -> Experiment:
    """More trials than before are another experiment, which knows the outcomes of the first."""
    first = work.source.trial(0, {})
    return Experiment(
        name="trials",
        path=work.folder.resolve() / f"tune-{work.source.count}",
        train=train_on_worker,
        gpu=first is not None and first.device != "cpu",
        trial_name=_trial_name,
        choice=tune.TuneConfig(search_alg=NextTrial(), num_samples=-1),
        listener=_Forward(),
    )


def train_on_worker(config: dict[str, Any]) -> None:
    """Train one trial in a worker; reports after every epoch, with a checkpoint, and once more at its end."""
    use_one_thread()
    trial = Trial.from_dict(config["trial"])
    try:
        training = trial.start()
    except (ValueError, RuntimeError) as error:  # a design that cannot be built
        failure = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        tune.report(_metrics(Outcome(trial.id, failure=failure), final=True))
        return
    go_on(training)

    def after_epoch(training: Training) -> None:
        report_epoch(training, _metrics(Outcome(trial.id, tuple(training.curve)), final=False))

    tune.report(_metrics(train_on(trial, training, after_epoch), final=True))


def _metrics(outcome: Outcome, *, final: bool) -> dict[str, Any]:
    return {"outcome": outcome.to_json(), "final": final}


def _outcome(index: int, metrics: Mapping[str, Any] | None, failure: str | None = None) -> Outcome:
    text = (metrics or {}).get("outcome")
    outcome = Outcome(index) if text is None else Outcome.from_dict(json.loads(text))
    return outcome if failure is None else replace(outcome, failure=failure)


def _trial_name(trial: TuneTrial) -> str:
    return f"trial-{_index(trial)}"


def _index(trial: TuneTrial) -> int:
    return int(trial.config["trial"]["id"])


@dataclass
class _Session:
    """What runs in this process.

    Attributes:
        work: the trials and their listeners.
        most: trainings side by side.
        trials: Tune's own list, which it extends.
    """

    work: Work
    most: int
    trials: Sequence[TuneTrial] = field(default_factory=list)

    def finished(self) -> dict[int, Outcome]:
        """Outcomes of all that have ended."""
        found: dict[int, Outcome] = {}
        for trial in self.trials:
            if trial.status == TuneTrial.TERMINATED:
                found[_index(trial)] = _outcome(_index(trial), trial.last_result)
            elif trial.status == TuneTrial.ERROR:
                found[_index(trial)] = _outcome(_index(trial), trial.last_result, broken_by(trial.get_error()))
        return {**found, **self.work.known}


class NextTrial(Searcher):  # type: ignore[misc]
    """Gives Tune the lowest number that it has not got yet, as soon as the source can tell what it stands for."""

    def __init__(self) -> None:
        super().__init__()

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Nothing to be set: the source knows the space."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A number's trial, None for not yet, or the end."""
        session = _session.get()
        source = session.work.source
        taken = {_index(trial) for trial in session.trials} | set(session.work.known)
        index = next((index for index in range(source.count) if index not in taken), None)
        if index is None:
            finished: str = Searcher.FINISHED
            return finished
        if sum(not trial.is_finished() for trial in session.trials) >= session.most:
            return None
        trial = source.trial(index, session.finished())
        return None if trial is None else {"trial": trial.to_dict()}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to be noted: the trial itself says so."""

    def save(self, checkpoint_path: str) -> None:
        """There is no state."""
        Path(checkpoint_path).write_text("{}")

    def restore(self, checkpoint_path: str) -> None:
        """There is no state."""


_session: ContextVar[_Session] = ContextVar("session")


@contextmanager
def _running(session: _Session) -> Iterator[None]:
    """Make the session known to ``NextTrial`` and ``_Forward``, which Tune pickles."""
    token = _session.set(session)
    try:
        yield
    finally:
        _session.reset(token)


class _Forward(tune.Callback):  # type: ignore[misc]
    """Hands reports to the listeners of the session."""

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        _session.get().trials = trials

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        if not result["final"]:
            _session.get().work.on_epoch(_index(trial), _outcome(_index(trial), result).curve[-1])

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._tell(trial, _outcome(_index(trial), trial.last_result))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._tell(trial, _outcome(_index(trial), trial.last_result, broken_by(trial.get_error())))

    def _tell(self, trial: TuneTrial, outcome: Outcome) -> None:
        work = _session.get().work
        if outcome.id not in work.known:
            work.on_outcome(Trial.from_dict(trial.config["trial"]), outcome)
