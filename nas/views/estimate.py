"""What a search would meet, before it starts: the share within the limits, the tightest budget, the time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from hardware.lookup import ConditionsChanged, TableUnreadable
from nas.config import Config, InvalidConfig
from nas.gates import Gates
from nas.knob_report import interval_of_share
from nas.limits import gates_of
from nas.objective import CLOSED_FORM, Objective
from nas.reach import tightest
from nas.records import Candidate, Failure
from nas.views.plain import as_view
from predictors.proxies.failure import ProxyFailed

SAMPLES, TIMED, WALK = 400, 12, 600
SETUP_S = 2.0  # of a process that loads the libraries
FORWARD_S = 0.05  # a score by forward passes; its own time is learnt when the search starts
TRAIN_MACS_PER_S = 4e9  # multiply-adds of training on one CPU core, forward and backward


def estimate(config: Config) -> dict[str, Any]:
    """Look at random members of the space, and walk towards the limits; costs a second or two.

    Args:
        config: of the run that is asked about.
    Returns: "space", "samples", "feasible", "feasible_share", "interval" (95 %, exact), "tightest" (the least value by
        limited metric that a walk reaches), "unreachable" (limits below that), "evaluations_per_second", "seconds"
        ("profile", "search", "finalists", "training", "guard", "total"; rough), "notes"; JSON-ready.
    Raises: InvalidConfig, UnknownSpace, InvalidDataset, InvalidDevice, UnknownScore, ProxyFailed.
    """
    from nas.train.data import load_dataset
    from search_spaces import load_space

    notes: list[str] = []
    dataset = load_dataset(config.data)
    name = config.space_name(dataset.input_shape[1])
    space = load_space(name)
    gates, profile = _gates(config, space, name, dataset, notes)
    rng = np.random.default_rng((config.seed, 3))
    members: list[Candidate] = []
    within: list[Candidate] = []
    started = time.perf_counter()
    for i in range(SAMPLES):
        checked = gates.check(Candidate(i, space.sample(rng)))
        if not isinstance(checked, Failure):
            within.append(checked)
        members.append(checked.candidate if isinstance(checked, Failure) else checked)
    gate_s, feasible = (time.perf_counter() - started) / SAMPLES, len(within)
    small = sorted(members, key=lambda member: member.metrics.get("macs", np.inf))[: SAMPLES // 10]
    each = gate_s + _score_seconds(config, gates, members, notes)
    reached = {c.metric: tightest(space, gates, c.metric, seed=config.seed, steps=WALK) for c in gates.constraints}
    unreachable = [c.metric for c in gates.constraints if reached[c.metric] > c.at_most]
    seconds = _seconds(config, dataset, within if feasible >= TIMED else small, each) | {"profile": profile}
    if feasible < 0.01 * SAMPLES:
        notes.append(
            "few random networks keep the limits; evolution walks there, but a looser limit leaves more choice"
        )
    return as_view(
        {
            "space": name,
            "samples": SAMPLES,
            "feasible": feasible,
            "feasible_share": feasible / SAMPLES,
            "interval": list(interval_of_share(feasible, SAMPLES)),
            "tightest": reached,
            "unreachable": unreachable,
            "evaluations_per_second": 1 / each,
            "seconds": {**seconds, "total": sum(seconds.values())},
            "notes": notes,
        }
    )


def _gates(config: Config, space: Any, name: str, dataset: Any, notes: list[str]) -> tuple[Gates, float]:
    """The gates, and the seconds of profiling that come first; without a table the latency is left out, and said."""
    limits = config.constraints.model_dump(mode="json")
    facts: dict[str, Any] = {
        "space": space,
        "space_name": name,
        "device": config.device,
        "input_shape": dataset.input_shape,
        "num_classes": dataset.num_classes,
        "where": "estimate",
    }
    try:
        return gates_of(limits, **facts), 0.0
    except InvalidConfig:
        if config.constraints.latency is None:
            raise
        notes.append(f"{config.device} has no latency table of this space yet: the run makes one first, and how many "
                     "networks keep the latency is known after that")  # fmt: skip
    except (ConditionsChanged, TableUnreadable):
        notes.append("the latency table was made under other conditions: the run makes a new one first")
    return gates_of({**limits, "latency": None}, **facts), config.latency.profile


def _score_seconds(config: Config, gates: Gates, members: list[Candidate], notes: list[str]) -> float:
    """Median seconds of one score."""
    score = config.search.score
    if score in ("predictor", "binas"):
        notes.append(f"score: {score} trains networks first; the time of that is not in the estimate")
        return 1e-3
    if score not in CLOSED_FORM:
        notes.append(f"score: {score} is not timed here; {1e3 * FORWARD_S:.0f} ms each are assumed")
        return FORWARD_S
    scorer = Objective(score, gates.input_shape, config.seed).scorer()
    spent = []
    for member in members[:TIMED]:
        started = time.perf_counter()
        try:
            scorer(member.arch, 0)
        except ProxyFailed:
            continue
        spent.append(time.perf_counter() - started)
    return float(np.median(spent)) if spent else FORWARD_S


def _seconds(config: Config, dataset: Any, members: list[Candidate], each: float) -> dict[str, float]:
    """Rough seconds by stage, on one core, for networks of median size."""
    search = min(config.search.evaluations * each, config.search.seconds or np.inf) + SETUP_S
    if not config.train:
        return {"search": search, "finalists": 0.0, "training": 0.0, "guard": 0.0}
    from nas.train.recipe import Recipe

    macs = float(np.median([member.metrics.get("macs", 1e6) for member in members] or [1e6]))
    epoch = 3 * macs * len(dataset.train) / TRAIN_MACS_PER_S + 0.3
    recipe, races = Recipe.from_dict(config.recipe), config.finalists
    training = recipe.epochs * epoch
    finalists = races.trained * races.epochs * epoch + 2.5 * races.measured * bool(config.constraints.latency)
    guard = 2.0 * config.guard.seeds * training if config.constraints.latency else 0.0
    return {"search": search, "finalists": finalists, "training": training, "guard": guard}
