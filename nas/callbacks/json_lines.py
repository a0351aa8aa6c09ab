"""Everything that happens, as one JSON object a line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nas.callbacks.callback import Callback, RunStart, TrialReport
from nas.callbacks.candidate_row import candidate_row
from nas.callbacks.lines_file import LinesFile
from nas.callbacks.standing import Standing
from nas.records import Result


@dataclass
class JsonLines(Callback):
    """Appends lines with "time", "event" (start, candidate, generation, pareto, trial, stage, end) and its facts.

    Attributes:
        path: of the file, from the run directory.
        candidates: a line for every candidate; else only for the rest.
    """

    path: str = "events.jsonl"
    candidates: bool = True

    def on_start(self, run: RunStart) -> None:
        """Open the file; a resumed run goes on with it."""
        self._file = LinesFile(run.directory / self.path, append=run.resumed)
        self._write("start", {"run": str(run.directory), "resumed": run.resumed, "candidates": run.candidates})

    def last_id(self) -> int | None:
        """Of the last candidate in the file."""
        if not self.candidates:
            return None
        for line in self._file.backwards():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and row.get("event") == "candidate":
                return int(row["id"])
        return -1

    def on_batch_scored(self, results: Sequence[Result], standing: Standing) -> None:
        """A line each."""
        if self.candidates:
            now = _now()
            self._file.write(_line("candidate", candidate_row(result), now) for result in results)

    def on_generation(self, number: int, standing: Standing) -> None:
        """The counts."""
        self._write("generation", {"generation": number, **standing.counts()})

    def on_pareto_change(self, front: Sequence[Mapping[str, float]], standing: Standing) -> None:
        """The front."""
        self._write("pareto", {"candidates": standing.candidates, "front": list(front)})

    def on_trial_report(self, report: TrialReport) -> None:
        """One epoch."""
        self._write("trial", {"training": report.training, "epoch": report.epoch, **report.metrics})

    def on_stage(self, kind: str, payload: Mapping[str, Any]) -> None:
        """The event with all it holds."""
        self._write("stage", {"stage": kind, "payload": payload})

    def on_end(self, summary: Mapping[str, Any] | None, reason: str) -> None:
        """The last line."""
        self._write("end", {"reason": reason, "summary": summary})
        self._file.close()

    def _write(self, event: str, facts: Mapping[str, Any]) -> None:
        self._file.write([_line(event, facts, _now())])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _line(event: str, facts: Mapping[str, Any], now: str) -> str:
    return json.dumps({"time": now, "event": event, **_finite(facts)}, allow_nan=False)


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items() if value is not None}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
