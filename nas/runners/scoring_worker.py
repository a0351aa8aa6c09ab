"""What runs inside a worker process: gates and scores designs that arrive as JSON.

Batches travel as bytes, both ways: Ray would look at every tuple of a list by itself, which costs the driver eight
times as much.
"""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
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

    def score(self, batch: bytes) -> bytes:
        """Outcomes of a batch, see ``packed_batch``, and the seconds that they took; for ``unpacked_outcomes``."""
        started = time.perf_counter()
        outcomes = []
        for index, text in pickle.loads(batch):
            candidate = Candidate(index, Architecture.from_json(text))
            checked = candidate if self._gates is None else self._gates.check(candidate)
            if isinstance(checked, Candidate):
                outcomes += [outcome_of(each) for each in evaluate(self._scorer, [checked], self._objective.seed)]
            else:
                outcomes.append(outcome_of(checked))
        return pickle.dumps((outcomes, time.perf_counter() - started))

    def ready(self) -> str:
        """Answers once the worker has started, with the id of its node."""
        import ray

        return str(ray.get_runtime_context().get_node_id())


def packed_batch(candidates: Iterable[Candidate]) -> bytes:
    """Ids and designs for ``ScoringWorker.score``."""
    return pickle.dumps([(candidate.id, candidate.arch.to_json()) for candidate in candidates])


def unpacked_outcomes(answer: bytes) -> tuple[list[Outcome], float]:
    """Outcomes in the order of the batch, and the seconds that they took."""
    outcomes, seconds = pickle.loads(answer)
    return outcomes, seconds


def outcome_of(result: Result) -> Outcome:
    """What travels back of a result: all but the design."""
    if isinstance(result, Success):
        return None, "", 0.0, result.metrics
    return result.kind, result.message, result.violation, result.candidate.metrics


def result_of(candidate: Candidate, outcome: Outcome) -> Result:
    """The result of a candidate whose outcome came back."""
    kind, message, violation, metrics = outcome
    if kind is not None:
        return Failure(_with(candidate, metrics), kind, message, violation)
    if candidate.metrics:  # gated before it was sent
        return Success(candidate, {**candidate.metrics, **metrics})
    known = dict(metrics)
    del known["score"]
    return Success(_with(candidate, known), metrics)


def _with(candidate: Candidate, metrics: Metrics) -> Candidate:
    if candidate.metrics or not metrics:
        return candidate
    return Candidate(candidate.id, candidate.arch, candidate.parent, metrics)
