"""Scalars for TensorBoard, written with tensorboardX, which comes with Ray Tune."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.callbacks.callback import Callback, RunStart, TrialReport
from nas.callbacks.scalars import search_scalars, summary_scalars, trial_scalars
from nas.callbacks.standing import Standing
from nas.records import Result


@dataclass
class TensorBoardLog(Callback):
    """``tensorboard --logdir RUN/tensorboard`` shows it; a resumed run adds a file to the folder.

    Attributes:
        dir: the folder, from the run directory.
    """

    dir: str = "tensorboard"

    def on_start(self, run: RunStart) -> None:
        """Open the event file; the configuration is a text of it."""
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(run.directory / self.dir))
        self._writer.add_text("config", f"```\n{json.dumps(dict(run.config), indent=2)}\n```", run.candidates)

    def on_batch_scored(self, results: Sequence[Result], standing: Standing) -> None:
        """The counts, over the number of candidates."""
        self._draw(search_scalars(standing), standing.candidates)

    def on_trial_report(self, report: TrialReport) -> None:
        """The curves, over the epoch."""
        self._draw(trial_scalars(report), report.epoch)

    def on_end(self, summary: Mapping[str, Any] | None, reason: str) -> None:
        """What came out."""
        if summary is not None:
            self._draw(summary_scalars(summary), 0)
        self._writer.close()

    def _draw(self, scalars: Mapping[str, float], step: int) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()
