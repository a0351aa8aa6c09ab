"""The winner trained fully, tested once, exported, and the exported file held against the budget."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hardware.measure import Measurement
from nas.export.card import CardFacts, LatencyEvidence
from nas.export.pretrained import save_pretrained
from nas.job.finalists_stage import Finalist
from nas.job.task import Task
from nas.job.verification import exported_model, verify
from nas.narrator import Silent
from nas.store import RunStore
from nas.train.distill import Distillation
from nas.train.entrant import build_network, entrant_seed
from nas.train.evaluate import Evaluation, evaluate_test
from nas.train.finalists import threads
from nas.train.fit import EpochReport, fit
from nas.train.recipe import Recipe
from nas.verdict import sentence
from search_spaces.build import Network


@dataclass(frozen=True, slots=True)
class Trained:
    """The delivered network and what it does."""

    network: Network
    validation: Evaluation
    test: Evaluation


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """From where and how the winner is trained.

    Attributes:
        network: with its first weights.
        recipe: of the training.
        distillation: a teacher, if there is one.
    """

    network: Network
    recipe: Recipe
    distillation: Distillation | None = None


def fresh_start(task: Task, winner: Finalist, recipe: Recipe) -> Start:
    """Random weights, to be trained by a recipe."""
    seed = entrant_seed(task.config.seed, winner.id)
    return Start(build_network(winner.arch, task.dataset, seed=seed), recipe)


def train_winner(
    task: Task, winner: Finalist, start: Start, store: RunStore, folder: Path, narrator: Silent
) -> Trained:
    """Train the winner; goes on from its checkpoint. The test images are read here, once."""
    network, recipe = start.network, start.recipe

    recorded = {event["epoch"] for event in store.events("epoch")}

    def record(report: EpochReport) -> None:
        if report.epoch not in recorded:
            recorded.add(report.epoch)
            store.record("epoch", asdict(report))

    def on_epoch(report: EpochReport) -> None:
        record(report)
        narrator.update(
            f"training: epoch {report.epoch} of {recipe.epochs}, loss {report.train_loss:.3f}, "
            f"validation top-1 {report.validation_top1:.4f}",
            report.epoch / recipe.epochs,
        )

    with threads(task.config.train_threads):
        report = fit(
            network, task.dataset, recipe, seed=entrant_seed(task.config.seed, winner.id),
            device=task.config.train_device, checkpoint=folder / "winner.pt", on_epoch=on_epoch,
            distillation=start.distillation,
        )  # fmt: skip
    narrator.done()
    for epoch in report.curve:
        record(epoch)  # a kill may have come between an epoch's checkpoint and its row
    last = report.curve[-1]
    validation = Evaluation(last.validation_top1, last.validation_loss, len(task.dataset.validation))
    test = _test_once(network, task, store)
    narrator.say(
        f"trained {recipe.epochs} epochs: test top-1 {test.top1:.4f} ± {test.standard_error:.4f} (n = {test.n})"
    )
    return Trained(network, validation, test)


def _test_once(network: Network, task: Task, store: RunStore) -> Evaluation:
    """The figure on the test images: looked at once, read from the run file ever after."""
    seen = store.events("test")
    if seen:
        return Evaluation(seen[0]["top1"], seen[0]["loss"], seen[0]["n"])
    test = evaluate_test(network, task.dataset, device=task.config.train_device)
    store.record("test", {**asdict(test), "standard_error": test.standard_error})
    return test


def deliver(
    task: Task, winner: Finalist, trained: Trained, directory: Path, store: RunStore, narrator: Silent
) -> dict[str, Any]:
    """Write every artefact and hold the exported file against the budget, by measurement.

    Returns: what is also recorded: "verdict", "sentence", "measurement", "parity", "files".
    Raises: ExportFailed, ParityFailed, MeasurementFailed.
    """
    verified: dict[str, Any] = {}

    def timed(path: Path) -> LatencyEvidence:
        model, subject = exported_model(path, task.device)
        measurement, verdict = verify(
            model, task.device, task.latency_budget_ms, narrator, task.place, protocol=task.protocol()
        )
        verified.update(
            verdict=verdict,
            budget_ms=task.latency_budget_ms,
            sentence=sentence(measurement, task.latency_budget_ms, subject=subject, reason=measurement.reason),
            measurement=measurement.to_dict(),
        )
        if task.further:
            _verify_further(task, path, verified, narrator)
        return evidence(measurement, task)

    budget = task.latency_budget_ms
    if budget is not None and not task.target.here:
        verified.update(
            verdict="predicted", budget_ms=budget, sentence=_predicted(task, winner, budget), measurement=None
        )
    report = save_pretrained(
        directory,
        trained.network,
        task=task.dataset.task,
        facts=_card_facts(task, winner, trained, candidates=sum(store.outcomes().values())),
        measure=None if verified else timed,
        batch=task.device.batch,
    )
    result = {**verified, "parity": asdict(report.parity), "files": report.size_bytes}
    store.record("verified", result)
    narrator.say(f"exported to {directory}: {', '.join(report.size_bytes)}")
    narrator.say(f"verified: {result['sentence']}")
    return result


def _verify_further(task: Task, path: Path, verified: dict[str, Any], narrator: Silent) -> None:
    """Hold the exported file against the budgets of further devices; the verdict is that of the worst."""
    found: dict[str, dict[str, Any]] = {}
    for further in task.further:
        name = further.target.text
        if not further.target.here:
            found[name] = {"verdict": "predicted", "sentence": f"{name} is not here", "measurement": None}
            continue
        model, subject = exported_model(path, further.target.device)
        measurement, verdict = verify(
            model, further.target.device, further.budget_ms, narrator, task.place, protocol=task.protocol()
        )
        told = sentence(measurement, further.budget_ms, subject=f"{subject} on {name}", reason=measurement.reason)
        found[name] = {"verdict": verdict, "sentence": told, "measurement": measurement.to_dict()}
    verdicts = [verified["verdict"], *(each["verdict"] for each in found.values())]
    worst = next(v for v in ("missed", "unclear", "predicted", "kept") if v in verdicts)
    told = "; ".join([verified["sentence"], *(str(each["sentence"]) for each in found.values())])
    verified.update(verdict=worst, sentence=told, also=found)


def _predicted(task: Task, winner: Finalist, budget_ms: float) -> str:
    return (
        f"the budget of {budget_ms:g} ms is kept by prediction only: {winner.predicted_ms:.3f} ms on {task.target}, "
        "which is not here; time model.onnx there"
    )


def _card_facts(task: Task, winner: Finalist, trained: Trained, candidates: int) -> CardFacts:
    limits = ", ".join(f"{c.metric} <= {c.at_most:g}" for c in task.config.constraints.constraints())
    search = {
        "space": task.space_name,
        "score": f"{task.config.search.score} = {winner.score:.3f}",
        "limits": limits or "none",
        "device": str(task.target),
        "candidates": candidates,
        "seed": task.config.seed,
        "candidate": winner.id,
    }
    return CardFacts(metrics={"validation": trained.validation, "test": trained.test}, search=search)


def evidence(measurement: Measurement, task: Task) -> LatencyEvidence:
    """What the model card says about a measurement."""
    conditions = measurement.conditions
    return LatencyEvidence(
        device=conditions.cpu_model,
        runtime=f"{task.device.runtime} {conditions.runtime_version}, {task.device.threads} thread(s)",
        batch=task.device.batch,
        latency_ms=measurement.latency_ms,
        low_ms=measurement.low_ms,
        high_ms=measurement.high_ms,
        verdict=measurement.verdict,
        budget_ms=task.latency_budget_ms,
    )
