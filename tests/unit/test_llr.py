"""LLR-NAS: replacements, the ridge, the exact choice, and a whole small run on real digits with its resumption."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hardware.analytic_devices import analytic_device
from hardware.analytic_latency import AnalyticLatency
from nas.export.pretrained import from_pretrained
from nas.llr.choices import Choice, StageChoices, arch_of, choices_of, default_master, replacements
from nas.llr.distill import FrozenMaster, Stage
from nas.llr.knapsack import NothingFeasible, Option, best_combinations
from nas.llr.regression import StageModel, TooFewReplacements, fit_stages
from nas.llr.run import STATE, RunMismatch, Settings, choose, predicted_change, run_llr
from nas.train.data import load_dataset
from nas.train.entrant import build_network
from nas.train.evaluate import Normaliser, evaluate, to_tensors
from nas.train.fit import fit
from nas.train.recipe import Recipe
from search_spaces.genet import GENET_TINY
from search_spaces.space import Stage as SpaceStage
from search_spaces.space import StageSpace, Variant

CONV = (Variant("conv"),)
KINDS = (Variant("genet_xx"), Variant("genet_bl", 0.5), Variant("genet_dw", 2.0))
SMALL = StageSpace(
    "small",
    (
        SpaceStage(CONV, (8, 16)),
        SpaceStage(KINDS, (8, 12, 16), (3, 5), 1, (1, 2)),
        SpaceStage(KINDS, (16, 24), (3,), 2, (1, 2)),
        SpaceStage(CONV, (32,), (1,)),
    ),
)
CHOICES = StageChoices(SMALL, default_master(SMALL))
T4 = analytic_device("t4", "fp16")
LATENCY = AnalyticLatency(T4, (1, 8, 8), 10, upper_factor=1.2)
DEEP = StageChoices(
    SMALL, tuple(c._replace(depth=max(s.depths)) for s, c in zip(SMALL.stages, CHOICES.master, strict=True))
)


def test_choices_and_architectures_are_each_other():
    arch = GENET_TINY.sample(np.random.default_rng(0))
    assert arch_of(GENET_TINY, choices_of(GENET_TINY, arch)) == arch
    assert CHOICES.free() == [1, 2]
    assert CHOICES.options(0) == [CHOICES.master[0]]
    assert len(CHOICES.options(1)) == 3 * 3 * 2 * 2
    assert CHOICES.features(1, CHOICES.master[1]) == [0] * 5
    assert CHOICES.features(1, Choice(2, 16, 5, 2)) == [1, 1, pytest.approx(np.log2(5 / 3)), 0, 1]


def test_each_stage_has_a_control_and_different_changes_of_every_field():
    tried = replacements(CHOICES, 9, np.random.default_rng(0))
    for stage in CHOICES.free():
        own = CHOICES.master[stage]
        found = [choice for at, choice in tried if at == stage]
        assert found[0] == own
        assert len(set(found)) == len(found)
        assert 8 <= len(found) <= 10
        singles = [c for c in found[1:] if sum(a != b for a, b in zip(c, own, strict=True)) == 1]
        choosable = [i for i, column in enumerate(zip(*CHOICES.options(stage), strict=True)) if len(set(column)) > 1]
        assert {next(i for i in range(4) if c[i] != own[i]) for c in singles} == set(choosable)


def test_the_ridge_finds_a_linear_effect_and_knows_its_error():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 5))
    true = np.array([-0.3, 0.1, 0.0, 0.2, -0.1])
    model = StageModel.fit(features, features @ true + 0.02 * rng.normal(size=40))
    assert model.coefficients == pytest.approx(true, abs=0.03)
    assert 0.01 < model.cross_validated < 0.04
    assert model.spearman > 0.95
    new = rng.normal(size=(500, 5))
    predicted, deviation = model.predict(new)
    z = (predicted - new @ true) / deviation
    assert 0.2 < np.std(z) < 2
    nothing = StageModel.fit(features, rng.normal(size=40))
    assert nothing.spearman < 0.5
    assert nothing.cross_validated > 0.5


def test_the_left_out_error_is_that_of_refitting_without_the_row():
    rng = np.random.default_rng(1)
    features, change = rng.normal(size=(12, 4)), rng.normal(size=12)
    model = StageModel.fit(features, change)
    errors = []
    for i in range(12):
        rest = np.delete(np.arange(12), i)
        x, y = features[rest], change[rest]
        ridge = np.linalg.solve(x.T @ x + model.penalty * np.eye(4), x.T @ y)
        errors.append(abs(change[i] - features[i] @ ridge))
    assert model.cross_validated == pytest.approx(np.mean(errors))


def test_a_stage_that_was_tried_too_rarely_is_refused():
    own = CHOICES.master[1]
    with pytest.raises(TooFewReplacements, match="stage 1 has 1 replacements beside its control, expected 4"):
        fit_stages(CHOICES, [(1, own), (1, own._replace(depth=2))], [0.5, 0.4])


@pytest.mark.parametrize("seed", range(8))
def test_the_choice_is_the_best_of_all_combinations(seed):
    rng = np.random.default_rng(seed)
    widths = (8, 16)
    table = {
        (stage, before): [
            Option(Choice(k, w, 3, 1), float(rng.uniform(0.1, 1) * (before + w)), float(rng.normal()))
            for k in range(3)
            for w in widths
        ]
        for stage in range(4)
        for before in ((3,) if stage == 0 else widths)
    }
    found = {}
    for chain in itertools.product(range(6), repeat=4):
        before, total, change = 3, 2.0, 0.0
        for stage, index in enumerate(chain):
            option = table[stage, before][index]
            before, total, change = option.choice.channels, total + option.latency_ms, change + option.change
        found[chain] = (total, change)
    for budget in (25.0, 40.0, 70.0):
        feasible = [change for total, change in found.values() if total <= budget]
        if not feasible:
            with pytest.raises(NothingFeasible, match="the least that the stages reach is"):
                best_combinations(4, lambda s, w: table[s, w], budget, first_width=3, rest_ms=2.0)
            continue
        front = best_combinations(4, lambda s, w: table[s, w], budget, first_width=3, rest_ms=2.0)
        assert front[0].change == pytest.approx(min(feasible))
        assert front[0].latency_ms <= budget
        for each in front:  # nothing is faster and better
            assert not any(t < each.latency_ms - 1e-9 and c < each.change - 1e-9 for t, c in found.values())


def models_of(coefficients):
    model = StageModel(np.array(coefficients), 0.01 * np.eye(5), 0.1, 1.0, 0.05, 0.9, 10)
    return {stage: model for stage in CHOICES.free()}


def test_more_latency_never_gives_a_worse_choice_and_every_choice_keeps_its_budget():
    models = models_of([-0.2, -0.1, -0.05, 0.1, 0.05])
    changes = []
    for budget_ms in (0.25, 0.3, 0.4, 0.6, 2.0):
        chosen = choose(CHOICES, models, LATENCY, budget_ms)
        arch = arch_of(SMALL, chosen.choices)
        assert LATENCY.estimate(arch).upper_ms <= budget_ms
        assert LATENCY.estimate(arch).mean_ms == pytest.approx(chosen.latency_ms, rel=1e-6)
        changes.append(chosen.change)
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > changes[-1]
    with pytest.raises(NothingFeasible, match=r"no combination keeps 0\.01 ms"):
        choose(CHOICES, models, LATENCY, 0.01)


def test_caution_keeps_the_choice_near_the_master():
    models = models_of([-0.2, -0.1, -0.05, 0.1, 0.05])
    far, near = (choose(CHOICES, models, LATENCY, 2.0, caution).choices for caution in (0.0, 30.0))
    assert near == CHOICES.master  # nothing gains 30 standard deviations
    assert far != near
    mean, deviation = predicted_change(CHOICES, models, far)
    features = np.array([CHOICES.features(stage, far[stage]) for stage in (1, 2)])
    assert mean == pytest.approx(float((features @ models[1].coefficients).sum()))
    assert deviation == pytest.approx(0.1 * np.sqrt((features**2).sum()))


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def master(digits):
    network = build_network(CHOICES.arch(), digits, seed=0)
    fit(network, digits, Recipe(epochs=4), seed=0)
    return network


def test_the_master_in_parts_is_the_master(master, digits):
    frozen = FrozenMaster.of(master, digits, 300)
    expected = evaluate(master, *to_tensors(digits.validation), normalise=Normaliser(digits))
    found = frozen.own_effect()
    assert found.loss == pytest.approx(expected.loss, rel=1e-4)
    assert found.top1 == pytest.approx(expected.top1)
    assert len(frozen.train_images) == 300


def test_a_variant_learns_to_stand_in_and_leaves_the_master_alone(master, digits):
    before = {name: value.clone() for name, value in master.state_dict().items()}
    frozen = FrozenMaster.of(master, digits, 600)
    stage = Stage(frozen, 1)
    wide = CHOICES.arch({1: Choice(1, 16, 3, 1)}).blocks[1]
    untrained, trained = (stage.try_variant(wide, steps=steps, seed=3) for steps in (1, 60))
    assert trained.distance < 0.6 * untrained.distance
    assert trained.loss < untrained.loss
    assert stage.try_variant(wide, steps=5, seed=3) == stage.try_variant(wide, steps=5, seed=3)
    assert all(torch.equal(value, before[name]) for name, value in master.state_dict().items())


@pytest.fixture(scope="module")
def finished(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("llr")
    budget_ms = 0.8 * LATENCY.estimate(DEEP.arch()).upper_ms
    settings = Settings(budget_ms, per_stage=5, steps=8, most_images=300, master_epochs=3, epochs=6)
    return folder, settings, run_llr(folder, digits, DEEP, LATENCY, settings, device="t4")


def test_a_whole_run_ends_with_a_trained_network_within_the_budget(finished, digits):
    folder, settings, result = finished
    network = from_pretrained(folder / "network")
    assert network.arch.digest == result["digest"]
    assert LATENCY.estimate(network.arch).upper_ms <= settings.budget_ms
    assert result["latency_upper_ms"] <= settings.budget_ms
    assert result["test_top1"] > 0.5
    assert set(result["regression"]) == {"1", "2"}
    assert result["predicted_deviation"] > 0
    json.dumps(result, allow_nan=False)


def test_a_killed_run_goes_on_and_ends_equal(finished, digits, tmp_path):
    folder, settings, result = finished
    state = json.loads((folder / STATE).read_text())
    (tmp_path / STATE).write_text(json.dumps({**state, "tried": state["tried"][:3], "result": None}))
    again = run_llr(tmp_path, digits, DEEP, LATENCY, settings, device="t4")
    assert again == result
    assert json.loads((tmp_path / STATE).read_text())["tried"] == state["tried"]


def test_a_folder_of_another_run_or_a_damaged_one_is_refused(finished, digits, tmp_path):
    folder, settings, _ = finished
    with pytest.raises(RunMismatch, match=r"budget_ms was .*, now 0\.5"):
        run_llr(folder, digits, DEEP, LATENCY, replace(settings, budget_ms=0.5), device="t4")
    (tmp_path / STATE).write_text("{")
    with pytest.raises(RunMismatch, match="cannot be read"):
        run_llr(tmp_path, digits, DEEP, LATENCY, settings, device="t4")
