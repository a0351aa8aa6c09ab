"""How far a run is: the stages that its configuration asks for, and which of them are done."""

from __future__ import annotations

from typing import Any

from nas.config import Config
from nas.run import Run

LAST_OF = {  # the event that ends a stage
    "labels": "predictor",
    "supernet": "supernet",
    "search": "searched",
    "finalists": "winner",
    "training": "test",
    "verification": "verified",
    "guard": "guard",
    "done": "finished",
}


def stages(run: Run, config: Config) -> list[dict[str, Any]]:
    """The stages in order: "name", "state" ("done", "next" for the first that is not, "waiting") and "time" of its end.

    Returns: JSON-ready.
    """
    times: dict[str, str] = {}
    for event in run.events(*LAST_OF.values()):
        if event["kind"] != "searched" or event.get("complete"):
            times[event["kind"]] = event["time"]
    rows = []
    wanted = _wanted(config)
    last = max((at for at, name in enumerate(wanted) if LAST_OF[name] in times), default=-1)
    for at, name in enumerate(wanted):
        state = "done" if at <= last else "next" if at == last + 1 else "waiting"
        rows.append({"name": name, "state": state, "time": times.get(LAST_OF[name])})
    return rows


def _wanted(config: Config) -> list[str]:
    score, budget = config.search.score, config.constraints.latency
    return [
        *["labels"] * (score == "predictor"),
        *["supernet"] * (score == "binas"),
        "search",
        *(["finalists", "training", "verification"] if config.train else []),
        *["guard"] * (config.train and config.guard.seeds > 0 and budget is not None),
        "done",
    ]
