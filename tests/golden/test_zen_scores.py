"""Zen-Scores of published and toy networks: closed form and Monte Carlo against the authors' code."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev, stdev

import pytest
import torch

from nas.objective import Objective
from predictors.proxies import zen_score, zen_score_of_layers
from predictors.proxies.zen_monte_carlo import COMPAT, DEFAULT, zen_score_monte_carlo
from search_spaces.expand import expand
from search_spaces.plainnet import read_structure

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "zen_scores.json").read_text())
STRUCTURES = {
    network["name"]: network["structure"]
    for network in json.loads((HERE / "published_networks.json").read_text())["networks"]
}
SHAPE = (3, GOLDEN["resolution"], GOLDEN["resolution"])
SLOW = {"zennet_cifar_2M", "zennet_flops600M", "zennet_flops900M", "zennet_lat01ms", "zennet_lat02ms"}


def _arch(name):
    return read_structure(STRUCTURES[name])[0]


@pytest.mark.parametrize("row", GOLDEN["scores"], ids=lambda row: row["name"])
def test_closed_form(row):
    arch = _arch(row["name"])
    assert zen_score(arch, SHAPE, momentum=0.1) == pytest.approx(row["analytic"], abs=1e-3)
    assert zen_score(arch, SHAPE) == pytest.approx(row["analytic_true_variance"], abs=1e-3)
    assert zen_score_of_layers(expand(arch, SHAPE, 10), momentum=0.1) == pytest.approx(row["analytic"], abs=1e-3)


def test_closed_form_of_the_mean_over_repeats():
    repeats = GOLDEN["repeats"]
    score = zen_score(_arch("zennet_cifar_1M"), SHAPE, momentum=0.1, repeat=8)
    assert score == pytest.approx(repeats["analytic_mean"], abs=1e-3)
    assert score == pytest.approx(repeats["authors_mean"], rel=0.03)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row["name"], marks=[pytest.mark.slow] if row["name"] in SLOW else [])
        for row in GOLDEN["scores"]
        if "authors" in row
    ],
)
def test_monte_carlo_is_the_authors_within_three_standard_errors(row):
    authors = row["authors"]
    sampled = [
        zen_score_monte_carlo(_arch(row["name"]), SHAPE, COMPAT, generator=torch.Generator().manual_seed(seed)).mean
        for seed in range(len(authors))
    ]
    error = ((stdev(authors) ** 2 + stdev(sampled) ** 2) / len(authors)) ** 0.5
    assert abs(fmean(sampled) - fmean(authors)) < 3 * error


def test_the_score_called_zen_compat_is_the_authors_within_three_standard_errors():
    authors = next(row for row in GOLDEN["scores"] if row["name"] == "zennet_cifar_05M")["authors"]
    scorer = Objective("zen-compat", SHAPE).scorer()
    sampled = [scorer(_arch("zennet_cifar_05M"), seed) for seed in range(len(authors))]
    error = ((stdev(authors) ** 2 + stdev(sampled) ** 2) / len(authors)) ** 0.5
    assert abs(fmean(sampled) - fmean(authors)) < 3 * error


@pytest.mark.parametrize("name", ["zennet_cifar_05M", "zennet_cifar_1M"])
def test_the_default_batch_is_within_one_standard_deviation_of_the_authors(name):
    authors = next(row for row in GOLDEN["scores"] if row["name"] == name)["authors"]
    sampling = replace(DEFAULT, momentum=0.1)
    sampled = [
        zen_score_monte_carlo(_arch(name), SHAPE, sampling, generator=torch.Generator().manual_seed(seed)).mean
        for seed in range(8)
    ]
    assert abs(fmean(sampled) - fmean(authors)) < stdev(authors)


@pytest.mark.slow
def test_repeats_drift_as_the_authors_do():
    repeats = GOLDEN["repeats"]
    sampling = replace(COMPAT, repeat=8)
    estimate = zen_score_monte_carlo(
        _arch("zennet_cifar_1M"), SHAPE, sampling, generator=torch.Generator().manual_seed(0)
    )
    assert estimate.mean == pytest.approx(repeats["authors_mean"], abs=2)
    assert pstdev(estimate.values) == pytest.approx(repeats["authors_std"], abs=1)
    assert estimate.values[0] < estimate.values[-1] - 40
