"""What runs inside a worker process: scores designs that arrive as JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from nas.objective import Objective
from nas.records import Candidate, Success
from nas.runners.evaluate import evaluate
from search_spaces.arch import Architecture

Outcome = tuple[float | None, str]  # score, or None and the reason


class ScoringWorker:
    """Holds one scorer; one thread, so that workers do not fight for cores."""

    def __init__(self, objective: Mapping[str, Any], import_paths: Sequence[str] = ()) -> None:
        sys.path.extend(path for path in import_paths if path not in sys.path)
        self._objective = Objective.from_dict(objective)
        self._scorer = self._objective.scorer()
        if "torch" in sys.modules:
            import torch

            torch.set_num_threads(1)

    def score(self, designs: Sequence[tuple[int, str]]) -> tuple[list[Outcome], float]:
        """Outcomes of (id, architecture JSON) pairs in order, and the seconds they took."""
        started = time.perf_counter()
        candidates = [Candidate(index, Architecture.from_json(text)) for index, text in designs]
        results = evaluate(self._scorer, candidates, self._objective.seed)
        outcomes: list[Outcome] = [
            (result.metrics["score"], "") if isinstance(result, Success) else (None, result.message)
            for result in results
        ]
        return outcomes, time.perf_counter() - started

    def ready(self) -> bool:
        """Answers once the worker has started."""
        return True
