import json

import numpy as np
import pytest

from nas.config import InvalidConfig
from nas.gates import Gates
from nas.objective import CLOSED_FORM, SCORES, Objective, UnknownScore
from nas.proxies.choice import choose_networks
from nas.proxies.combine import make_ensemble
from nas.proxies.noise import noise_ceiling
from nas.proxies.rate import judge, rate
from nas.proxies.settings import TrustSettings
from nas.proxies.work import without_test
from nas.records import Constraint
from nas.run import NothingFeasible
from predictors.rank import Estimate
from predictors.rank_ensemble import RankEnsemble
from search_spaces import SPACES

SHAPE = (1, 8, 8)
N = 40
RNG = np.random.default_rng(0)
TOP1 = list(0.5 + 0.3 * np.linspace(0, 1, N))
NOISY = list(np.linspace(0, 1, N) + RNG.normal(size=N))
COUNTS = {"params": NOISY, "macs": list(RNG.normal(size=N))}


def rated(scores, top1=TOP1, counts=COUNTS):
    return rate("mine", list(scores), counts, list(top1), seed=0)


def test_a_proxy_that_ranks_perfectly_is_better_than_counting():
    found = rated(TOP1)
    assert found["spearman"]["value"] == found["kendall"]["value"] == pytest.approx(1)
    assert (found["baseline"], found["verdict"]) == ("params", "better than counting parameters")
    assert found["top3_regret"] == 0


def test_a_reversed_proxy_is_misleading_whatever_the_counts_do():
    found = rated([-value for value in TOP1])
    assert found["verdict"] == "misleading: ranks against accuracy"
    assert found["top3_regret"] == pytest.approx(0.3 * (1 - 2 / (N - 1)))


def test_the_count_itself_is_no_better_than_the_count():
    found = rated(NOISY)
    assert found["difference"] == {"value": 0, "low": 0, "high": 0}
    assert found["verdict"] == "no better than counting parameters"


def test_a_few_networks_decide_nothing():
    few = slice(None, None, 5)
    found = rate("mine", NOISY[few], {k: v[few] for k, v in COUNTS.items()}, list(RNG.permutation(TOP1[few])), seed=0)
    assert "cannot be told" in found["verdict"]
    assert "8 networks" in found["verdict"]


def test_only_networks_with_a_score_and_an_accuracy_count():
    scores = [None if i < 5 else value for i, value in enumerate(TOP1)]
    top1 = [None if i > 35 else value for i, value in enumerate(TOP1)]
    assert rated(scores, top1)["networks"] == 31


@pytest.mark.parametrize(
    ("scores", "top1", "said"),
    [
        ([None] * N, TOP1, "does not apply: only 0"),
        ([3.0] * N, TOP1, "does not apply: all networks score alike"),
        (NOISY, [0.1] * N, "all networks are equally accurate"),
    ],
)
def test_what_has_no_correlation_says_why(scores, top1, said):
    found = rated(scores, top1)
    assert found["applies"] is False
    assert said in found["verdict"]


@pytest.mark.parametrize(
    ("rho", "difference", "said"),
    [
        ((0.6, 0.3, 0.8), (0.2, 0.1, 0.3), "better than counting MACs"),
        ((-0.6, -0.8, -0.3), (-0.9, -1, -0.5), "misleading"),
        ((0.2, -0.1, 0.5), (-0.4, -0.6, -0.1), "worse than counting MACs"),
        ((0.6, 0.3, 0.8), (0.0, -0.1, 0.1), "no better than counting MACs"),
        ((0.2, -0.2, 0.6), (0.1, -0.3, 0.5), "cannot be told from chance with 24"),
        ((0.2, -0.2, 0.6), (0.4, 0.1, 0.5), "cannot be told from chance with 24"),
        ((0.5, 0.2, 0.8), (0.1, -0.3, 0.5), "better than chance; against counting MACs it cannot be told with 24"),
    ],
)
def test_verdicts_follow_from_the_intervals(rho, difference, said):
    assert judge(Estimate(*rho), "macs", Estimate(*difference), 24).startswith(said)


def test_without_a_count_that_varies_chance_is_the_rival():
    found = rated(TOP1, counts={"params": [5.0] * N, "macs": [5.0] * N})
    assert (found["baseline"], found["verdict"]) == (None, "better than chance")


def test_verdicts_do_not_depend_on_the_order_of_the_networks_nor_on_the_unit():
    mixed = RNG.permutation(N)
    noisy = list(np.array(TOP1) + 0.05 * RNG.normal(size=N))
    one = rated(noisy)
    other = rated(
        [1e6 * noisy[i] for i in mixed], [TOP1[i] for i in mixed], {k: [v[i] for i in mixed] for k, v in COUNTS.items()}
    )
    assert one["spearman"]["value"] == pytest.approx(other["spearman"]["value"])
    assert one["difference"]["value"] == pytest.approx(other["difference"]["value"])
    assert one["verdict"] == other["verdict"]


def test_the_ceiling_is_one_without_noise_and_falls_with_it():
    accurate = noise_ceiling(TOP1, [(0.7, 0.7), (0.6, 0.6)], seed=0)
    assert accurate["spearman"]["value"] == pytest.approx(1)
    assert accurate["seed_deviation"] == 0
    noisy = noise_ceiling(TOP1, [(0.7, 0.6), (0.6, 0.7), (0.5, 0.62)], seed=0)
    assert 0.2 < noisy["spearman"]["value"] < 0.9
    assert noisy["kendall"]["value"] < noisy["spearman"]["value"]
    assert noisy["seed_deviation"] == pytest.approx(np.sqrt((0.01 + 0.01 + 0.0144) / 6))
    hopeless = noise_ceiling(TOP1, [(0.1, 0.9), (0.9, 0.2)], seed=0)
    assert hopeless["network_deviation"] == 0
    assert noise_ceiling(TOP1, [], seed=0)["spearman"] is None


def test_chosen_networks_keep_the_limits_and_are_of_all_sizes_and_depths():
    gates = Gates(SHAPE, 10, (Constraint("macs", 20e6), Constraint("depth", 16)))
    chosen = choose_networks(SPACES["zen-tiny"], gates, wanted=16, seed=3)
    macs = [candidate.metrics["macs"] for candidate in chosen]
    assert len({candidate.arch.digest for candidate in chosen}) == 16
    assert macs == sorted(macs)
    assert max(macs) <= 20e6
    assert max(macs) > 5 * min(macs)
    assert len({candidate.metrics["depth"] for candidate in chosen}) > 4
    assert [c.arch for c in choose_networks(SPACES["zen-tiny"], gates, wanted=16, seed=3)] == [c.arch for c in chosen]
    assert [c.arch for c in choose_networks(SPACES["zen-tiny"], gates, wanted=16, seed=4)] != [c.arch for c in chosen]


@pytest.mark.slow
def test_limits_that_no_random_member_keeps_are_reached_by_mutation():
    gates = Gates(SHAPE, 10, (Constraint("params", 40e3),))
    chosen = choose_networks(SPACES["zen-tiny"], gates, wanted=12, seed=0)
    assert len(chosen) == 12
    assert max(candidate.metrics["params"] for candidate in chosen) <= 40e3
    with pytest.raises(NothingFeasible, match="the tightest it reaches"):
        choose_networks(SPACES["zen-tiny"], Gates(SHAPE, 10, (Constraint("params", 10.0),)), wanted=12, seed=0)


def test_a_short_training_sees_equal_shares_and_no_test_image():
    data = without_test("digits", 100)
    assert np.bincount(data.train.labels).tolist() == [10] * 10
    assert len(data.test) == 0
    whole = without_test("digits", None)
    assert len(whole.train) > 1_000
    assert np.bincount(data.validation.labels).tolist() == [10] * 10
    assert len(whole.validation) > 200


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"networks": 7}, "networks=7, expected at least 8"),
        ({"repeats": -1}, "repeats"),
        ({"epochs": 0}, "epochs"),
        ({"images": 3}, "images"),
        ({"members": "some"}, "closed, cheap, all"),
        ({"scores": ()}, "at least one"),
        ({"scores": ("zen", "zen")}, "none twice"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(settings, said):
    with pytest.raises(InvalidConfig, match=said) as caught:
        TrustSettings(**settings)
    assert "\n" not in str(caught.value)


def test_only_cheap_scores_join_an_ensemble_unless_all_may():
    assert TrustSettings().may_join("synflow")
    assert not TrustSettings().may_join("ntk")
    assert TrustSettings(members="all").may_join("ntk")
    assert not TrustSettings(members="closed").may_join("naswot")


def ensemble_of(scores):
    return make_ensemble(scores, COUNTS, TOP1, input_shape=SHAPE, seed=0)


def test_an_ensemble_is_honest_about_what_it_is_worth():
    rng = np.random.default_rng(1)
    scores = {name: list(np.array(TOP1) + 0.1 * rng.normal(size=N)) for name in ("zen", "mad")}
    scores["synflow"] = [None, *TOP1[1:]]
    found = ensemble_of(scores)
    worth = found["cross_validated"]
    assert found["left_out"] == ["synflow"]
    assert [row["score"] for row in found["members"]] == ["zen", "mad"]
    assert sum(row["weight"] for row in found["members"]) == pytest.approx(1)
    assert worth["best_single"] in ("zen", "mad")
    assert worth["spearman"]["low"] < worth["spearman"]["value"] < 1
    assert worth["difference_to_best_single"]["low"] < worth["difference_to_best_single"]["high"]
    assert RankEnsemble.from_dict(json.loads(json.dumps(found))).input_shape == SHAPE


def test_no_proxy_that_beats_chance_gives_no_ensemble_and_says_so():
    found = ensemble_of({"zen": [-value for value in TOP1]})
    assert found["members"] == []
    assert "none of zen ranks these networks better than chance" in found["reason"]
    assert "too few" in ensemble_of({"zen": [None] * N})["reason"]


def test_an_ensemble_is_an_objective_that_travels_without_its_file(tmp_path):
    reference = {"zen": list(np.linspace(10, 60, N)), "deepmad": list(np.linspace(1, 90, N))}
    (tmp_path / "trust.json").write_text(json.dumps({"ensemble": ensemble_of(reference)}))
    objective = Objective(f"ensemble:{tmp_path}", SHAPE, 3).bound()
    assert objective.trusted
    travelled = Objective.from_dict(json.loads(json.dumps(objective.to_dict())))
    here = objective.scorer()
    (tmp_path / "trust.json").unlink()
    there = travelled.scorer()
    gates = Gates(SHAPE, 10)
    found = choose_networks(SPACES["zen-tiny"], gates, wanted=10, seed=0)
    scores = [here(candidate.arch, 1) for candidate in found]
    assert scores == [there(candidate.arch, 1) for candidate in found]
    singles = [Objective("zen", SHAPE).scorer()(candidate.arch, 1) for candidate in found]
    assert len(set(scores)) == 10
    assert np.corrcoef(scores, singles)[0, 1] > 0.5


@pytest.mark.parametrize(
    ("score", "shape", "said"),
    [
        ("ensemble", SHAPE, "which file"),
        ("ensemble:nowhere.json", SHAPE, "no such file"),
        ("ensemble:{folder}", (3, 32, 32), "made for images of 1x8x8, not 3x32x32"),
        ("ensemble:{folder}/other.json", SHAPE, "expected one of zen"),
        ("ensemble:{folder}/nested.json", SHAPE, "no ensemble in another"),
    ],
)
def test_a_wrong_ensemble_is_one_line(tmp_path, score, shape, said):
    row = {"score": "zen", "weight": 1.0, "reference": [1.0, 2.0]}
    for name, member in (("trust", "zen"), ("other", "zon"), ("nested", "ensemble:x")):
        content = {"ensemble": {"members": [{**row, "score": member}], "input_shape": [1, 8, 8]}}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    with pytest.raises(UnknownScore, match=said) as caught:
        Objective(score.format(folder=tmp_path), shape).scorer()
    assert "\n" not in str(caught.value)


def test_the_table_of_scores_says_what_each_needs():
    assert CLOSED_FORM == ("zen", "mad", "mad_multiscale", "deepmad")
    for row in SCORES.values():
        assert row.needs in ("closed form", "forward", "backward")
        assert row.cost
        assert "arXiv" in row.source or "NeurIPS" in row.source
    assert SCORES["ntk"].better == "lower"
