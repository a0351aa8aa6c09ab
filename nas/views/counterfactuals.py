"""What a candidate could be instead: its betters in the run, and what one change of the design would give."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from nas.gates import Gates
from nas.objective import CLOSED_FORM, Objective
from nas.records import Candidate, Failure
from nas.run import Run
from nas.store.sampling import rows_of
from nas.views.digest import digest_of
from nas.views.drawing import stored_table, task_of
from nas.views.scatter import near_front
from predictors.proxies.failure import ProxyFailed
from search_spaces import SPACES
from search_spaces.arch import Architecture, Block, InvalidArchitecture

TRIES, SHOWN = 96, 4  # mutants looked at, about 0.3 ms each; changes given of each kind


def in_the_run(run: Run, row: dict[str, Any]) -> dict[str, Any]:
    """Candidates of the front beside one: "better" at no higher cost, "faster" at no lower score, "next" higher score.

    Args:
        run: open for reading.
        row: of the candidate.
    Returns: a row each; None where there is none but itself.
    """
    digest = digest_of(run)
    with digest.lock:
        cost = row.get(digest.cost or "macs")
        if cost is None or not digest.front.ids:
            return {"better": None, "faster": None, "next": None}
        found = near_front(digest, cost, -np.inf if row["score"] is None else row["score"])
    if row["score"] is None:  # a rejected candidate: what the same cost or less buys
        found |= {"faster": None, "next": None}
    rows = rows_of(run.store, [i for i in found.values() if i is not None])
    return {name: None if i is None or i == row["id"] else rows.get(i) for name, i in found.items()}


def changes(run: Run, arch: Architecture, row: dict[str, Any]) -> dict[str, Any]:
    """Single mutations of a design, with their costs and scores in closed form.

    Args:
        run: open for reading.
        arch: of the candidate.
        row: of the candidate.
    Returns: "tried"; "better": mutants within the limits with the highest scores; "faster": the cheapest with no lower
        score; "over": the highest scores just beyond a limit; "note": why there are none. A mutant has "change" in
        words, its metrics, "score" and "over" (the limits that it exceeds).
    """
    config = run.config
    (shape, classes), table = task_of(run), stored_table(run)
    space = None if shape is None else config.space_name(shape[1])
    nothing: dict[str, Any] = {"tried": 0, "better": [], "faster": [], "over": [], "note": None}
    if shape is None or classes is None or space is None or space not in SPACES:
        return nothing | {"note": "single changes are tried in the spaces that come with netwright"}
    if config.search.score not in CLOSED_FORM:
        return nothing | {"note": f"the score {config.search.score} has no closed form to try changes with"}
    constraints = config.constraints.constraints()
    if table is None:
        constraints = tuple(c for c in constraints if c.metric != "latency_ms")
    gates = Gates(shape, classes, constraints, table)
    mutants = _mutants(SPACES[space], arch, row["id"])
    scorer = Objective(config.search.score, shape, config.seed).scorer()
    scored = [found for mutant in mutants if (found := _looked_at(mutant, arch, gates, scorer)) is not None]
    cost = "latency_ms" if table is not None else "macs"
    score = -np.inf if row["score"] is None else row["score"]
    within = [found for found in scored if not found["over"]]
    higher = sorted((f for f in within if f["score"] > score), key=lambda f: -f["score"])
    cheaper = [f for f in within if f["score"] >= score and (row[cost] is None or f[cost] < row[cost])]
    beyond = sorted((f for f in scored if f["over"] and f["score"] > score), key=lambda f: f["violation"])
    return {
        "tried": len(mutants),
        "better": higher[:SHOWN],
        "faster": sorted(cheaper, key=lambda f: f[cost])[:SHOWN],
        "over": beyond[:SHOWN],
        "note": None,
    }


def _mutants(space: Any, arch: Architecture, seed: int) -> list[Architecture]:
    """Different ones, always the same for a candidate."""
    rng = np.random.default_rng((seed, 8))
    found: dict[str, Architecture] = {}
    try:
        for _ in range(TRIES):
            mutant = space.mutate(arch, rng)
            found.setdefault(mutant.digest, mutant)
    except ValueError:  # outside the space, or nothing to mutate
        pass
    return list(found.values())


def _looked_at(mutant: Architecture, parent: Architecture, gates: Gates, scorer: Any) -> dict[str, Any] | None:
    checked = gates.check(Candidate(0, mutant))
    known = checked.candidate if isinstance(checked, Failure) else checked
    if not known.metrics:
        return None
    try:
        score = scorer(mutant, 0)
    except (ProxyFailed, InvalidArchitecture):
        return None
    excess = gates.violations(known.metrics)
    return {
        "change": change_in_words(parent, mutant),
        "score": score,
        **known.metrics,
        "over": [{"metric": name, "by": by} for name, by in excess.items()],
        "violation": sum(excess.values()),
        "spec": mutant.to_dict(),
    }


def change_in_words(a: Architecture, b: Architecture) -> str:
    """What differs between two designs, block by block: ``block 2: channels 16 → 24``."""
    if len(a.blocks) != len(b.blocks):
        longer = len(b.blocks) > len(a.blocks)
        more, fewer = (b, a) if longer else (a, b)
        count = len(more.blocks) - len(fewer.blocks)
        at = next((i for i, (x, y) in enumerate(zip(a.blocks, b.blocks, strict=False)) if x != y), len(fewer.blocks))
        kind = more.blocks[at].kind
        what = f"{count} block{'s' if count > 1 else ''}"
        return f"{what} {'added' if longer else 'removed'} at block {at + 1} ({kind})"
    parts = [
        f"block {i + 1}: {_difference(x, y)}" for i, (x, y) in enumerate(zip(a.blocks, b.blocks, strict=True)) if x != y
    ]
    return "; ".join(parts) or "nothing"


def _difference(a: Block, b: Block) -> str:
    names = [field.name for field in fields(Block)]
    return ", ".join(
        f"{name} {getattr(a, name)} → {getattr(b, name)}" for name in names if getattr(a, name) != getattr(b, name)
    )
