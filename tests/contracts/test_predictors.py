"""Every predictor is a scikit-learn regressor with weights, deviations and files, whatever it learns by."""

import pickletools
import zipfile
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from predictors import PREDICTORS, load, load_predictor
from predictors.saving import InvalidPredictorFile

WEIGHTS = "check_sample_weight_equivalence_on_dense_data"
PRECISION = {
    WEIGHTS: "weights are precisions: two equal labels also say how noisy labels are, one of weight 2 does not"
}
DRAWN = {WEIGHTS: "rows are drawn by weight, so an equal fit holds on average over the draws only"}
FOLDS = {WEIGHTS: "chosen by folds, in which repeated rows stand on both sides"}
NAMES = {"check_dataframe_column_names_consistency": "says in one line which columns are missing"}
CANNOT: dict[str, dict[str, str]] = {
    "auto": FOLDS | NAMES,
    "quadratic-kernel-ridge": PRECISION,
    "gaussian-process": PRECISION,
    "boosted-stumps": FOLDS,
    "cascade-bagging": DRAWN,
    "ranking-net": DRAWN,
    "co-kriging": PRECISION,
}
SMALL: dict[str, dict[str, Any]] = {
    "auto": {"preset": "quick"},
    "cascade-bagging": {"estimators": 8, "second_estimators": 8, "folds": 2},
    "ranking-net": {"epochs": 20, "nets": 2},
}
TINY: dict[str, dict[str, Any]] = {  # scikit-learn's checks fit dozens of times and look at the interface alone
    "auto": {"time_limit": 0.0},
    "boosted-stumps": {"rounds": 60, "bag": 2},
    "cascade-bagging": {"estimators": 4, "second_estimators": 2, "folds": 2},
    "ranking-net": {"epochs": 20, "nets": 2, "hidden": (32,)},
}

every = pytest.mark.parametrize("name", PREDICTORS)


def small(name: str) -> Any:
    """The predictor with settings that fit in a moment."""
    return load_predictor(name)(**SMALL.get(name, {}))


def networks(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels with a line, a product and little noise."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, (n, 6)).astype(float)
    return x, x @ [3.0, 2.0, 1.0, 0.5, 0.0, 0.0] + 0.5 * x[:, 0] * x[:, 1] + 0.1 * rng.standard_normal(n) + 70


@every
def test_it_is_a_scikit_learn_regressor(name):
    model = load_predictor(name)(**TINY.get(name, {}))
    results = check_estimator(model, expected_failed_checks=CANNOT.get(name, {}), on_skip=None)
    assert {result["status"] for result in results} <= {"passed", "skipped", "xfail"}


@every
def test_it_learns_and_says_how_sure_it_is(name):
    x, y = networks()
    unseen, truth = networks(200, seed=1)
    model = small(name).fit(x, y)
    mean, std = model.predict(unseen, return_std=True)
    assert np.allclose(mean, model.predict(unseen), rtol=1e-12)
    assert np.corrcoef(mean, truth)[0, 1] > 0.8
    assert std.shape == mean.shape
    assert (std > 0).all()
    assert np.isfinite(std).all()
    assert np.mean(np.abs(mean - truth) < 3 * std) > 0.9


@every
def test_a_file_gives_the_same_predictor_and_holds_no_pickle(name, tmp_path):
    x, y = networks()
    model = small(name).fit(x, y)
    file = tmp_path / "a.predictor"
    model.save(file)
    again = load(file)
    for ours, theirs in zip(model.predict(x, return_std=True), again.predict(x, return_std=True), strict=True):
        assert np.array_equal(ours, theirs)
    with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            with pytest.raises(ValueError, match=r".+"):  # not the opcodes of a pickle
                list(pickletools.genops(archive.read(member)))


@every
def test_a_clone_fits_to_the_same_predictions(name):
    x, y = networks()
    model = small(name)
    assert np.array_equal(clone(model).fit(x, y).predict(x), model.fit(x, y).predict(x))


@every
def test_rows_are_predicted_one_by_one_as_together(name):
    x, y = networks()
    model = small(name).fit(x, y)
    alone = np.concatenate([model.predict(x[i : i + 1]) for i in range(10)])
    assert np.allclose(alone, model.predict(x)[:10], rtol=1e-9)


@every
def test_labels_of_weight_zero_do_not_count(name):
    x, y = networks()
    weights = np.ones(len(y))
    weights[40:] = 0
    spoilt = np.where(weights > 0, y, 1e3)
    model = small(name)
    assert np.allclose(model.fit(x, spoilt, weights).predict(x), clone(model).fit(x[:40], y[:40]).predict(x))


@every
def test_other_units_of_the_label_change_the_unit_of_the_prediction_alone(name):
    x, y = networks()
    model = small(name)
    first, std = clone(model).fit(x, y).predict(x, return_std=True)
    second, scaled = clone(model).fit(x, 0.01 * y + 5).predict(x, return_std=True)
    assert np.corrcoef(first, second)[0, 1] > 0.999
    assert np.allclose(scaled, 0.01 * std, rtol=0.5)


@every
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_label_that_is_not_finite_is_refused(name, value):
    x, y = networks()
    y[3] = value
    with pytest.raises(ValueError, match=r"(?i)nan|inf"):
        small(name).fit(x, y)


@every
def test_what_is_not_fitted_says_so(name):
    with pytest.raises(NotFittedError):
        small(name).predict(networks()[0])


def test_a_file_of_another_version_is_refused(tmp_path):
    model = small("ridge").fit(*networks())
    file = tmp_path / "a.predictor"
    model.save(file)
    other = tmp_path / "b.predictor"
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(other, "w") as target:
        for member in source.namelist():
            content = source.read(member)
            target.writestr(member, content.replace(b'"version": 1', b'"version": 9'))
    with pytest.raises(InvalidPredictorFile, match="version 9, this release reads"):
        load(other)


@pytest.mark.parametrize(
    ("content", "message"), [(b"not an archive", "not a predictor"), (None, "no such file")], ids=["other", "absent"]
)
def test_what_is_no_predictor_is_refused(tmp_path, content, message):
    file = tmp_path / "a.predictor"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidPredictorFile, match=message):
        load(file)


def test_a_file_with_foreign_classes_is_refused(tmp_path):
    import skops.io

    file = tmp_path / "a.predictor"
    small("ridge").fit(*networks()).save(file)
    evil = tmp_path / "b.predictor"
    skops.io.dump({"call": Decimal(1)}, evil)
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(evil, "a") as target:
        target.writestr("netwright.json", source.read("netwright.json"))
    with pytest.raises(InvalidPredictorFile, match=r"holds decimal\.Decimal"):
        load(evil)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="expected one of auto, ridge"):
        load_predictor("magic")
