"""The winner trained fully, tested once, exported, and the exported file held against the budget."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from hardware.device import Device
from hardware.measure import LayerModel, Measurement, MeasureProtocol, Model, OnnxFile, measure
from nas.export.card import CardFacts, LatencyEvidence
from nas.export.pretrained import save_pretrained
from nas.job.finalists_stage import Finalist
from nas.job.task import Task
from nas.narrator import Silent
from nas.store import RunStore
from nas.train.entrant import build_network, entrant_seed
from nas.train.evaluate import Evaluation, evaluate_test
from nas.train.finalists import threads
from nas.train.fit import EpochReport, fit
from nas.train.recipe import Recipe
from search_spaces.build import Network

Verdict = Literal["kept", "missed", "unclear", "no budget"]
TRIES = 3


@dataclass(frozen=True, slots=True)
class Trained:
    """The delivered network and what it does."""

    network: Network
    validation: Evaluation
    test: Evaluation


def train_winner(task: Task, winner: Finalist, store: RunStore, folder: Path, narrator: Silent) -> Trained:
    """Train the winner with the full recipe; goes on from its checkpoint. The test images are read here, once."""
    recipe = Recipe.from_dict(task.config.recipe)
    seed = entrant_seed(task.config.seed, winner.id)
    network = build_network(winner.arch, task.dataset, seed=seed)

    def on_epoch(report: EpochReport) -> None:
        store.record("epoch", asdict(report))
        narrator.update(
            f"training: epoch {report.epoch} of {recipe.epochs}, loss {report.train_loss:.3f}, "
            f"validation top-1 {report.validation_top1:.4f}",
            report.epoch / recipe.epochs,
        )

    with threads(task.config.train_threads):
        report = fit(
            network, task.dataset, recipe, seed=seed, device=task.config.train_device,
            checkpoint=folder / "winner.pt", on_epoch=on_epoch,
        )  # fmt: skip
    narrator.done()
    last = report.curve[-1]
    validation = Evaluation(last.validation_top1, last.validation_loss, len(task.dataset.validation))
    test = evaluate_test(network, task.dataset, device=task.config.train_device)
    store.record("test", {**asdict(test), "standard_error": test.standard_error})
    narrator.say(
        f"trained {recipe.epochs} epochs: test top-1 {test.top1:.4f} ± {test.standard_error:.4f} (n = {test.n})"
    )
    return Trained(network, validation, test)


def deliver(
    task: Task, winner: Finalist, trained: Trained, directory: Path, store: RunStore, narrator: Silent
) -> dict[str, Any]:
    """Write every artefact and hold the exported file against the budget, by measurement.

    Returns: what is also recorded: "verdict", "sentence", "measurement", "parity", "files".
    Raises: ExportFailed, ParityFailed, MeasurementFailed.
    """
    verified: dict[str, Any] = {}

    def timed(path: Path) -> LatencyEvidence:
        model: Model = OnnxFile(path, task.input_shape)
        if task.device.runtime == "torch":
            model = LayerModel.of(winner.arch, task.input_shape, task.num_classes, path.name)
        measurement, verdict = verify(model, task.device, task.latency_budget_ms, narrator)
        verified.update(
            verdict=verdict,
            budget_ms=task.latency_budget_ms,
            sentence=sentence(verdict, measurement, task.latency_budget_ms),
            measurement=measurement.to_dict(),
        )
        return evidence(measurement, task)

    report = save_pretrained(
        directory,
        trained.network,
        task=task.dataset.task,
        facts=_card_facts(task, winner, trained),
        measure=timed,
        batch=task.device.batch,
    )
    result = {**verified, "parity": asdict(report.parity), "files": report.size_bytes}
    store.record("verified", result)
    narrator.say(f"exported to {directory}: {', '.join(report.size_bytes)}")
    narrator.say(f"verified: {result['sentence']}")
    return result


def _card_facts(task: Task, winner: Finalist, trained: Trained) -> CardFacts:
    limits = ", ".join(f"{c.metric} <= {c.at_most:g}" for c in task.config.constraints.constraints())
    search = {
        "space": task.space_name,
        "score": f"{task.config.search.score} = {winner.score:.3f}",
        "limits": limits or "none",
        "device": str(task.device),
        "candidates": task.config.search.evaluations,
        "seed": task.config.seed,
        "candidate": winner.id,
    }
    return CardFacts(metrics={"validation": trained.validation, "test": trained.test}, search=search)


def verify(model: Model, device: Device, budget_ms: float | None, narrator: Silent) -> tuple[Measurement, Verdict]:
    """Measure a model and say whether it keeps a budget.

    A measurement that cannot decide (void, or an interval across the budget) is repeated, up to three in all.
    Raises: MeasurementFailed, RuntimeRefused, NumericsMismatch.
    """
    for _ in range(TRIES):
        [measurement] = measure([model], device, MeasureProtocol(), narrator.update)
        narrator.done()
        verdict = judge(measurement, budget_ms)
        if verdict != "unclear":
            break
    return measurement, verdict


def judge(measurement: Measurement, budget_ms: float | None) -> Verdict:
    """Kept only when the whole interval is within the budget; missed when the whole interval is beyond."""
    if budget_ms is None:
        return "no budget"
    if measurement.verdict == "void":
        return "unclear"
    if measurement.high_ms <= budget_ms:
        return "kept"
    return "missed" if measurement.low_ms > budget_ms else "unclear"


def sentence(verdict: Verdict, measurement: Measurement, budget_ms: float | None) -> str:
    """The verdict for a person."""
    figure = f"{measurement.latency_ms:.3f} ms [{measurement.low_ms:.3f}, {measurement.high_ms:.3f}]"
    if verdict == "no budget":
        return f"the exported file takes {figure}; there was no latency budget"
    if verdict == "kept":
        return f"the budget of {budget_ms:g} ms is kept: the exported file takes {figure}"
    if verdict == "missed":
        return f"the budget of {budget_ms:g} ms is missed: the exported file takes {figure}"
    why = f" ({measurement.reason})" if measurement.reason else ""
    return f"the budget of {budget_ms:g} ms is not proven to be kept: the exported file takes {figure}{why}"


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
