"""The search by BINAS: measure choices in a supernet, solve for the best networks, measure those, refit, again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nas.answers import scoring_settings
from nas.exact.program import NothingFeasible as NoDesign
from nas.gates import Gates
from nas.job.finalists_stage import Finalist, measure_candidates
from nas.job.task import Task
from nas.narrator import Silent
from nas.one_shot.designer import Design, Designer
from nas.one_shot.effects_json import effects_from_dict, effects_to_dict
from nas.one_shot.measurement import Paths, measure_effects
from nas.one_shot.pool import ScorePool
from nas.one_shot.refit import refit
from nas.one_shot.structure import SpaceView, structure_of
from nas.records import Candidate, Failure, Result, Success
from nas.run import NothingFeasible
from nas.runners.ray_session import RayUnavailable, available_cpus, start_ray
from nas.store import RunStore
from predictors.models.bilinear_effects import BilinearEstimator
from search_spaces.arch import Architecture

SERIAL_BELOW = 200  # networks to score; starting Ray takes as long


def run_binas(task: Task, gates: Gates, store: RunStore, supernet: Path, work: Path, narrator: Silent) -> None:
    """Search to the end, from wherever the run file stands.

    Every network that was scored is a candidate of the run: first random ones, which the estimator is refitted to, then
    round by round those that the exact program proposes.

    Raises: NothingFeasible: no network keeps the limits; NoStages; ScoringFailed.
    """
    if any(event.get("complete") for event in store.events("searched")):
        return
    started = time.monotonic()
    search = _Search(task, gates, store, narrator)
    with _pool(task, supernet, work, search.view, narrator) as pool:
        measured = search.measured(pool)
        search.score_random(pool)
        best: float | None = None
        for number in range(task.config.binas.rounds):
            found = search.round(number, search.refitted(measured, pool), pool)
            if found is None or (best is not None and found <= best):
                break
            best = found
        search.refitted(measured, pool)
    seconds = time.monotonic() - started
    store.record("searched", {"candidates": sum(store.outcomes().values()), "seconds": seconds, "complete": True})


@contextmanager
def _pool(task: Task, supernet: Path, work: Path, view: SpaceView, narrator: Silent) -> Iterator[ScorePool]:
    """The configured engine; "auto" takes Ray for many networks on many cores, where it starts."""
    engine = task.config.engine
    stages = view.structure.stages
    count = task.config.binas.paths * sum(len(stage.depths) + sum(stage.configs) for stage in stages)
    wanted = engine.workers or available_cpus()
    few = engine.address is None and (count < SERIAL_BELOW or wanted == 1)
    with ExitStack() as stack:
        workers = 1 if engine.kind == "serial" or (engine.kind == "auto" and few) else wanted
        if workers > 1:
            try:
                stack.enter_context(start_ray(engine.address, workers))
            except RayUnavailable as error:
                if engine.kind == "ray":
                    raise
                narrator.say(f"engine: {error}")
                workers = 1
        yield stack.enter_context(
            ScorePool(
                supernet,
                task.config.data,
                scoring_settings(task.config),
                workers=workers,
                address=engine.address,
                device=task.config.train_device,
                file=work / "scores.jsonl",
            )
        )


class _Search:
    """The steps of the search; what they find goes into the run file."""

    def __init__(self, task: Task, gates: Gates, store: RunStore, narrator: Silent) -> None:
        self.task, self.gates, self.store, self.narrator = task, gates, store, narrator
        self.settings = task.config.binas
        self.view = structure_of(task.space)
        self.designer = Designer(self.view, gates, seed=task.config.seed)
        for metric, fit in self.designer.fits.items():
            narrator.say(
                f"binas: {metric} is no sum over choices, the best one is off by {fit.relative_error:.1%} on average; "
                "every network is held against the model itself"
            )

    def rounds(self) -> list[dict[str, Any]]:
        """The rounds of proposals so far."""
        return self.store.events("binas_round")

    def measured(self, pool: ScorePool) -> BilinearEstimator:
        """The effects of all choices, measured once."""
        known = self.store.events("measured_effects")
        if known:
            return effects_from_dict(known[0]["effects"])
        stages = self.view.structure.stages
        choices = sum(len(stage.depths) + sum(stage.configs) for stage in stages)
        self.narrator.say(f"binas: measuring {choices} choices on {self.settings.paths} random networks each")

        def tell(share: float) -> None:
            self.narrator.update(f"binas: {share:.0%} of the choices measured", share)

        found = measure_effects(self.view, pool, Paths(self.settings.paths, self.task.config.seed), tell)
        self.narrator.done()
        self.store.record("measured_effects", {"effects": effects_to_dict(found.estimator), "networks": found.networks})
        return found.estimator

    def score_random(self, pool: ScorePool) -> None:
        """Random networks as the first candidates; those over a limit count as rejected, but teach the estimator."""
        rng = np.random.default_rng((self.task.config.seed, 0xBEEF))
        depths, configs = self.view.structure.sample(self.settings.random, rng)
        archs = list({arch.digest: arch for arch in self.view.architectures(depths, configs)}.values())
        self._candidates(archs, pool, first=0)

    def round(self, number: int, estimator: BilinearEstimator, pool: ScorePool) -> float | None:
        """Propose, score and measure; the best score of the round, None where there is no further network."""
        if number == len(self.rounds()):
            self._propose(number, estimator)
        event = self.rounds()[number]
        archs = [Architecture.from_dict(arch) for arch in event["archs"]]
        if not archs:
            return None
        self._candidates(archs, pool, first=event["first"])
        rows = {row["id"]: row for row in self.store.table()}
        ids = [event["first"] + i for i in range(len(archs)) if event["first"] + i in rows]
        candidates = [Finalist(i, archs[i - event["first"]], rows[i]["score"], rows[i]["latency_ms"]) for i in ids]
        kept = self._on_the_device(candidates)
        best = max((candidate.score for candidate in kept), default=None)
        self.narrator.say(
            f"binas: round {number + 1}, {len(candidates)} designs scored, "
            + ("none keeps the budget when measured" if best is None else f"best supernet loss {-best:.4f}")
        )
        return best

    def _propose(self, number: int, estimator: BilinearEstimator) -> None:
        known = [result.candidate.arch for result in self.store.results()]
        try:
            designs = self.designer.best(
                estimator,
                count=self.settings.proposals,
                distance=self.settings.distance,
                kappa=self.settings.kappa,
                avoid=known,
            )
        except NoDesign as error:
            if number == 0:
                raise NothingFeasible(str(error)) from None
            designs = []
        self.store.record(
            "binas_round",
            {
                "round": number,
                "first": sum(self.store.outcomes().values()),
                "archs": [design.arch.to_dict() for design in designs],
                "designs": [_certificate(design) for design in designs],
            },
        )
        if designs:
            self.narrator.say(f"binas: round {number + 1}: {sentence(designs[0])}")

    def _on_the_device(self, candidates: Sequence[Finalist]) -> list[Finalist]:
        """Measure the best of a round; those that keep the budget, or all where nothing is measured."""
        ranked = sorted(candidates, key=lambda candidate: (-candidate.score, candidate.id))
        if self.task.latency_budget_ms is None or not self.task.target.here:
            return ranked
        done = {event["id"]: event for event in self.store.events("measured")}
        chosen = ranked[: self.settings.measured]
        new = [candidate for candidate in chosen if candidate.id not in done]
        done |= measure_candidates(self.task, new, self.store, self.narrator) if new else {}
        return [candidate for candidate in chosen if done[candidate.id]["within"]]

    def _candidates(self, archs: Sequence[Architecture], pool: ScorePool, first: int) -> None:
        """Score networks and append them as candidates, those that the run file does not have yet."""
        stored = sum(self.store.outcomes().values())
        new = [(first + i, arch) for i, arch in enumerate(archs) if first + i >= stored]
        if not new:
            return
        self.narrator.update(f"binas: scoring {len(new)} networks of the supernet")
        scores = pool.scores([arch for _, arch in new])
        self.narrator.done()
        results: list[Result] = []
        for (i, arch), score in zip(new, scores, strict=True):
            checked = self.gates.check(Candidate(i, arch))
            if isinstance(checked, Failure):
                results.append(checked)
            else:
                results.append(Success(checked, {**checked.metrics, "score": score.score}))
        self.store.append(results)
        self.store.commit()

    def refitted(self, measured: BilinearEstimator, pool: ScorePool) -> BilinearEstimator:
        """The estimator corrected by all networks that were scored so far, with how well it ranks; recorded."""
        archs = [result.candidate.arch for result in self.store.results()]
        labels = [score.score for score in pool.scores(archs)]
        found = refit(measured, *self.view.arrays(archs), labels, seed=self.task.config.seed)
        known = [event["networks"] for event in self.store.events("effects")]
        if len(archs) not in known:
            judged = found.corrected_quality
            record = {
                "effects": effects_to_dict(found.estimator),
                "networks": len(archs),
                "corrected": found.corrected,
                "measured_quality": asdict(found.measured_quality),
                "corrected_quality": None if judged is None else asdict(judged),
            }
            self.store.record("effects", record)
            if not known:
                self.narrator.say(f"binas: {_words(record)}")
        return found.estimator


def sentence(design: Design) -> str:
    """What is certain about a design."""
    told = f"best expected loss {-design.expected:.4f}"
    if design.proven:
        return f"{told}, proven: no network within the limits has a better objective"
    return f"{told}; no network within the limits is better by more than {design.bound - design.objective:.2g}"


def _certificate(design: Design) -> dict[str, Any]:
    return {
        "expected": design.expected,
        "objective": design.objective,
        "bound": design.bound,
        "proven": design.proven,
    }


def _words(record: dict[str, Any]) -> str:
    plain, corrected = record["measured_quality"], record["corrected_quality"]
    told = f"the measured effects rank {plain['networks']} random networks with Kendall's tau {plain['kendall']:.2f}"
    if corrected is None:
        return told
    return f"{told}; corrected by the others {corrected['kendall']:.2f}" + (
        "" if record["corrected"] else ", not taken"
    )
