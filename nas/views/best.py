"""The best candidate within limits, kept up with the run file: for each question a candidate is looked at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from nas.run import Run
from nas.store.ranking import best_row
from nas.store.sampling import last_id
from nas.views.digest import Identity, identity
from nas.views.plain import as_view

KEPT = 256  # questions whose answers are remembered
Question = tuple[Identity, tuple[tuple[str, float], ...]]

_KNOWN: OrderedDict[Question, tuple[int, dict[str, Any] | None]] = OrderedDict()
_LOCK = threading.Lock()


def best(run: Run, at_most: Mapping[str, float]) -> dict[str, Any]:
    """The row of the scored candidate with the highest score within limits, with its design.

    Args:
        run: open for reading.
        at_most: limits by metric; one on "latency_ms" is held by the upper bound.
    Returns: its row, and "arch"; JSON-ready.
    Raises: NothingFeasible: naming the tightest reachable limit; UnknownMetric.
    """
    limits = run.limits(at_most)
    question = (identity(run), tuple(sorted(limits.items())))
    upto = last_id(run.store)
    with _LOCK:
        seen, found = _KNOWN.get(question, (-1, None))
    if upto < seen:  # another run in the same place
        seen, found = -1, None
    if upto > seen:
        row = best_row(run.store, limits, seen)
        if row is not None and (found is None or row["score"] > found["score"]):
            found = as_view({**row, "arch": run.architecture(row["id"]).to_dict()})
        with _LOCK:
            _KNOWN[question] = upto, found
            _KNOWN.move_to_end(question)
            while len(_KNOWN) > KEPT:
                _KNOWN.popitem(last=False)
    if found is None:
        raise run.why_none(at_most)
    return found
