"""A run of MLflow, by default in a file of the run directory; needs the extra ``mlflow``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.callbacks.callback import Callback, RunStart, TrialReport
from nas.callbacks.extra import import_extra
from nas.callbacks.scalars import flat_settings, search_scalars, summary_scalars, trial_scalars
from nas.callbacks.standing import Standing
from nas.records import Result

AT_ONCE = 100  # parameters that MLflow takes in one call
RUN_ID = "mlflow_run_id"  # a file of the run directory, so that a resumed run goes on with the same MLflow run


@dataclass
class MlflowRun(Callback):
    """Settings become parameters, counts and curves metrics, the summary a dictionary among the artifacts.

    Attributes:
        uri: of the tracking server, or a database; empty: SQLite in the run directory.
        experiment: its name.
        name: of the MLflow run; empty: that of the run directory.
    """

    uri: str = ""
    experiment: str = "netwright"
    name: str = ""

    def on_start(self, run: RunStart) -> None:
        """Begin an MLflow run, or go on with the one that this run began."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # else it tells stderr of every table it makes
        client = import_extra("mlflow.tracking", "mlflow")
        folder = run.directory.resolve()
        self._client = client.MlflowClient(self.uri or f"sqlite:///{folder / 'mlflow.db'}")
        self._note = folder / RUN_ID
        self._run_id = self._earlier(run) or self._begin(run, folder)

    def _earlier(self, run: RunStart) -> str | None:
        if not (run.resumed and self._note.is_file()):
            return None
        run_id = self._note.read_text(encoding="utf-8").strip()
        self._client.update_run(run_id, status="RUNNING")
        return run_id

    def _begin(self, run: RunStart, folder: Path) -> str:
        experiment = self._client.get_experiment_by_name(self.experiment)
        if experiment is None:
            place = None if self.uri else (folder / "mlartifacts").as_uri()
            identity = self._client.create_experiment(self.experiment, artifact_location=place)
        else:
            identity = experiment.experiment_id
        begun = self._client.create_run(identity, run_name=self.name or folder.name)
        run_id: str = begun.info.run_id
        from mlflow.entities import Param

        settings = [Param(name, value) for name, value in flat_settings(run.config).items()]
        for first in range(0, len(settings), AT_ONCE):
            self._client.log_batch(run_id, params=settings[first : first + AT_ONCE])
        self._note.write_text(run_id, encoding="utf-8")
        return run_id

    def on_batch_scored(self, results: Sequence[Result], standing: Standing) -> None:
        """The counts, over the number of candidates."""
        self._log(search_scalars(standing), standing.candidates)

    def on_trial_report(self, report: TrialReport) -> None:
        """The curves, over the epoch."""
        self._log(trial_scalars(report), report.epoch)

    def on_end(self, summary: Mapping[str, Any] | None, reason: str) -> None:
        """What came out; a run that stopped is killed for MLflow, one that failed is failed."""
        if summary is not None:
            self._log(summary_scalars(summary), 0)
            self._client.log_dict(self._run_id, dict(summary), "summary.json")
        else:
            self._client.set_tag(self._run_id, "stopped_by", reason)
        stopped = reason.partition(":")[0] in ("Interrupted", "KeyboardInterrupt")
        status = "FINISHED" if summary is not None else "KILLED" if stopped else "FAILED"
        self._client.set_terminated(self._run_id, status)

    def _log(self, scalars: Mapping[str, float], step: int) -> None:
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1e3)
        self._client.log_batch(self._run_id, [Metric(name, value, now, step) for name, value in scalars.items()])
