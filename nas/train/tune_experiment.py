"""One experiment of Ray Tune: brought back from its folder or begun, with a checkpoint an epoch and no log of its own.

The trials of recipes and of finalists both run in such an experiment; what differs between them is which trials there
are and who goes on, and that is theirs to say.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nas.train.fit import Training

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1")  # a few trials: saving the state is cheap, losing it is not
os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # it would return as if all trials had ended
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new console output prints even with verbose=0

from ray import tune
from ray.tune.experiment import Trial

MAX_WORKER_CRASHES = 3  # per trial
_CHECKPOINT = "training.pt"
# what reading a torn file of Tune's raises
_BROKEN = (pickle.UnpicklingError, RuntimeError, ValueError, OSError, EOFError, AttributeError, KeyError, IndexError)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Experiment:
    """What Tune is asked to run.

    Attributes:
        name: of what is trained, in log lines.
        path: Tune's folder.
        train: runs in a worker with a trial's config; one that was interrupted begins with ``go_on``.
        gpu: each trial takes one.
        trial_name: of a trial; pickled with the experiment, so a function of a module.
        choice: which trials there are and who goes on.
        listener: pickled too, so it cannot hold what may change.
        param_space: the trials, where no searcher makes them.
        retry_broken: a trial that broke before is trained again when the experiment is brought back.
    """

    name: str
    path: Path
    train: Callable[[dict[str, Any]], None]
    gpu: bool
    trial_name: Callable[[Trial], str]
    choice: tune.TuneConfig
    listener: tune.Callback
    param_space: Mapping[str, Any] | None = None
    retry_broken: bool = False

    def run(self) -> tune.ResultGrid:
        """Go on where the folder stands, or begin."""
        with _silence():
            return self._tuner().fit()

    def forget(self) -> None:
        """Remove Tune's folder."""
        shutil.rmtree(self.path)

    def _tuner(self) -> tune.Tuner:
        trainable = tune.with_resources(self.train, {"cpu": 1, "gpu": int(self.gpu)})
        if tune.Tuner.can_restore(str(self.path)):
            try:
                tune.ExperimentAnalysis(str(self.path))  # Tune itself would begin again without a word
                return tune.Tuner.restore(str(self.path), trainable=trainable, resume_errored=self.retry_broken)
            except _BROKEN as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                _LOG.warning(
                    "%s: Tune's state in %s cannot be read (%s); trainings under way begin again",
                    self.name, self.path, reason,
                )  # fmt: skip
                self.forget()
        return tune.Tuner(
            trainable,
            param_space=None if self.param_space is None else dict(self.param_space),
            tune_config=replace(
                self.choice,
                reuse_actors=True,
                trial_dirname_creator=self.trial_name,
                trial_name_creator=self.trial_name,
            ),
            run_config=tune.RunConfig(
                name=self.path.name,
                storage_path=str(self.path.parent),
                failure_config=tune.FailureConfig(max_failures=MAX_WORKER_CRASHES),
                checkpoint_config=tune.CheckpointConfig(num_to_keep=2),  # the saved state may name the last but one
                callbacks=[self.listener],
                verbose=0,
            ),
        )


@contextmanager
def _silence() -> Iterator[None]:
    """Keep Tune's own log quiet: what breaks comes back as an outcome."""
    log = logging.getLogger("ray.tune")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def go_on(training: Training) -> None:
    """Take up a trial's checkpoint, in its worker; one that begins has none."""
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            training.load(Path(folder) / _CHECKPOINT)


def report_epoch(training: Training, metrics: Mapping[str, Any]) -> None:
    """Report from a worker after an epoch, with a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        training.save(Path(folder) / _CHECKPOINT)
        tune.report(dict(metrics), checkpoint=tune.Checkpoint.from_directory(folder))


def use_one_thread() -> None:
    """Compute with one thread in this worker, as the serial engines do."""
    torch.set_num_threads(1)


def broken_by(error: Exception | None) -> str:
    """Why a trial broke, in one line."""
    lines = str(error).strip().splitlines()
    return f"its worker died or broke: {lines[-1] if lines else type(error).__name__}"[:300]
