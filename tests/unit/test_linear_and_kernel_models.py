"""Ridge, Gaussian processes and kernel ridge against their definitions and against scikit-learn."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import BayesianRidge as TheirBayesianRidge

from predictors.models.gaussian_process import GaussianProcess, Likelihood
from predictors.models.kernel_ridge import QuadraticKernelRidge
from predictors.models.kernels import KERNELS, length_gradient, value_of, variance_of
from predictors.models.linear import BayesianRidge, Ridge


def data(n: int = 50, d: int = 5, noise: float = 0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    return x, x @ np.arange(1.0, d + 1) + x[:, 0] * x[:, 1] + noise * rng.standard_normal(n)


def test_ridge_solves_the_penalised_normal_equations():
    x, y = data()
    model = Ridge().fit(x, y)
    centred = x - x.mean(axis=0)
    penalty = model.strength_ * (np.linalg.svd(centred, compute_uv=False) ** 2).mean()
    expected = np.linalg.solve(centred.T @ centred + penalty * np.eye(5), centred.T @ (y - y.mean()))
    assert np.allclose(model.coef_, expected)
    assert np.allclose(model.contributions(x).sum(axis=1) + y.mean(), model.predict(x))


def test_evidence_agrees_with_scikit_learns_bayesian_ridge():
    x, y = data(n=200)
    ours, theirs = BayesianRidge().fit(x, y), TheirBayesianRidge().fit(x, y)
    assert np.allclose(ours.coef_, theirs.coef_, rtol=0.02)
    assert np.allclose(ours.predict(x, return_std=True)[1], theirs.predict(x, return_std=True)[1], rtol=0.05)


def test_ridge_with_more_features_than_labels_is_unsure_where_nothing_was_seen():
    x, y = data(n=12, d=30)
    model = Ridge().fit(x, y)
    near, far = model.predict(np.vstack([x[:1], x[:1] + 10]), return_std=True)[1]
    assert far > near


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("linear", [False, True])
def test_the_gradient_of_the_likelihood_is_its_slope(kernel, linear):
    rng = np.random.default_rng(0)
    x, y = data(n=25, d=6)
    groups = np.kron(np.eye(3), np.ones(2))
    likelihood = Likelihood(x, (y - y.mean()) / y.std(), rng.uniform(0.5, 2, 25), groups, kernel, linear)
    at = np.array([0.1, 0.5, 0.9, 0.2, -1.0, -0.5][: 5 + linear])
    error = check_grad(lambda v: likelihood._cost(v)[0], lambda v: likelihood._cost(v)[1], at)
    assert error < 1e-4


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_is_symmetric_and_positive_and_its_slope_in_the_lengths_is_right(kernel):
    x, _ = data(n=20, d=3)
    value = KERNELS[kernel](x, x).value
    assert np.allclose(value, value.T)
    assert np.allclose(np.diag(value), variance_of(kernel, x))
    assert np.allclose(value, value_of(kernel, x, x))
    assert np.linalg.eigvalsh(value).min() > -1e-8
    weights = np.random.default_rng(1).standard_normal((20, 20))
    weights = weights + weights.T
    step = 1e-6
    for feature in range(3):
        stretched = x.copy()
        stretched[:, feature] *= np.exp(-step)
        slope = ((value_of(kernel, stretched, stretched) - value) * weights).sum() / step
        assert length_gradient(x, KERNELS[kernel](x, x), weights)[feature] == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_a_gaussian_process_agrees_with_scikit_learn():
    x, y = data(n=80)
    ours = GaussianProcess().fit(x, y)
    scaled = (y - y.mean()) / y.std()
    kernel = ConstantKernel(1.0, (1e-3, 1e3)) * RBF(2.0, (1e-2, 1e3)) + WhiteKernel(0.1, (1e-5, 10))
    theirs = GaussianProcessRegressor(kernel, n_restarts_optimizer=2, random_state=0).fit(x - x.mean(axis=0), scaled)
    assert ours.likelihood_ == pytest.approx(theirs.log_marginal_likelihood_value_, abs=0.6)
    unseen, _ = data(n=30, seed=1)
    expected = theirs.predict(unseen - x.mean(axis=0)) * y.std() + y.mean()
    assert np.allclose(ours.predict(unseen), expected, atol=0.15 * y.std())


def test_lengths_tell_which_features_matter():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 4))
    y = np.sin(2 * x[:, 0]) + 0.05 * rng.standard_normal(120)
    model = GaussianProcess(lengths="feature").fit(x, y)
    assert model.lengths_[0] < 0.3 * model.lengths_[1:].min()
    grouped = GaussianProcess(lengths="group", groups=[0, 1, 1, 1]).fit(x, y)
    assert np.allclose(grouped.lengths_[1:], grouped.lengths_[1])


def test_a_linear_part_carries_a_trend_beyond_the_labels():
    x = np.linspace(0, 1, 40)[:, None]
    y = 3 * x[:, 0]
    beyond = np.array([[2.0]])
    assert GaussianProcess(linear=True).fit(x, y).predict(beyond)[0] == pytest.approx(6, abs=0.3)


def test_a_precise_label_pulls_harder():
    x = np.array([[0.0], [0.0], [1.0], [1.0]])
    y = np.array([0.0, 1.0, 5.0, 5.1])
    low = GaussianProcess().fit(x, y, [10.0, 1.0, 1.0, 1.0]).predict([[0.0]])[0]
    high = GaussianProcess().fit(x, y, [1.0, 10.0, 1.0, 1.0]).predict([[0.0]])[0]
    assert low < high


def test_closed_form_leave_one_out_is_leaving_one_out():
    x, y = data(n=30)
    model = QuadraticKernelRidge().fit(x, y)
    points = (x - x.mean(axis=0)) / model._unit
    line = points @ points.T
    kernel = line + model.products_ * line**2
    for i in (0, 7, 29):
        kept = np.arange(30) != i
        weights = np.linalg.solve(kernel[np.ix_(kept, kept)] + model._ridge * np.eye(29), (y - y.mean())[kept])
        assert model.loo_[i] == pytest.approx(kernel[i, kept] @ weights + y.mean(), rel=1e-6)


def test_products_are_found_where_there_are_some():
    x, y = data(n=200, noise=0.05)
    assert QuadraticKernelRidge().fit(x, y).products_ > 0
    line = x @ np.arange(1.0, 6)
    assert QuadraticKernelRidge().fit(x, line + 0.5 * np.random.default_rng(0).standard_normal(200)).products_ <= 0.3


def test_with_stages_the_prediction_is_a_sum_of_functions_of_one_stage_each():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (150, 6)).astype(float)
    y = x[:, 0] * x[:, 1] + 2 * x[:, 2] * x[:, 3] + x[:, 4] + 0.05 * rng.standard_normal(150)
    model = QuadraticKernelRidge(stages=[0, 0, 1, 1, 2, 2]).fit(x, y)
    assert np.allclose(model.stage_values(x).sum(axis=1) + y.mean(), model.predict(x))
    first = np.tile(x[:1], (2, 1))
    first[1, 4:] = 1 - first[1, 4:]
    values = model.stage_values(first)
    assert np.allclose(values[0, :2], values[1, :2])
    assert values[0, 2] != pytest.approx(values[1, 2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianProcess(kernel="cosine"), "kernel='cosine', expected one of linear"),
        (lambda: GaussianProcess(lengths="some"), "lengths='some', expected 'one', 'group' or 'feature'"),
        (lambda: GaussianProcess(lengths="group", groups=[1, 2]), "expected one entry for each of 5 features"),
        (lambda: QuadraticKernelRidge(stages=[1, 2]), "expected one entry for each of 5 features"),
        (lambda: Ridge(criterion="aic"), "criterion='aic', expected 'gcv' or 'evidence'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make().fit(*data())
