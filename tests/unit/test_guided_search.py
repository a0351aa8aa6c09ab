"""Which networks a guided search asks for: within the limits, never twice, a function of seed and labels, and good."""

import json
from dataclasses import replace

import numpy as np
import pytest

from nas.accuracy_model import AccuracyModel
from nas.gates import Gates
from nas.guided.batch import diverse_best
from nas.guided.final_scale import final_accuracies
from nas.guided.guided_search import GuidedSearch, Labelled, Plan
from nas.guided.members import members_within
from nas.objective import Objective, UnknownScore
from nas.records import Candidate, Constraint, Failure
from predictors.models.gaussian_process import GaussianProcess
from search_spaces import load_space
from search_spaces.nas_bench_macro import NAS_BENCH_MACRO
from search_spaces.space import Stage, StageSpace, Variant

SHAPE, CLASSES = (3, 32, 32), 10
LIMITS = Gates(SHAPE, CLASSES, (Constraint("macs", 90e6),))
PLAN = Plan(initial=8, batch=4, proposals=80, pool=60)


class Process:
    """A quick stand-in for the predictor of a run."""

    def __init__(self, space):
        self.space, self.model = space, GaussianProcess(kernel="matern")

    def encode(self, archs):
        return np.array([self.space.encode(arch) for arch in archs])

    def fit(self, archs, labels):
        self.model.fit(self.encode(archs), labels)

    def predict(self, archs):
        return self.model.predict(self.encode(archs), return_std=True)


def search(seed=0, gates=LIMITS, space=NAS_BENCH_MACRO, **changes):
    return GuidedSearch(space, gates, replace(PLAN, **changes), lambda: Process(space), seed=seed)


def accuracy(arch):
    """Grows with the middle of the network, with one interaction, and has an optimum inside the space."""
    values = np.array([NAS_BENCH_MACRO.encode(arch)]).ravel()
    return float(1 - ((values - np.linspace(0.2, 0.9, len(values))) ** 2).sum() + 0.3 * values[0] * values[1])


def asked(guided, rounds, label=accuracy):
    told = []
    for _ in range(rounds):
        told += [Labelled(arch, label(arch)) for arch in guided.ask(told)]
    return told


@pytest.mark.parametrize("acquisition", ["ei", "ucb", "lcb"])
def test_nothing_is_asked_twice_or_outside_the_limits(acquisition):
    told = asked(search(acquisition=acquisition), 4)
    assert len(told) == 8 + 3 * 4
    assert len({one.arch.digest for one in told}) == len(told)
    assert not any(isinstance(LIMITS.check(Candidate(0, one.arch)), Failure) for one in told)


def test_what_is_asked_is_a_function_of_seed_and_labels():
    told = asked(search(seed=3), 3)
    for known in (0, 8, 12):
        again = search(seed=3).ask(told[:known])  # a search that knows nothing but the labels
        assert again == [one.arch for one in told[known : known + len(again)]]
    assert search(seed=4).ask([]) != search(seed=3).ask([])


def test_labels_that_differ_lead_elsewhere():
    told = asked(search(), 1)
    turned = [replace(one, label=-one.label) for one in told]
    assert search().ask(told) != search().ask(turned)


@pytest.mark.slow
def test_it_finds_better_networks_than_random_ones_after_as_many_labels():
    ours, theirs = [], []
    for seed in range(6):
        ours.append(max(one.label for one in asked(search(seed), 5)))
        rng = np.random.default_rng(seed)
        sample = members_within(NAS_BENCH_MACRO, LIMITS, rng=rng, seed=seed, wanted=24)
        theirs.append(max(accuracy(candidate.arch) for candidate in sample))
    assert np.mean(ours) > np.mean(theirs) + 2 * np.std(theirs) / np.sqrt(6)


@pytest.mark.parametrize("label", [lambda arch: None, lambda arch: 0.1], ids=["all failed", "all equal"])
def test_where_nothing_can_be_learnt_it_goes_on_with_other_networks(label):
    told = asked(search(), 3, label)
    assert len(told) == len({one.arch.digest for one in told}) == 8 + 4 + 4


def test_failed_trainings_are_left_out_and_not_tried_again():
    told = asked(search(), 4, lambda arch: None if int(arch.digest[:4], 16) % 3 == 0 else accuracy(arch))
    assert any(one.label is None for one in told)
    assert len({one.arch.digest for one in told}) == len(told)


def test_a_small_space_ends():
    tiny = StageSpace("tiny", (Stage((Variant("conv"),), (8, 16)), Stage((Variant("genet_xx"),), (8, 16, 24))))
    guided = search(gates=Gates(SHAPE, CLASSES), space=tiny, initial=4)
    told = asked(guided, 4, lambda arch: float(arch.blocks[1].channels + arch.blocks[0].channels / 8))
    assert len({one.arch.digest for one in told}) == len(told) == 6
    assert guided.ask(told) == []


def test_limits_that_random_members_break_are_walked_into():
    zen = load_space("zen-tiny")
    gates = Gates(SHAPE, CLASSES, (Constraint("params", 20e3),))
    found = members_within(zen, gates, rng=np.random.default_rng(0), seed=0, wanted=12)
    assert len({candidate.arch.digest for candidate in found}) == len(found) == 12
    assert all(candidate.metrics["params"] <= 20e3 for candidate in found)


def test_no_member_within_the_limits_is_no_network():
    assert search(gates=Gates(SHAPE, CLASSES, (Constraint("params", 10),))).ask([]) == []


def test_a_batch_is_not_eight_neighbours():
    grid = np.stack(np.meshgrid(range(6), range(6)), axis=2).reshape(-1, 2)
    features = np.concatenate([grid, grid[:1] + np.linspace(0.01, 0.1, 7)[:, None]]).astype(float)
    values = np.concatenate([[1.0], np.linspace(0.8, 0.5, 35), np.full(7, 0.99)])  # seven stand next to the best
    chosen = diverse_best(values, features, 8)
    assert chosen[0] == 0
    assert not {*chosen} & {*range(36, 43)}
    assert len({*chosen}) == 8
    assert 12 not in diverse_best(values, features, 20, taken=[12])


def test_equal_networks_are_taken_once():
    features = np.zeros((5, 3))
    assert diverse_best(np.arange(5.0), features, 3) == [4]
    assert diverse_best(np.zeros(3), np.eye(3), 3) == [0, 1, 2]


def test_accuracies_after_few_epochs_keep_their_order():
    whole = [[0.1 * i, 0.1 * i + 0.05, 0.2 + 0.1 * i] for i in range(6)]
    dropped = [[0.12], [0.31], [0.05], []]
    found = final_accuracies([*whole, *dropped], 3)
    assert found[:6] == [curve[-1] for curve in whole]
    assert found[8] < found[6] < found[7]
    assert found[9] is None
    assert final_accuracies([[0.2, 0.4], [0.1]], 2) == [0.4, pytest.approx(0.3)]  # by the mean gain
    assert final_accuracies([[0.1]], 2) == [None]


def networks(name, count):
    space = load_space(name)
    rng = np.random.default_rng(1)
    archs = list({arch.digest: arch for arch in (space.sample(rng) for _ in range(3 * count))}.values())[:count]
    return space, archs


@pytest.mark.parametrize("name", ["zen-tiny", "nas-bench-201", "genet-tiny"])
def test_the_model_predicts_networks_that_it_has_not_seen(name):
    space, archs = networks(name, 60)
    labels = np.log([LIMITS(arch)["macs"] for arch in archs])
    model = AccuracyModel(space, SHAPE, CLASSES).fit(archs[:24], labels[:24])
    mean, deviation = model.predict(archs[24:])
    assert np.corrcoef(mean, labels[24:])[0, 1] > 0.9
    assert (deviation > 0).all()
    assert ("zen" in model.costs(archs)) == (name != "nas-bench-201")  # which has no closed form


def bound(kappa=1.0):
    space, archs = networks("nas-bench-macro", 20)
    labels = {
        "space": space.name,
        "num_classes": CLASSES,
        "seed": 0,
        "kappa": kappa,
        "archs": [arch.to_dict() for arch in archs],
        "labels": [accuracy(arch) for arch in archs],
    }
    return Objective("predictor", SHAPE, 0, None, labels), archs


def test_an_objective_that_travelled_scores_alike_and_doubts_lower_the_score():
    objective, archs = bound()
    travelled = Objective.from_dict(json.loads(json.dumps(objective.to_dict())))
    here, there = objective.scorer(), travelled.scorer()
    assert [here(arch, 0) for arch in archs] == [there(arch, 5) for arch in archs]
    trusting = bound(kappa=0.0)[0].scorer()
    assert all(here(arch, 0) < trusting(arch, 0) for arch in archs)
    assert objective.trusted


def test_a_predictor_without_labels_is_refused_in_one_line():
    with pytest.raises(UnknownScore, match="needs trained networks, which only `netwright search") as caught:
        Objective("predictor").scorer()
    assert "\n" not in str(caught.value)
