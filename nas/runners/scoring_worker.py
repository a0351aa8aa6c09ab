"""What runs inside a worker process: gates and scores designs that arrive as JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from nas.gates import Gates
from nas.objective import Objective
from nas.records import Candidate, Failure, FailureKind, Metrics, Result, Success
from nas.runners.evaluate import evaluate
from search_spaces.arch import Architecture

Outcome = tuple[FailureKind | None, str, float, Metrics]  # kind of failure, message, violation; metrics with the score


class ScoringWorker:
    """Holds one scorer; one thread, so that workers do not fight for cores."""

    def __init__(
        self,
        objective: Mapping[str, Any],
        import_paths: Sequence[str] = (),
        gates: Mapping[str, Any] | None = None,
    ) -> None:
        sys.path.extend(path for path in import_paths if path not in sys.path)
        self._objective = Objective.from_dict(objective)
        self._scorer = self._objective.scorer()
        self._gates = None if gates is None else Gates.from_dict(gates)
        if "torch" in sys.modules:
            import torch

            torch.set_num_threads(1)

    def score(self, designs: Sequence[tuple[int, str]]) -> tuple[list[Outcome], float]:
        """Outcomes of (id, architecture JSON) pairs in order, and the seconds they took."""
        started = time.perf_counter()
        outcomes = []
        for index, text in designs:
            candidate = Candidate(index, Architecture.from_json(text))
            checked = candidate if self._gates is None else self._gates.check(candidate)
            if isinstance(checked, Candidate):
                outcomes += [outcome_of(each) for each in evaluate(self._scorer, [checked], self._objective.seed)]
            else:
                outcomes.append(outcome_of(checked))
        return outcomes, time.perf_counter() - started

    def ready(self) -> str:
        """Answers once the worker has started, with the id of its node."""
        import ray

        return str(ray.get_runtime_context().get_node_id())


def outcome_of(result: Result) -> Outcome:
    """What travels back of a result: all but the design."""
    if isinstance(result, Success):
        return None, "", 0.0, result.metrics
    return result.kind, result.message, result.violation, result.candidate.metrics


def result_of(candidate: Candidate, outcome: Outcome) -> Result:
    """The result of a candidate whose outcome came back."""
    kind, message, violation, metrics = outcome
    if kind is None:
        return Success(
            _with(candidate, {k: v for k, v in metrics.items() if k != "score"}), {**candidate.metrics, **metrics}
        )
    return Failure(_with(candidate, metrics), kind, message, violation)


def _with(candidate: Candidate, metrics: Metrics) -> Candidate:
    if candidate.metrics or not metrics:  # gated before it was sent
        return candidate
    return Candidate(candidate.id, candidate.arch, candidate.parent, metrics)
