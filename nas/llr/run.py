"""The whole of LLR-NAS as one resumable run in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hardware.lookup import Estimate
from nas.export.card import CardFacts
from nas.export.pretrained import save_pretrained
from nas.llr.choices import Choice, StageChoices, arch_of, replacements
from nas.llr.distill import Effect, FrozenMaster, Stage
from nas.llr.knapsack import Combination, NothingFeasible, Option, Options, best_combinations
from nas.llr.regression import StageModel, fit_stages
from nas.narrator import Silent
from nas.train.entrant import build_network
from nas.train.evaluate import Evaluation, evaluate_test
from nas.train.fit import fit
from nas.train.images import Dataset
from nas.train.recipe import Recipe
from search_spaces.arch import Architecture
from search_spaces.build import Network

STATE = "llr.json"
NETWORK = "network"
SCHEMA_VERSION = 1
ROUNDS = 8  # in which the budget of the sum shrinks until the whole estimate keeps the real one


class RunMismatch(ValueError):
    """The folder holds a run of other settings; the message says which."""


class BlockLatency(Protocol):
    """A latency model that also says what each block takes."""

    def estimate(self, arch: Architecture) -> Estimate:
        """Of the whole network."""
        ...

    def blocks_ms(self, arch: Architecture) -> tuple[float, ...]:
        """Of each block."""
        ...


@dataclass(frozen=True)
class Settings:
    """Everything that the result depends on beside data, space and device.

    Attributes:
        budget_ms: for the upper bound of the latency of the whole network.
        per_stage: replacements tried in each stage, beside its control.
        steps: of training a variant.
        most_images: training images used for distillation.
        master_epochs, epochs: of training the master and the chosen network.
        caution: standard deviations added to a predicted change of loss: a choice far from the master is unsure.
        seed: of everything random.
    """

    budget_ms: float
    per_stage: int = 10
    steps: int = 80
    most_images: int = 2_000
    master_epochs: int = 15
    epochs: int = 20
    caution: float = 1.0
    seed: int = 0


@dataclass
class State:
    """What the run knows so far; written after every replacement.

    Attributes:
        identity: settings, data, space and device, as text.
        tried: (stage, choice, effect) of every replacement.
        result: of the finished run.
    """

    identity: dict[str, Any]
    tried: list[tuple[int, Choice, Effect]] = field(default_factory=list)
    result: dict[str, Any] | None = None

    def save(self, folder: Path) -> None:
        """Write whole or not at all."""
        content = {"version": SCHEMA_VERSION, **asdict(self)}
        draft = folder / f".{STATE}.part"
        draft.write_text(json.dumps(content))
        os.replace(draft, folder / STATE)

    @classmethod
    def open(cls, folder: Path, identity: dict[str, Any]) -> State:
        """The folder's state, or a new one. Raises RunMismatch."""
        path = folder / STATE
        if not path.exists():
            return cls(identity)
        try:
            data = json.loads(path.read_text())
            tried = [(stage, Choice(*choice), Effect(*effect)) for stage, choice, effect in data["tried"]]
            known = data["identity"]
        except (ValueError, KeyError, TypeError) as error:
            raise RunMismatch(f"{path}: cannot be read ({error}); remove it, or choose another folder") from None
        changed = [
            f"{key} was {known.get(key)}, now {value}" for key, value in identity.items() if known.get(key) != value
        ]
        if changed:
            raise RunMismatch(f"{path}: {'; '.join(changed)}; go on with the same settings, or choose another folder")
        return cls(known, tried, data["result"])


def run_llr(  # noqa: PLR0913 - the facts of a run
    folder: Path,
    dataset: Dataset,
    choices: StageChoices,
    latency: BlockLatency,
    settings: Settings,
    *,
    device: str,
    narrator: Silent | None = None,
) -> dict[str, Any]:
    """Train a master, try replacements, fit, choose exactly, train and export; a killed run goes on where it was.

    Args:
        folder: of the run: its state, checkpoints and the exported network.
        dataset: images; the test split is looked at once, at the end.
        choices: the master in its space.
        latency: of the device.
        settings: all others.
        device: its name, for the identity of the run.
        narrator: told what goes on.
    Returns: master, regression, chosen network with its predicted and validated loss and latency, and test accuracy.
    Raises: NothingFeasible, TooFewReplacements, RunMismatch, TrainingDiverged.
    """
    teller = narrator or Silent()
    folder.mkdir(parents=True, exist_ok=True)
    identity = {**asdict(settings), "data": dataset.name, "space": choices.space.name, "device": device}
    state = State.open(folder, json.loads(json.dumps({**identity, "master": choices.arch().digest})))
    if state.result is not None:
        return state.result
    master = _trained(folder / "master.pt", choices.arch(), dataset, settings.master_epochs, settings.seed, teller)
    frozen = FrozenMaster.of(master, dataset, settings.most_images)
    _try_all(state, folder, frozen, choices, settings, teller)
    models = fit_stages(
        choices, [(stage, choice) for stage, choice, _ in state.tried], [e.loss for *_, e in state.tried]
    )
    chosen = choose(choices, models, latency, settings.budget_ms, settings.caution)
    change, deviation = predicted_change(choices, models, chosen.choices)
    teller.say(f"chosen: change of loss {change:+.4f} +- {deviation:.4f}, {chosen.latency_ms:.4g} ms by blocks")
    arch = arch_of(choices.space, chosen.choices)
    network = _trained(folder / "chosen.pt", arch, dataset, settings.epochs, settings.seed + 1, teller)
    test = evaluate_test(network, dataset)
    facts = CardFacts(metrics={"test": test}, search={"method": "LLR-NAS", **identity})
    save_pretrained(folder / NETWORK, network, task=dataset.task, facts=facts)
    state.result = _result(choices, chosen, models, latency, frozen.own_effect(), test)
    state.save(folder)
    return state.result


def _try_all(
    state: State,
    folder: Path,
    frozen: FrozenMaster,
    choices: StageChoices,
    settings: Settings,
    teller: Silent,
) -> None:
    """Try every replacement that the state does not hold yet."""
    wanted = replacements(choices, settings.per_stage, np.random.default_rng(settings.seed))
    stage: Stage | None = None
    for i, (at, choice) in enumerate(wanted):
        if i < len(state.tried):
            continue
        if stage is None or stage.at != at:
            stage = Stage(frozen, at)
        block = choices.arch({at: choice}).blocks[at]
        effect = stage.try_variant(block, steps=settings.steps, seed=settings.seed + i)
        state.tried.append((at, choice, effect))
        state.save(folder)
        teller.update(f"stage {at}, {block.kind} {block.channels}: loss {effect.loss:.4f}", (i + 1) / len(wanted))


def choose(
    choices: StageChoices,
    models: Mapping[int, StageModel],
    latency: BlockLatency,
    budget_ms: float,
    caution: float = 0.0,
) -> Combination:
    """The combination with the least predicted loss whose estimated upper bound keeps the budget.

    The knapsack sums block terms of the mean. Where the whole network's upper bound then exceeds the budget, the
    budget of the sum shrinks by as much and the choice is made again.

    Args:
        choices: the master in its space.
        models: of the change of loss, by stage.
        latency: of the device.
        budget_ms: for the upper bound.
        caution: standard deviations added to every predicted change.
    Raises: NothingFeasible.
    """
    options, rest_ms = block_options(choices, models, latency, caution)
    in_channels, allowed = 0, budget_ms
    for _ in range(ROUNDS):
        stages = len(choices.master)
        best = best_combinations(stages, options, allowed, first_width=in_channels, rest_ms=rest_ms)[0]
        upper_ms = latency.estimate(arch_of(choices.space, best.choices)).upper_ms
        if upper_ms <= budget_ms:
            return best
        allowed = min(allowed, best.latency_ms) * max(0.5, min(0.995, budget_ms / upper_ms))
    raise NothingFeasible(f"llr: no choice found whose upper bound keeps {budget_ms:.4g} ms; give it more latency")


def predicted_change(
    choices: StageChoices, models: Mapping[int, StageModel], chosen: Sequence[Choice]
) -> tuple[float, float]:
    """Expected change of the master's loss and its standard deviation, the stages independent."""
    means, variances = [], []
    for stage, model in models.items():
        mean, deviation = model.predict(np.array([choices.features(stage, chosen[stage])]))
        means.append(float(mean[0]))
        variances.append(float(deviation[0]) ** 2)
    return sum(means), sum(variances) ** 0.5


def block_options(
    choices: StageChoices, models: Mapping[int, StageModel], latency: BlockLatency, caution: float
) -> tuple[Options, float]:
    """The options of a stage after a width, cached; and the milliseconds of what is no block."""
    whole = choices.arch()
    rest_ms = latency.estimate(whole).mean_ms - sum(latency.blocks_ms(whole))
    changes: dict[int, dict[Choice, float]] = {}
    for stage in range(len(choices.master)):
        every = choices.options(stage)
        change = np.zeros(len(every))
        if stage in models:
            mean, deviation = models[stage].predict(np.array([choices.features(stage, choice) for choice in every]))
            change = mean + caution * deviation
        changes[stage] = dict(zip(every, change.tolist(), strict=True))
    cache: dict[tuple[int, int], list[Option]] = {}

    def options(stage: int, width: int) -> list[Option]:
        if (stage, width) not in cache:
            before = {} if stage == 0 else {stage - 1: choices.master[stage - 1]._replace(channels=width)}
            cache[stage, width] = [
                Option(choice, latency.blocks_ms(choices.arch({**before, stage: choice}))[stage], change)
                for choice, change in changes[stage].items()
            ]
        return cache[stage, width]

    return options, rest_ms


def _trained(checkpoint: Path, arch: Architecture, dataset: Dataset, epochs: int, seed: int, teller: Silent) -> Network:
    """The architecture trained on the data; from its checkpoint where there is one."""
    network = build_network(arch, dataset, seed=seed)

    def tell(report: Any) -> None:
        teller.update(
            f"{checkpoint.stem}: epoch {report.epoch}, top-1 {report.validation_top1:.4f}", report.epoch / epochs
        )

    fit(network, dataset, Recipe(epochs=epochs), seed=seed, checkpoint=checkpoint, on_epoch=tell)
    return network


def _result(
    choices: StageChoices,
    chosen: Combination,
    models: Mapping[int, StageModel],
    latency: BlockLatency,
    own: Effect,
    test: Evaluation,
) -> dict[str, Any]:
    arch = arch_of(choices.space, chosen.choices)
    estimates = {name: latency.estimate(design) for name, design in (("master", choices.arch()), ("chosen", arch))}
    change, deviation = predicted_change(choices, models, chosen.choices)
    return {
        "architecture": arch.to_dict(),
        "digest": arch.digest,
        "predicted_change": change,
        "predicted_deviation": deviation,
        "latency_ms": estimates["chosen"].mean_ms,
        "latency_upper_ms": estimates["chosen"].upper_ms,
        "test_top1": test.top1,
        "test_standard_error": test.standard_error,
        "master": {"latency_ms": estimates["master"].mean_ms, "loss": own.loss, "validation_top1": own.top1},
        "regression": {str(stage): model.to_dict() for stage, model in models.items()},
    }
