"""All candidates as a CSV table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.callbacks.callback import Callback, RunStart
from nas.callbacks.candidate_row import COLUMNS, candidate_row
from nas.callbacks.lines_file import LinesFile
from nas.callbacks.standing import Standing
from nas.records import Result


@dataclass
class CsvTable(Callback):
    """Appends a row for every candidate, in the order of the search.

    Attributes:
        path: of the file, from the run directory.
    """

    path: str = "candidates.csv"

    def on_start(self, run: RunStart) -> None:
        """Open the file; a resumed run goes on with it."""
        self._file = LinesFile(run.directory / self.path, append=run.resumed)
        if self._file.empty:
            self._file.write([",".join(COLUMNS)])

    def last_id(self) -> int | None:
        """Of the last row."""
        for line in self._file.backwards():
            first = line.partition(",")[0]
            return int(first) if first.isdecimal() else -1
        return -1

    def on_batch_scored(self, results: Sequence[Result], standing: Standing) -> None:
        """A row each; reasons are kept on one line."""
        self._file.write(_row(candidate_row(result)) for result in results)

    def on_end(self, summary: Mapping[str, Any] | None, reason: str) -> None:
        """Close the file."""
        self._file.close()


def _row(row: Mapping[str, Any]) -> str:
    text = io.StringIO()
    values = [" ".join(value.split()) if isinstance(value, str) else value for value in row.values()]
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
