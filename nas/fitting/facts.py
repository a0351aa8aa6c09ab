"""What a fit found out, as plain data: the JSON of ``netwright fit``, kept in the predictor's file."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from nas.fitting.learner import AUTO
from nas.fitting.table import LabelledTable
from nas.fitting.words import verdict_of
from predictors.evaluation import Evaluation
from predictors.evaluation.crossvalidate import STATED, plain
from predictors.rank import Estimate

if TYPE_CHECKING:
    from nas.fitting.fit import Asked

_LIBRARIES = ("netwright", "numpy", "scikit-learn", "xgboost")


@dataclass(frozen=True)
class Judged:
    """An evaluation and what it is of.

    Attributes:
        table: all rows.
        evaluation: of labels times ``sign``.
        sign: -1 where lower labels are better.
        chosen: what each fold's predictor is, in words.
        curve: see ``nas.fitting.curve``.
    """

    table: LabelledTable
    evaluation: Evaluation
    sign: int
    chosen: list[str]
    curve: list[dict[str, Any]]


def facts_of(judged: Judged, predictor: Any, asked: Asked) -> dict[str, Any]:
    """All of it, JSON-ready."""
    found, table = judged.evaluation, judged.table
    recipes = [member.recipe for member in predictor.members_]
    facts = {
        **_statistic("kendall", found.kendall),
        **_statistic("spearman", found.spearman),
        **_statistic("rmse", found.rmse),
        **_statistic("baseline_kendall", found.baseline_kendall),
        **_statistic("kendall_gain", found.kendall_gain),
        "model": " + ".join(dict.fromkeys(recipe.model for recipe in recipes)),
        "encoder": predictor.encoder_,
        "label_map": predictor.recipe_.labels,
        "members": [recipe.name for recipe in recipes],
        "baseline": found.baseline,
        "baseline_is_cost": table.has_costs,
        "verdict": verdict_of(found, table.has_costs),
        "target": asked.columns.target,
        "lower_is_better": asked.lower_is_better,
        "rows": found.rows,
        "networks": found.networks,
        "folds": found.folds,
        "repeats": found.repeats,
        "top_k": found.k,
        **_statistic("top_k_regret", found.top_k_regret),
        **_statistic("tau_in_cost_bins", found.tau_in_bins if table.has_costs else None),
        **_statistic("pearson", found.pearson),
        "stated_coverage": STATED,
        **_statistic("coverage", found.coverage),
        **_ceiling(found),
        "evaluated": _evaluated(asked),
        "chosen_in_folds": judged.chosen,
        "notes": list(found.notes),
        "features": [name for name in table.features.columns if name not in table.dropped],
        "dropped": table.dropped,
        "warnings": list(table.warnings),
        "leaderboard": predictor.leaderboard_,
        "learning_curve": judged.curve,
        "seed": asked.learner.seed,
        "time_limit": asked.learner.time_limit if asked.learner.model == AUTO else None,
        "versions": {name: version(name) for name in _LIBRARIES} | {"python": platform.python_version()},
    }
    made: dict[str, Any] = plain(facts)
    return made


def _statistic(name: str, found: Estimate | None) -> dict[str, Any]:
    if found is None:
        return {name: None, f"{name}_interval": None}
    return {name: found.value, f"{name}_interval": [found.low, found.high]}


def _ceiling(found: Evaluation) -> dict[str, Any]:
    ceiling = found.ceiling
    return {
        **_statistic("noise_ceiling", ceiling.kendall if ceiling else None),
        **_statistic("noise_sd", ceiling.noise_sd if ceiling else None),
        "repeated_networks": ceiling.repeated if ceiling else 0,
    }


def _evaluated(asked: Asked) -> str:
    learner = asked.learner
    times = f"{asked.folds} folds" + (f", drawn {asked.repeats} times" if asked.repeats > 1 else "")
    if learner.model == AUTO:
        return (
            f"{times}: encoder, label map and model chosen anew on each training part, in at most about "
            f"{learner.time_limit:g} s each; the saved predictor is chosen likewise on all rows"
        )
    return f"{times}: {learner.model} on {learner.encoder or 'one-hot'} fitted anew on each training part"
