"""Recipes proposed in an order that no timing changes, rungs, bounds, and what paired differences say."""

import random

import numpy as np
import pytest
import torch

from nas.train.augment import choose_augment
from nas.train.fit import EpochReport
from nas.train.recipe import InvalidRecipe, Recipe
from nas.train.trials.hits import unpack_hits
from nas.train.trials.trial import Outcome, Trial
from nas.train.tuned.bounds import InvalidBounds, Knob, bounds_around, read_bounds
from nas.train.tuned.comparison import compare_on_test, interval_of, paired_difference
from nas.train.tuned.proposals import RecipeProposals, least_at_rungs, rungs_of

EPOCHS = 9
BOUNDS = {
    "learning_rate": {"low": 0.01, "high": 1.0, "log": True},
    "batch_size": {"low": 16, "high": 128, "log": True},
    "augment": ["none", "shift"],
}
RECIPE = Recipe(epochs=EPOCHS, augment="shift")


def source(count=24, *, seed=0, lookahead=4, rungs=(1, 3), bounds=None):
    first = Trial(0, {}, "digits", RECIPE.to_dict(), seed=5)
    knobs = read_bounds(bounds or BOUNDS)
    return RecipeProposals(first, knobs, count=count, seed=seed, lookahead=lookahead, rungs=rungs)


def outcome(trial):
    """A training that takes no time: best near a learning rate of 0.1, and diverging above 0.6."""
    rate = trial.recipe["learning_rate"]
    top1 = round(0.9 - 0.2 * abs(np.log10(rate / 0.1)), 4)
    curve = [EpochReport(i, rate, 1.0, 1.0, top1 * i / EPOCHS, 0.1) for i in range(1, EPOCHS + 1)]
    if rate > 0.6:
        return Outcome(trial.id, tuple(curve[:2]), failure="diverged")
    for epoch, _ in trial.rungs:
        if trial.falls_out(curve[:epoch]):
            return Outcome(trial.id, tuple(curve[:epoch]), dropped=True)
    return Outcome(trial.id, tuple(curve))


def run(proposals, workers=1, seed=None):
    """All trials, so many at once, ending in random order."""
    rng, trials, finished, running = random.Random(seed), {}, {}, []
    while len(finished) < proposals.count:
        while len(running) < workers and len(trials) < proposals.count:
            trial = proposals.trial(len(trials), finished)
            if trial is None:
                break
            trials[trial.id] = trial
            running.append(trial)
        ended = running.pop(rng.randrange(len(running)))
        finished[ended.id] = outcome(ended)
    return [trials[i] for i in range(proposals.count)]


@pytest.mark.parametrize(("workers", "seed"), [(2, 0), (3, 1), (4, 2), (9, 3)])
def test_proposals_do_not_depend_on_workers_nor_on_who_ends_first(workers, seed):
    alone = run(source())
    assert run(source(), workers, seed) == alone
    assert len({str(trial.recipe) for trial in alone}) == 24
    assert run(source(seed=1)) != alone


def test_all_is_found_again_from_outcomes_alone():
    trials = run(source())
    finished = {trial.id: outcome(trial) for trial in trials}
    assert source().trial(23, finished) == trials[23]
    assert source(12).identity == source(24).identity
    assert run(source(12)) == trials[:12]  # more trials begin with the same ones


def test_a_proposal_waits_for_what_it_depends_on():
    proposals = source(lookahead=2)
    first, second = proposals.trial(0, {}), proposals.trial(1, {})
    assert first.recipe == RECIPE.to_dict()
    assert second.recipe != first.recipe
    assert proposals.trial(2, {1: outcome(second)}) is None
    assert proposals.trial(2, {0: outcome(first)}) is not None


def test_later_proposals_are_better_and_keep_off_what_diverged():
    trials = run(source(60, rungs=()))
    tops = [outcome(trial).top1 or 0.0 for trial in trials]
    assert np.median(tops[30:]) > np.median(tops[1:9]) + 0.03
    early, late = ([trial.recipe["learning_rate"] > 0.6 for trial in part] for part in (trials[1:9], trials[30:]))
    assert sum(late) / len(late) <= max(0.1, sum(early) / len(early))
    assert all(0.01 <= trial.recipe["learning_rate"] <= 1 for trial in trials)
    assert {trial.recipe["augment"] for trial in trials} == {"none", "shift"}
    assert all(isinstance(trial.recipe["batch_size"], int) for trial in trials)


def test_a_given_recipe_beyond_the_bounds_is_tried_and_teaches_nothing():
    proposals = source(12, bounds={"learning_rate": [0.3, 0.4, 0.5]})
    assert run(proposals)[0].recipe["learning_rate"] == RECIPE.learning_rate


def reached(*tops):
    return Outcome(0, tuple(EpochReport(i, 0.1, 1.0, 1.0, top, 0.1) for i, top in enumerate(tops, 1)))


def test_a_rung_lets_the_best_third_of_earlier_trials_pass():
    heard = [reached(top, 1.0) for top in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)]
    assert least_at_rungs(heard, (1,), 3) == ((1, 0.5),)
    assert least_at_rungs(heard[:2], (1,), 3) == ()  # too few to compare with
    assert least_at_rungs(heard, (3,), 3) == ()  # nobody came so far
    assert rungs_of(27, 3, 1) == (1, 3, 9)
    assert rungs_of(27, 3, 4) == (9,)
    assert rungs_of(2, 3, 1) == ()
    trial = Trial(1, {}, "digits", RECIPE.to_dict(), 0, rungs=((1, 0.5),))
    assert trial.falls_out(reached(0.4).curve)
    assert not trial.falls_out(reached(0.5).curve)
    assert trial.falls_out(reached(0.4, 0.9).curve)  # also when it is looked at later


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"learning_rat": [1, 2]}, "did you mean 'learning_rate'"),
        ({"epochs": [1, 2]}, "bounds.epochs: cannot be tuned, give --epochs"),
        ({"learning_rate": 0.3}, "expected {low: 0.01, high: 0.5, log: true} or a list"),
        ({"learning_rate": {"low": 0.3, "hig": 1}}, "expected {low"),
        ({"learning_rate": {"low": 0.3, "high": 0.1}}, "low=0.3 and high=0.1, expected low below high"),
        ({"weight_decay": {"low": 0, "high": 0.1, "log": True}}, "expected low above 0"),
        ({"weight_decay": {"low": "a", "high": 0.1}}, "bounds.weight_decay.low='a', expected a number"),
        ({"weight_decay": {"low": 0.0, "high": 0.1, "log": 1}}, "log=1, expected true or false"),
        ({"momentum": {"low": 0.5, "high": 1.5}}, "bounds.momentum=1.5, expected at least 0 and below 1"),
        ({"augment": ["none"]}, "expected at least two values"),
        ({"augment": ["none", "none"]}, "none of them twice"),
        ({"augment": {"low": 1, "high": 2}}, "expected a list of values"),
        ({"batch_size": [32, 0]}, "bounds.batch_size=0"),
    ],
)
def test_bounds_that_make_no_sense_are_one_line(bounds, said):
    with pytest.raises(InvalidBounds) as caught:
        read_bounds(bounds)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("images", "augment"), [(50_000, "flip_crop"), (1000, "shift"), (20, "none")])
def test_bounds_around_a_recipe_hold_it(images, augment):
    recipe = Recipe(augment=augment)
    knobs = {knob.name: knob for knob in read_bounds(bounds_around(recipe, images, augment))}
    assert all(knob.holds(getattr(recipe, name)) for name, knob in knobs.items())
    assert ("flip_crop" in knobs["augment"].choices) == (augment == "flip_crop")


def test_few_digits_stay_within_the_bounds():
    knob = Knob("momentum", 0.12342, 0.98765)
    assert [knob.tidy(value) for value in (0.12342, 0.5432198, 0.98765)] == [0.12342, 0.5432, 0.98765]


def with_hits(seed, hits):
    packed = np.packbits(np.array(hits, bool)).tobytes().hex()
    return Outcome(seed, reached(0.5).curve, hits=packed)


def test_a_paired_difference_has_the_chance_of_seeds_and_of_images():
    difference = paired_difference([0.92, 0.94, 0.96], [0.90, 0.91, 0.92])
    assert difference.value == pytest.approx(0.03)
    half = 4.3027 * 0.01 / np.sqrt(3)  # Student's t with two degrees of freedom
    assert (difference.low, difference.high) == pytest.approx((0.03 - half, 0.03 + half), abs=1e-5)
    assert difference.verdict == "better"
    both = paired_difference([0.92, 0.94, 0.96], [0.90, 0.91, 0.92], image_error=0.01)
    assert both.high - both.value == pytest.approx(np.hypot(half, 0.0196), abs=1e-5)
    assert paired_difference([0.5], [0.6]).verdict == "worse"


def test_test_images_are_compared_one_by_one():
    rng = np.random.default_rng(0)
    given = rng.random(403) < 0.8
    tuned = given | (rng.random(403) < 0.5)
    found = compare_on_test([with_hits(0, tuned)], [with_hits(0, given)], 403)
    assert (unpack_hits(with_hits(0, tuned).hits, 403) == tuned).all()
    assert found.value == pytest.approx(tuned.mean() - given.mean())
    assert found.verdict == "better"
    unpaired = 1.96 * np.sqrt(tuned.var() / 403 + given.var() / 403)
    assert found.high - found.value < unpaired  # that is what pairing is for


def test_an_interval_stays_within_0_and_1():
    low, high = interval_of(1.0, 100)
    assert 0.9 < low < 1
    assert high == 1.0


def test_the_strength_of_augmentation_scales_shifts_and_holes():
    images = torch.ones(64, 1, 28, 28)

    def blank(name, strength):
        augment = choose_augment(name, (1, 28, 28), strength=strength)
        return float((augment(images, torch.Generator().manual_seed(0)) == 0).float().mean())

    usual = choose_augment("flip_crop_cutout", (1, 28, 28))(images, torch.Generator().manual_seed(0))
    assert blank("flip_crop_cutout", 1.0) == float((usual == 0).float().mean())
    for name in ("shift", "flip_crop", "flip_crop_cutout"):
        assert 0 == blank(name, 0.0) < blank(name, 1.0) < blank(name, 2.0)
    with pytest.raises(InvalidRecipe, match=r"augment_strength=4\.0, expected at least 0 and below 4"):
        Recipe(augment_strength=4.0)
