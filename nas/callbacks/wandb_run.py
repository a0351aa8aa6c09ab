"""A run of Weights & Biases, offline unless asked otherwise; needs the extra ``wandb``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nas.callbacks.callback import Callback, RunStart, TrialReport
from nas.callbacks.extra import import_extra
from nas.callbacks.scalars import search_scalars, summary_scalars, trial_scalars
from nas.callbacks.standing import Standing
from nas.records import Result


@dataclass
class WandbRun(Callback):
    """Counts over ``search/candidates``, curves over ``epoch``; ``wandb sync`` sends an offline run later.

    Attributes:
        project: its name.
        mode: "offline" writes files only; "online" sends them, as ``wandb login`` allows.
        dir: the folder that holds ``wandb``, from the run directory.
        name: of the run; empty: that of the run directory.
    """

    project: str = "netwright"
    mode: Literal["offline", "online"] = "offline"
    dir: str = "."
    name: str = ""

    def on_start(self, run: RunStart) -> None:
        """Begin; a resumed run begins another, of the same group."""
        wandb = import_extra("wandb", "wandb")
        folder = (run.directory / self.dir).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        name = self.name or run.directory.resolve().name
        quiet = wandb.Settings(console="off", silent=True, disable_git=True, save_code=False)
        self._run = wandb.init(
            project=self.project, group=name, name=name, dir=str(folder), mode=self.mode, config=dict(run.config),
            settings=quiet, reinit="create_new",
        )  # fmt: skip
        self._run.define_metric("search/*", step_metric="search/candidates")

    def on_batch_scored(self, results: Sequence[Result], standing: Standing) -> None:
        """The counts."""
        self._run.log(search_scalars(standing))

    def on_trial_report(self, report: TrialReport) -> None:
        """The curves."""
        self._run.log({"epoch": report.epoch, **trial_scalars(report)})

    def on_end(self, summary: Mapping[str, Any] | None, reason: str) -> None:
        """What came out."""
        self._run.summary.update(summary_scalars(summary) if summary is not None else {"stopped_by": reason})
        self._run.finish(exit_code=0 if summary is not None else 1)
