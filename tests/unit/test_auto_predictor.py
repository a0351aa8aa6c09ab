"""AutoPredictor: any table or space, choices made on the labels it is given, one clear line where it cannot."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest

from predictors import AutoPredictor, load
from predictors.auto.auto_predictor import InvalidLabels
from predictors.auto.member import MODELS, Recipe, length_groups
from predictors.auto.trial import Labelled, Trial, close_to_best, simplest_of
from predictors.encoders import ENCODERS
from predictors.evaluation.folds import repeated_folds
from predictors.novelty import NoveltyWarning
from predictors.rank import kendall
from predictors.reading import read, schema_of
from predictors.schema import InvalidTable, UnseenChoice
from search_spaces import SPACES

KERNELS = (3, 5, 7)
EXPANSIONS = (3, 6)


def table(n: int = 80, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Blocks with kernels, expansions, activations and a cost; the label is a sum with an interaction."""
    rng = np.random.default_rng(seed)
    rows = {f"block{i}_{what}": rng.choice(choices, n) for i in range(4)
            for what, choices in (("k", KERNELS), ("e", EXPANSIONS))}  # fmt: skip
    frame = pd.DataFrame(rows).assign(act=rng.choice(["relu", "swish"], n))
    expansions = frame.filter(like="_e").sum(axis=1)
    frame["macs"] = 1e6 * expansions * frame.filter(like="_k").sum(axis=1)
    label = frame["block0_k"] + 0.5 * expansions + frame["block1_k"] * frame["block1_e"] / 6 + (frame["act"] == "swish")
    return frame, (60 + label + 0.3 * rng.standard_normal(n)).to_numpy()


@pytest.fixture(scope="module")
def fitted() -> AutoPredictor:
    return AutoPredictor(preset="quick").fit(*table())


def test_a_table_of_numbers_categories_and_costs_is_ranked(fitted):
    unseen, truth = table(200, seed=1)
    assert kendall(fitted.predict(unseen), truth) > 0.75
    assert fitted.cv_kendall_ > 0.7
    assert fitted.leaderboard_[0]["kendall"] >= fitted.leaderboard_[-1]["kendall"]
    assert fitted.encoder_ in ENCODERS
    assert fitted.recipe_.model in MODELS


def test_stated_intervals_hold_new_labels_as_often_as_they_say(fitted):
    unseen, truth = table(400, seed=2)
    for coverage in (0.5, 0.8, 0.9):
        low, high = fitted.predict_interval(unseen, coverage)
        assert np.mean((low <= truth) & (truth <= high)) == pytest.approx(coverage, abs=0.1)
    assert np.mean(truth >= fitted.predict_lower(unseen, 0.9)) == pytest.approx(0.9, abs=0.08)


def test_structure_texts_and_arrays_are_read_alike():
    rng = np.random.default_rng(0)
    codes = rng.integers(1, 7, (60, 8))
    labels = codes @ np.arange(8.0) + rng.standard_normal(60)
    texts = ["-".join(map(str, code)) for code in codes]
    by_text = AutoPredictor(preset="quick").fit(texts, labels)
    by_array = AutoPredictor(preset="quick").fit(codes, labels)
    assert kendall(by_text.predict(texts), by_array.predict(codes)) > 0.95


def test_architectures_of_a_space_are_read_by_its_knobs():
    space = SPACES["resnet20-channels"]
    rng = np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(60)]
    labels = np.array([sum(float(v) ** 0.5 for v in space.values_of(arch).values()) for arch in archs])
    model = AutoPredictor(space=space, preset="quick").fit(archs[:40], labels[:40])
    assert kendall(model.predict(archs[40:]), labels[40:]) > 0.7


def test_extras_are_columns_of_their_own_that_predict_needs_again():
    frame, labels = table()
    told = {"told": labels + 0.01, "params": np.arange(len(labels), dtype=float)}
    model = AutoPredictor(preset="quick").fit(frame, labels, extras=told)
    assert [column.kind for column in model.schema_.columns[-2:]] == ["number", "cost"]
    assert kendall(model.predict(frame, extras=told), labels) > 0.95
    with pytest.raises(InvalidTable, match=r"extras: \[\], expected those of fit, \['params', 'told'\]"):
        model.predict(frame)
    with pytest.raises(InvalidTable, match=r"extras\['told'\]: shape \(3,\), expected 80 finite numbers"):
        model.predict(frame, extras={**told, "told": np.zeros(3)})


def test_quick_depends_on_labels_and_seed_alone(fitted):
    again = AutoPredictor(preset="quick").fit(*table())
    unseen = table(20, seed=3)[0]
    assert np.array_equal(fitted.predict(unseen), again.predict(unseen))


def test_rows_are_predicted_alone_as_in_company(fitted):
    unseen = table(12, seed=4)[0]
    alone = np.concatenate([fitted.predict(unseen.iloc[i : i + 1]) for i in range(12)])
    assert np.allclose(alone, fitted.predict(unseen), rtol=1e-9)


def test_a_file_predicts_as_the_predictor_does(fitted, tmp_path):
    fitted.save(tmp_path / "a.predictor")
    unseen = table(20, seed=3)[0]
    again = load(tmp_path / "a.predictor")
    for ours, theirs in zip(fitted.predict_interval(unseen), again.predict_interval(unseen), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_trial_that_the_time_limit_ends_is_not_kept():
    frame, labels = table()
    schema = schema_of(frame)
    labelled = Labelled(schema, read(schema, frame), labels, np.ones(len(labels)), 0)
    splits = repeated_folds(len(labels), 5, 1, seed=0)
    trial = Trial(Recipe("bayesian ridge"))
    assert not trial.run(labelled, splits, stop=lambda: True)
    assert trial.predicted == []
    assert trial.run(labelled, splits)
    assert len(AutoPredictor(time_limit=0.0).fit(frame, labels).leaderboard_) == 1


def test_networks_unlike_the_labelled_ones_are_warned_of():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 5))
    labels = features @ np.arange(5.0)
    model = AutoPredictor(time_limit=0.0).fit(features, labels)
    with pytest.warns(NoveltyWarning, match="lie outside"):
        model.predict(features + 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(rng.normal(size=(60, 5)))
    assert model.novelty(features[:1] + 30)[0] < 0.05


def test_a_handful_of_labels_gives_a_ridge_and_no_claim_about_order():
    frame, labels = table(5)
    model = AutoPredictor().fit(frame, labels)
    assert model.leaderboard_ == []
    assert np.isnan(model.cv_kendall_)
    assert np.isfinite(model.predict(frame)).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1.0, np.nan, 2.0], "labels: row 1 is nan (1 of 3 are NaN or infinite), expected finite numbers"),
        ([1.0, 2.0, np.inf], "labels: row 2 is inf"),
        ([5.0, 5.0, 5.0], "labels: all 3 are 5; there is nothing to learn from equal labels"),
        ([1.0, 2.0], "labels: shape (2,), expected one for each of 3 networks"),
        (["a", "b", "c"], "labels: expected numbers, got something else"),
    ],
)
def test_labels_that_cannot_be_learned_from_are_refused_in_one_line(labels, message):
    with pytest.raises(InvalidLabels, match=re.escape(message)) as caught:
        AutoPredictor().fit(["1-2", "2-1", "2-2"], labels)
    assert "\n" not in str(caught.value)


def test_a_choice_that_no_labelled_network_has_is_refused(fitted):
    unseen = table(3)[0].assign(act="gelu")
    with pytest.raises(UnseenChoice, match="gelu"):
        fitted.predict(unseen)


def test_a_missing_column_is_named(fitted):
    with pytest.raises(InvalidTable, match="block2_k"):
        fitted.predict(table(3)[0].drop(columns="block2_k"))


def test_kinds_of_choices_share_length_scales_by_role():
    frame, _ = table()
    schema = schema_of(frame)
    encoder = ENCODERS["one-hot"]().fit(read(schema, frame), schema)
    by_column, by_role = (len(set(length_groups(encoder, how))) for how in ("column", "role"))
    assert len(set(length_groups(encoder, "one"))) == 1
    assert by_column == len(frame.columns)
    assert by_role <= by_column


def test_the_simplest_within_one_standard_error_is_named():
    rng = np.random.default_rng(0)
    labels = rng.normal(size=100)
    frame, _ = table(100)
    schema = schema_of(frame)
    labelled = Labelled(schema, read(schema, frame), labels, np.ones(100), 0)
    first, second = 0.3 * rng.normal(size=(2, 100))
    if kendall(labels + first, labels) < kendall(labels + second, labels):
        first, second = second, first
    trials = [
        Trial(Recipe("gp rbf"), [labels + first], [np.ones(100)]),
        Trial(Recipe("bayesian ridge"), [labels + second], [np.ones(100)]),
        Trial(Recipe("boosted stumps"), [rng.normal(size=100)], [np.ones(100)]),
    ]
    close = close_to_best(trials, labelled, errors=2)
    assert [trial.recipe.model for trial in close] == ["gp rbf", "bayesian ridge"]
    assert simplest_of(close).recipe.model == "bayesian ridge"


def test_a_number_that_stands_for_a_failure_neither_sets_the_scale_nor_is_believed():
    frame, labels = table(100)
    rng = np.random.default_rng(0)
    scored = frame.assign(proxy=labels + 0.5 * rng.standard_normal(100))
    scored.loc[7, "proxy"] = -1e8
    model = AutoPredictor(preset="quick").fit(scored, labels)
    broken = scored.head(5).assign(proxy=-1e9)
    assert kendall(model.predict(scored.drop(index=7)), np.delete(labels, 7)) > 0.8
    assert np.abs(model.predict(broken) - labels.mean()).max() < 30 * labels.std()
