"""Scores of subnets, the measurement of effects, designs under budgets: against plain networks and known truths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.exact.program import NothingFeasible
from nas.gates import Gates
from nas.one_shot.choice_rows import choices_of, part_rows
from nas.one_shot.designer import Designer
from nas.one_shot.effects_json import UnreadableEffects, effects_from_dict, effects_to_dict
from nas.one_shot.measurement import Paths, families_of, measure_effects
from nas.one_shot.pool import ScorePool
from nas.one_shot.refit import refit
from nas.one_shot.scores import ScoringSettings, SubnetScorer
from nas.one_shot.structure import ElasticStructure, NoStages, structure_of
from nas.records import Constraint
from nas.train.data import Dataset, load_dataset
from nas.train.evaluate import Normaliser, evaluate, to_tensors
from nas.train.images import Split
from nas.train.recalibration import recalibrate_
from nas.train.supernet.file import save_supernet
from nas.train.supernet.judge import SubnetScore
from nas.train.supernet.recipe import SupernetRecipe
from predictors.models.bilinear_effects import BilinearEstimator
from predictors.models.bilinear_structure import measurement_plan
from search_spaces import SPACES
from search_spaces.arch import Architecture
from search_spaces.mobilenet import MobileNetSpace
from search_spaces.space import GridSpace
from search_spaces.supernet import Supernet

SETTINGS = ScoringSettings(images=64, calibration=64)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def tiny() -> MobileNetSpace:
    space = SPACES["mobilenetv3-tiny-images"]
    assert isinstance(space, MobileNetSpace)
    return space


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    return Supernet(tiny(), num_classes=10, in_channels=1, seed=1)


@pytest.fixture(scope="module")
def folder(supernet, digits, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("supernet")
    save_supernet(
        path, supernet, SupernetRecipe(), digits.task, space="mobilenetv3-tiny-images", data="digits", seed=1, curve=()
    )
    return path


def sample(count: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [tiny().sample(rng) for _ in range(count)]


@pytest.mark.parametrize("name", ["mobilenetv3-tiny-images", "mobilenetv3-ofa", "resnet20-channels", "vit-tiny"])
def test_architectures_and_arrays_are_the_same(name: str) -> None:
    space = SPACES[name]
    assert isinstance(space, GridSpace)
    view, rng = structure_of(space), np.random.default_rng(3)
    archs = [space.sample(rng) for _ in range(30)]
    depths, configs = view.arrays(archs)
    assert view.architectures(depths, configs) == archs
    assert view.elastic == name.startswith("mobilenet")
    for s, stage in enumerate(view.structure.stages):
        for b, count in enumerate(stage.configs):
            assert len(set(view.config_names(s, b))) == count


def test_the_published_space_has_the_published_plan() -> None:
    space = SPACES["mobilenetv3-binas"]
    assert isinstance(space, MobileNetSpace)
    structure = ElasticStructure(space).structure
    assert (structure.alpha_starts[-1], structure.beta_starts[-1]) == (240, 15)
    assert len(measurement_plan(structure)) == 256
    assert sum(len(family) for family in families_of(structure)) == 255


def test_spaces_without_choices_are_refused() -> None:
    with pytest.raises(NoStages, match="--score predictor"):
        structure_of(SPACES["zen-tiny"])


def test_a_score_is_that_of_the_extracted_and_recalibrated_network(supernet: Supernet, digits: Dataset) -> None:
    scorer = SubnetScorer(supernet, digits, ScoringSettings(calibration=64))
    rng = np.random.default_rng((1, 0x1A6))
    chosen = np.sort(rng.permutation(len(digits.train))[:64])
    images = to_tensors(Split(digits.train.images[chosen], digits.train.labels[chosen]))[0]
    for arch in sample(2):
        network = supernet.extract(arch)
        recalibrate_(network, [Normaliser(digits)(images)])
        wanted = evaluate(network, *to_tensors(digits.validation), normalise=Normaliser(digits))
        score = scorer.score(arch)
        assert score.loss == pytest.approx(wanted.loss, abs=1e-6)
        assert score.top1 == wanted.top1
        assert score.n == len(digits.validation)
        assert scorer.per_image_losses(arch).mean() == pytest.approx(score.loss)
    stored = SubnetScorer(supernet, digits, ScoringSettings(norms="stored")).score(sample(1)[0])
    assert stored.loss != scorer.score(sample(1)[0]).loss


def test_scores_are_remembered_but_not_those_of_other_weights(folder: Path, tmp_path: Path) -> None:
    file, archs = tmp_path / "scores.jsonl", sample(3)
    with ScorePool(folder, "digits", SETTINGS, file=file) as pool:
        first = pool.scores(archs)
    file.write_text(file.read_text() + '{"of": "cut sho')
    with ScorePool(folder, "digits", SETTINGS, file=file) as pool:
        assert pool.scores(archs) == first
        assert pool.computed == 0
    with ScorePool(folder, "digits", ScoringSettings(images=32, calibration=64), file=file) as pool:
        assert pool.scores(archs) != first
        assert pool.computed == 3


class KnownEffects:
    """Scores by an additive truth over choices, with an interaction that no sum has."""

    def __init__(self, view: ElasticStructure, interaction: float = 0.0) -> None:
        rng, structure = np.random.default_rng(5), view.structure
        self.view, self.interaction, self.asked = view, interaction, 0
        betas, alphas = structure.beta_starts[-1], structure.alpha_starts[-1]
        unknown = np.full(alphas, np.nan)
        self.truth = BilinearEstimator(
            structure, -0.5, np.nan, rng.normal(0, 0.05, betas), unknown[:betas], rng.normal(0, 0.02, alphas), unknown
        )

    def scores(self, archs: Sequence[Architecture]) -> list[SubnetScore]:
        self.asked += len(archs)
        depths, configs = self.view.arrays(archs)
        labels = self.truth.predict(depths, configs) + self.interaction * np.sin(configs.sum(axis=1) + 3 * depths[:, 0])
        return [SubnetScore(a.digest, -float(y), 0.0, 0.5, 1) for a, y in zip(archs, labels, strict=True)]


def test_measured_effects_rank_like_an_additive_truth_and_count_no_depth_twice() -> None:
    view = ElasticStructure(tiny())
    oracle = KnownEffects(view)
    found = measure_effects(view, oracle, Paths(6, seed=0, shrink=False))
    depths, configs = view.structure.sample(300, np.random.default_rng(9))
    wanted = oracle.truth.predict(depths, configs)
    error = found.estimator.predict(depths, configs) - wanted
    assert error.std() < 0.25 * wanted.std()
    for s, stage in enumerate(view.structure.stages):
        for b, count in enumerate(stage.configs):
            at = view.structure.alpha_starts[view.structure.blocks.index((s, b))]
            true = oracle.truth.configs[at : at + count]
            np.testing.assert_allclose(found.estimator.configs[at : at + count], true - true.mean(), atol=1e-9)


@pytest.mark.slow
def test_standard_errors_cover_the_effects() -> None:
    view = ElasticStructure(tiny())
    oracle = KnownEffects(view, interaction=0.02)
    found = measure_effects(view, oracle, Paths(24, seed=1, shrink=False)).estimator
    many = measure_effects(view, oracle, Paths(150, seed=2, shrink=False)).estimator
    off = np.abs(found.configs - many.configs) / np.hypot(found.config_errors, many.config_errors)
    assert np.mean(off < 2) > 0.88
    shrunk = measure_effects(view, oracle, Paths(24, seed=1)).estimator
    assert np.abs(shrunk.configs).sum() < np.abs(found.configs).sum()


def test_whole_networks_correct_the_effects_when_that_helps() -> None:
    view = ElasticStructure(tiny())
    oracle = KnownEffects(view)
    measured = measure_effects(view, oracle, Paths(4, seed=0)).estimator
    wrong = BilinearEstimator(
        measured.structure, measured.base, 0.0, measured.depths * 0, measured.depth_errors, measured.configs,
        measured.config_errors,
    )  # fmt: skip
    depths, configs = view.structure.sample(120, np.random.default_rng(2))
    labels = oracle.truth.predict(depths, configs)
    found = refit(wrong, depths, configs, labels, seed=0)
    assert found.corrected
    assert found.corrected_quality is not None
    assert found.corrected_quality.rmse < 0.7 * found.measured_quality.rmse
    assert not refit(wrong, depths[:8], configs[:8], labels[:8], seed=0).corrected


def test_designs_keep_every_budget_and_say_what_is_certain() -> None:
    view = ElasticStructure(tiny())
    estimator = KnownEffects(view).truth
    gates = Gates((1, 8, 8), 10, (Constraint("macs", 1.2e6), Constraint("params", 1.5e5)))
    designer = Designer(view, gates, seed=0)
    assert not designer.fits
    designs = designer.best(estimator, count=5, distance=2)
    assert designs[0].proven
    assert len({design.arch for design in designs}) == 5
    assert all(gates(d.arch)["macs"] <= 1.2e6 and gates(d.arch)["params"] <= 1.5e5 for d in designs)
    depths, configs = view.structure.sample(3_000, np.random.default_rng(0))
    random = [
        value
        for value, arch in zip(estimator.predict(depths, configs), view.architectures(depths, configs), strict=True)
        if not gates.violations(gates(arch))
    ]
    assert designs[0].expected >= max(random)
    assert designer.best(estimator, avoid=[designs[0].arch])[0].expected <= designs[0].expected
    with pytest.raises(NothingFeasible, match=r"params of at most 100 \(the least is"):
        Designer(view, Gates((1, 8, 8), 10, (Constraint("params", 100.0),)), seed=0).best(estimator)


@pytest.mark.parametrize("metric", ["peak_memory_bytes", "convs"])
def test_budgets_on_costs_that_are_no_sum_are_kept_too(metric: str) -> None:
    view = ElasticStructure(tiny())
    estimator = KnownEffects(view).truth
    free = Gates((1, 8, 8), 10, ())
    costs = sorted(free(arch)[metric] for arch in sample(200))
    gates = Gates((1, 8, 8), 10, (Constraint(metric, costs[20]),))
    designs = Designer(view, gates, seed=0).best(estimator, count=3, distance=2)
    assert len(designs) == 3
    assert all(gates(design.arch)[metric] <= costs[20] for design in designs)
    best = max(
        float(estimator.predict(*view.arrays([arch]))[0])
        for arch in sample(1_000, seed=7)
        if free(arch)[metric] <= costs[20]
    )
    assert designs[0].expected >= best
    assert designs[0].bound >= designs[0].objective


def test_contributions_of_a_network_sum_to_its_prediction_and_cost() -> None:
    view = ElasticStructure(tiny())
    estimator = KnownEffects(view).truth
    gates = Gates((1, 8, 8), 10, (Constraint("macs", np.inf),))
    designer, arch = Designer(view, gates, seed=0), sample(1, seed=4)[0]
    rows = choices_of(view, estimator, arch, designer.resources)
    expected = float(estimator.predict(*view.arrays([arch]))[0])
    assert estimator.base + sum(row.effect for row in rows) == pytest.approx(expected)
    fixed = designer.resources[0].fixed
    assert fixed + sum(row.costs["macs"] for row in rows) == pytest.approx(gates(arch)["macs"])
    every = part_rows(view, estimator, designer.resources)
    assert {(row.stage, row.part) for row in every} == {
        (f"stage {s}", part) for s in (1, 2, 3) for part in ("depth", "kernel", "expansion", "se")
    }
    for stage, part in {(row.stage, row.part) for row in every}:
        assert sum(row.effect for row in every if (row.stage, row.part) == (stage, part)) == pytest.approx(0, abs=1e-9)


def test_effects_travel_as_json() -> None:
    estimator = KnownEffects(ElasticStructure(tiny())).truth
    again = effects_from_dict(json.loads(json.dumps(effects_to_dict(estimator))))
    np.testing.assert_array_equal(again.configs, estimator.configs)
    assert np.isnan(again.config_errors).all()
    with pytest.raises(UnreadableEffects, match="cannot be read"):
        effects_from_dict({"stages": []})
