"""What every choice contributes, as rows for people: effect with its error, and cost beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from nas.exact.program import Resource
from nas.one_shot.structure import SpaceView
from predictors.models.bilinear_effects import BilinearEstimator
from search_spaces.arch import Architecture


@dataclass(frozen=True, slots=True)
class Contribution:
    """One choice.

    Attributes:
        stage: its name.
        part: "depth", "kernel", "expansion" or "se" for the mean over all blocks and other parts; "block 2" for a whole
            configuration of one block; the knob's name where the space has no stages.
        choice: in words.
        effect: on the label, against the mean of its alternatives; higher is better.
        error: its standard error; NaN where unknown.
        costs: by resource, against the mean of its alternatives.
    """

    stage: str
    part: str
    choice: str
    effect: float
    error: float
    costs: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "stage": self.stage, "part": self.part, "choice": self.choice, "effect": self.effect, "error": self.error,
            "costs": dict(self.costs),
        }  # fmt: skip


def part_rows(view: SpaceView, estimator: BilinearEstimator, resources: Sequence[Resource] = ()) -> list[Contribution]:
    """Of each stage: each depth, and each choice of each part, averaged over blocks and the other parts.

    Args:
        view: the space.
        estimator: of its structure.
        resources: costs to show beside.
    """
    found: list[Contribution] = []
    structure = view.structure
    for s, stage in enumerate(structure.stages):
        start = structure.beta_starts[s]
        if len(stage.depths) > 1:
            depths = np.arange(start, start + len(stage.depths))
            costs = {r.name: _centred(_depth_costs(view, r, s)) for r in resources}
            for i, depth in enumerate(stage.depths):
                effect = float(estimator.depths[depths[i]] - estimator.depths[depths].mean())
                own = {name: float(values[i]) for name, values in costs.items()}
                error = float(estimator.depth_errors[depths[i]])
                found.append(Contribution(view.stage_name(s), "depth", f"{depth} blocks", effect, error, own))
        found += _parts_of(view, estimator, resources, s)
    return found


def _parts_of(
    view: SpaceView, estimator: BilinearEstimator, resources: Sequence[Resource], s: int
) -> list[Contribution]:
    structure, found = view.structure, list[Contribution]()
    blocks = [at for at, (of, _) in enumerate(structure.blocks) if of == s]
    parts = view.config_parts(s, 0)
    combinations = list(product(*parts.values()))
    for axis, (name, choices) in enumerate(parts.items()):
        if len(choices) < 2:
            continue
        for choice in choices:
            chosen = [i for i, whole in enumerate(combinations) if whole[axis] == choice]
            places = np.array([structure.alpha_starts[at] + i for at in blocks for i in chosen])
            starts = structure.alpha_starts
            every = np.concatenate([np.arange(starts[at], starts[at + 1]) for at in blocks])
            effect = float(estimator.configs[places].mean() - estimator.configs[every].mean())
            error = float(np.sqrt((estimator.config_errors[places] ** 2).sum()) / len(places))
            costs = {r.name: float(r.configs[places].mean() - r.configs[every].mean()) for r in resources}
            found.append(Contribution(view.stage_name(s), name, _word(name, choice), effect, error, costs))
    return found


def choices_of(
    view: SpaceView, estimator: BilinearEstimator, arch: Architecture, resources: Sequence[Resource] = ()
) -> list[Contribution]:
    """What each choice of one network adds; with the estimator's base, the effects sum to the prediction.

    Costs are those of the choice itself, not against alternatives; with what is fixed they sum to the network's.
    """
    depths, configs = view.arrays([arch])
    structure, found = view.structure, list[Contribution]()
    depth_places, alpha_places, exists = structure.places(depths, configs)
    for s, place in enumerate(depth_places[0]):
        if len(structure.stages[s].depths) > 1:
            costs = {r.name: float(r.depths[place]) for r in resources}
            effect, error = float(estimator.depths[place]), float(estimator.depth_errors[place])
            found.append(Contribution(view.stage_name(s), "depth", f"{depths[0, s]} blocks", effect, error, costs))
    for at, (s, b) in enumerate(structure.blocks):
        if exists[0, at]:
            place = alpha_places[0, at]
            costs = {r.name: float(r.configs[place]) for r in resources}
            name = view.config_names(s, b)[int(configs[0, at])]
            part = f"block {b + 1}" if view.elastic else view.stage_name(s)
            effect, error = float(estimator.configs[place]), float(estimator.config_errors[place])
            found.append(Contribution(view.stage_name(s), part, name, effect, error, costs))
    return found


def _depth_costs(view: SpaceView, resource: Resource, s: int) -> np.ndarray:
    """Mean cost of a stage at each of its depths, over configurations."""
    structure, stage = view.structure, view.structure.stages[s]
    start = structure.beta_starts[s]
    means = [
        resource.configs[structure.alpha_starts[at] : structure.alpha_starts[at + 1]].mean()
        for at, (of, _) in enumerate(structure.blocks)
        if of == s
    ]
    return np.array([resource.depths[start + i] + sum(means[:depth]) for i, depth in enumerate(stage.depths)])


def _centred(values: np.ndarray) -> np.ndarray:
    return np.asarray(values - values.mean())


def _word(name: str, choice: object) -> str:
    if name == "se":
        return "with gate" if choice else "without gate"
    return f"{name} {choice}"
