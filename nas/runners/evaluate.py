"""What every runner does with a candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas.objective import Scorer, candidate_seed
from nas.records import Candidate, Failure, Result, Success


def evaluate(scorer: Scorer, candidates: Sequence[Candidate], seed: int) -> list[Result]:
    """Score candidates; whatever a score raises becomes a Failure, never a sentinel value."""
    return [_evaluate_one(scorer, candidate, seed) for candidate in candidates]


def _evaluate_one(scorer: Scorer, candidate: Candidate, seed: int) -> Result:
    try:
        score = float(scorer(candidate.arch, candidate_seed(seed, candidate.id)))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the one place where a user's score may raise anything
        return Failure(candidate, "error", f"{type(error).__name__}: {error}".splitlines()[0][:300])
    if not math.isfinite(score):
        return Failure(candidate, "error", f"the score is {score}")
    return Success(candidate, {**candidate.metrics, "score": score})
