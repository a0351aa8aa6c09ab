"""Further budgets and devices from a run that has measured a supernet: solved anew, in seconds, without training."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from hardware.lookup import LatencyTable
from nas.config import Config
from nas.exact.program import NothingFeasible as NoDesign
from nas.gates import Gates
from nas.limits import gates_of
from nas.one_shot.choice_rows import choices_of, part_rows
from nas.one_shot.designer import Design, Designer
from nas.one_shot.effects_json import effects_from_dict
from nas.one_shot.pool import ScorePool
from nas.one_shot.scores import ScoringSettings
from nas.one_shot.structure import structure_of
from nas.records import Constraint
from nas.run import NothingFeasible, Run
from nas.spec import load_spec
from nas.train.supernet.file import holds_supernet
from search_spaces import load_space

WORK = "work"


class NoEffects(ValueError):
    """The run measured no supernet."""


def scoring_settings(config: Config) -> ScoringSettings:
    """On what images the networks of a run are judged; equal ones, so that scores are found again."""
    return ScoringSettings(images=config.binas.images, seed=config.seed)


def can_answer(run: Run) -> bool:
    """Whether the run knows what every choice adds."""
    return bool(run.events("effects"))


def answer(run: Run, device: str | None = None, **at_most: float) -> dict[str, Any]:
    """The best network of the space within budgets, by the run's supernet.

    The exact program proposes as many networks as in a round of the search, the supernet judges them, the best one
    is given. Nothing is measured: latencies are those of the device's model, held by its upper bound.

    Args:
        run: of a search by BINAS.
        device: holds ``latency_ms``; None is the run's own.
        at_most: budgets by metric, for example ``latency_ms=2.0``.
    Returns: metrics, "score" (negative loss on the supernet, or the expected one where the supernet is gone),
        "expected", "bound" and "objective" of the program, "proven", "judged" (on the supernet), "arch".
    Raises: NothingFeasible: naming the budget that binds and the nearest one; InvalidConfig: no table of the device.
    """
    config = run.config
    gates = _gates(run, device, at_most)
    space = load_space(_space_name(run))
    designer = Designer(structure_of(space), gates, seed=config.seed)
    estimator = effects_from_dict(run.events("effects")[-1]["effects"])
    settings = config.binas
    try:
        designs = designer.best(estimator, count=settings.proposals, distance=settings.distance, kappa=settings.kappa)
    except NoDesign as error:
        raise NothingFeasible(f"run {run.directory}: {error}") from None
    scores = _judged(run, designs)
    at = max(range(len(designs)), key=lambda i: scores[i]) if scores else 0
    design = designs[at]
    return {
        **design.metrics,
        "score": scores[at] if scores else design.expected,
        "expected": design.expected,
        "objective": design.objective,
        "bound": design.bound,
        "proven": design.proven,
        "judged": bool(scores),
        "digest": design.arch.digest,
        "arch": design.arch,
        **({} if device is None else {"device": device}),
    }


def _judged(run: Run, designs: list[Design]) -> list[float]:
    """Scores on the supernet; none where it is gone."""
    events = run.events("supernet")
    folder = Path(events[-1]["path"]) if events else Path()
    local = run.directory / "supernet"
    folder = local if holds_supernet(local) else folder
    if not events or not holds_supernet(folder):
        return []
    settings = scoring_settings(run.config)
    known = run.directory / WORK / "scores.jsonl"
    with ScorePool(folder, run.config.data, settings, file=known if known.exists() else None) as pool:
        return [score.score for score in pool.scores([design.arch for design in designs])]


def _gates(run: Run, device: str | None, at_most: dict[str, float]) -> Gates:
    task = run.store.fact("task")
    shape, classes = tuple(task["input_shape"]), task["num_classes"]
    constraints = tuple(Constraint(metric, limit) for metric, limit in at_most.items())
    if device is not None:
        name = _space_name(run)
        found = gates_of(
            {"latency": "1000s"}, space=load_space(name), space_name=name, device=device, input_shape=shape,
            num_classes=classes, where="best",
        )  # fmt: skip
        return replace(found, constraints=constraints)
    text = run.store.fact("latency_table")
    table = None if text is None else LatencyTable.from_json(text)
    if table is None and "latency_ms" in at_most:
        raise NothingFeasible(f"run {run.directory}: was made without a latency budget; name the device with --device")
    return Gates(shape, classes, constraints, table)


def _space_name(run: Run) -> str:
    return run.config.space_name(run.store.fact("task")["input_shape"][1])


def contributions(path: Path, spec: str | None = None) -> dict[str, Any]:
    """What every choice adds to the score, or what those of one network add.

    Args:
        path: of a run of a search by BINAS.
        spec: a network, as ``load_spec`` takes it; None for every choice of the space.
    Returns: "contributions" (stage, part, choice, effect, error, costs), "resources", "base"; of a network "expected".
    Raises: NoEffects; RunFileError.
    """
    with Run.open(path) as run:
        if not can_answer(run):
            raise NoEffects(f"run {run.directory}: measured no effects; only `netwright search --score binas` does")
        config = run.config
        limits = {"macs": math.inf, "params": math.inf}
        if run.store.fact("latency_table") is not None:
            limits["latency_ms"] = math.inf
        view = structure_of(load_space(_space_name(run)))
        designer = Designer(view, _gates(run, None, limits), seed=config.seed)
        estimator = effects_from_dict(run.events("effects")[-1]["effects"])
    resources = designer.resources
    found: dict[str, Any] = {"run": str(path), "resources": [r.name for r in resources], "base": estimator.base}
    if spec is None:
        rows = part_rows(view, estimator, resources)
    else:
        arch = load_spec(spec).arch
        rows = choices_of(view, estimator, arch, resources)
        found["expected"] = float(estimator.predict(*view.arrays([arch]))[0])
    return {**found, "contributions": [row.to_dict() for row in rows]}
