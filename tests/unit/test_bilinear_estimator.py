from itertools import pairwise

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from predictors.models.bilinear import BilinearRegressor, StageColumns
from predictors.models.bilinear_effects import BilinearEstimator, InvalidMeasurements, estimate, shrunk
from predictors.models.bilinear_form import BilinearForm, NotOfBlocks
from predictors.models.bilinear_structure import InvalidStructure, Query, Stage, Structure, measurement_plan
from predictors.rank import kendall
from predictors.saving import load

SMALL = Structure((Stage((1, 3), (2, 3, 2)), Stage((2,), (2, 2))))


def truth(structure: Structure, seed: int = 0) -> BilinearEstimator:
    """A true sum of effects whose configurations average 0, as effects relative to a mean do."""
    rng = np.random.default_rng(seed)
    depths, configs = rng.normal(size=structure.beta_starts[-1]), rng.normal(size=structure.alpha_starts[-1])
    for starts, values in ((structure.beta_starts, depths), (structure.alpha_starts, configs)):
        for low, high in pairwise(starts):
            values[low:high] -= values[low:high].mean()
    return BilinearEstimator.of_form(BilinearForm.of_effects(structure, 70.0, depths, configs))


def expectations(of: BilinearEstimator, count: int = 1, seed: int = 0) -> dict:
    """The exact mean of every query, because the other effects average 0."""
    structure, found = of.structure, {}
    for query in measurement_plan(structure):
        value = of.base
        if query.depth is not None:
            place = structure.stages[query.stage].depths.index(query.depth)
            value += of.depths[structure.beta_starts[query.stage] + place]
        if query.block is not None:
            at = structure.blocks.index((query.stage, query.block))
            value += of.configs[structure.alpha_starts[at] + query.config]
        found[query] = (value, None)
    return found


def table(structure: Structure, depths: np.ndarray, configs: np.ndarray) -> tuple[np.ndarray, tuple[StageColumns, ...]]:
    """One-hot columns, depths first, and where they are; blocks that do not exist keep a column of 1."""
    beta = structure.one_hot(depths, configs)[1]
    sizes = np.diff(structure.alpha_starts)
    alpha = np.hstack([np.eye(size)[configs[:, at]] for at, size in enumerate(sizes)])
    starts = np.array(structure.alpha_starts) + beta.shape[1]
    stages = []
    for s, stage in enumerate(structure.stages):
        blocks = [at for at, (its, _) in enumerate(structure.blocks) if its == s]
        columns = tuple((tuple(range(starts[at], starts[at + 1])),) for at in blocks)
        low, high = structure.beta_starts[s : s + 2]
        stages.append(StageColumns(stage.depths, tuple(range(low, high)), columns))
    return np.hstack([beta, alpha]), tuple(stages)


def test_the_plan_of_binas_has_256_queries():
    plan = measurement_plan(Structure.even(5, 12, (2, 3, 4)))
    assert len(plan) == len(set(plan)) == 256
    assert Query(4, 4, 3, 11) in plan
    assert Query(0, None, 1, 0) in plan
    assert Query(0, 3, 2, 5).reference == Query(0, 3)
    assert Query(0, None, 1, 5).reference == Query()


@pytest.mark.parametrize("pooled", [True, False])
def test_exact_expectations_give_a_sum_of_effects_back(pooled):
    true = truth(SMALL)
    found = estimate(SMALL, expectations(true), pooled=pooled)
    assert found.base == pytest.approx(70.0)
    np.testing.assert_allclose(found.depths, true.depths, atol=1e-12)
    np.testing.assert_allclose(found.configs, true.configs, atol=1e-12)
    depths, configs = SMALL.sample(50, np.random.default_rng(1))
    np.testing.assert_allclose(found.predict(depths, configs), true.predict(depths, configs))


def test_differences_to_the_reference_give_the_same():
    measured = expectations(truth(SMALL))
    paired = {query: (value - measured[query.reference][0] * (query != Query()), None)
              for query, (value, _) in measured.items()}  # fmt: skip
    direct, found = estimate(SMALL, measured, pooled=False), estimate(SMALL, paired, differences=True)
    np.testing.assert_allclose(found.configs, direct.configs, atol=1e-12)
    np.testing.assert_allclose(found.depths, direct.depths, atol=1e-12)


def test_effects_relative_to_the_mean_of_all_networks_count_depth_twice():
    true, structure = truth(Structure.even(2, 3, (1, 2))), Structure.even(2, 3, (1, 2))
    measured = expectations(true)
    global_reference = {query: (value - measured[Query()][0] * (query != Query()), None)
                        for query, (value, _) in measured.items()}  # fmt: skip
    depths, configs = structure.sample(200, np.random.default_rng(2))
    ours = estimate(structure, measured).predict(depths, configs) - true.predict(depths, configs)
    theirs = estimate(structure, global_reference, differences=True).predict(depths, configs)
    assert np.abs(ours).max() < 1e-9
    assert np.abs(theirs - true.predict(depths, configs)).max() > 0.1


def test_standard_errors_and_shrinking():
    true, rng = truth(Structure.even(2, 12, (2, 3))), np.random.default_rng(0)
    measured = {query: (value + rng.normal(0, 0.5), 0.5) for query, (value, _) in expectations(true).items()}
    plain, pulled = (estimate(true.structure, measured, shrink=shrink) for shrink in (False, None))
    alone = estimate(true.structure, measured, shrink=False, pooled=False)
    np.testing.assert_allclose(alone.config_errors, 0.5 * 2**0.5)
    assert (plain.config_errors < alone.config_errors).all()
    assert (pulled.config_errors < plain.config_errors).all()
    assert np.sum((pulled.configs - true.configs) ** 2) < np.sum((plain.configs - true.configs) ** 2)
    assert np.abs(pulled.configs).sum() < np.abs(plain.configs).sum()
    covered = np.abs(plain.configs - true.configs) < 2 * plain.config_errors
    assert covered.mean() > 0.9


def test_effects_that_are_noise_vanish():
    effects, errors = shrunk(np.array([0.1, -0.1, 0.05]), np.full(3, 1.0))
    assert not effects.any()
    assert not errors.any()


def test_the_matrix_form_goes_both_ways():
    true = truth(SMALL)
    form = true.form()
    depths, configs = SMALL.sample(30, np.random.default_rng(3))
    alpha = np.hstack([np.eye(size)[configs[:, at]] for at, size in enumerate(np.diff(SMALL.alpha_starts))])
    beta = SMALL.one_hot(depths, configs)[1]
    np.testing.assert_allclose(form.value(alpha, beta), true.predict(depths, configs))
    back = BilinearEstimator.of_form(form)
    np.testing.assert_allclose(back.configs, true.configs)
    assert form.configs[:2].any()
    assert not form.products[:2].any()
    dense = BilinearForm(SMALL, 0.0, form.depths, form.products + 0.1, form.configs)
    with pytest.raises(NotOfBlocks, match="solve this form as a dense one"):
        dense.effects()


def test_contributions_add_up():
    true = truth(SMALL)
    depths, configs = SMALL.sample(1, np.random.default_rng(4))
    parts = true.contributions(depths[0], configs[0])
    assert true.base + sum(part.effect for part in parts) == pytest.approx(true.predict(depths, configs)[0])
    assert len(parts) == 2 + depths[0].sum()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stage((2, 1), (3, 3)), "ascending"),
        (lambda: Stage((1, 2), (3, 0)), "at least 1"),
        (lambda: Structure(()), "no stages"),
        (lambda: SMALL.one_hot([[2, 2]], [[0] * 5]), "depths.0.: stage 0 has 2 blocks, expected one of"),
        (lambda: SMALL.one_hot([[1, 2]], [[5, 0, 0, 0, 0]]), "configuration 5, expected 0 to 1"),
        (lambda: SMALL.one_hot([[1]], [[0] * 5]), "expected .n, 2. and .n, 5."),
        (lambda: SMALL.one_hot([[1, 2]], [[0] * 5] * 2), "1 rows of depths and 2"),
    ],
)
def test_what_fits_no_structure_is_refused(make, message):
    with pytest.raises(InvalidStructure, match=message):
        make()


def test_bad_measurements_are_refused():
    measured = expectations(truth(SMALL))
    with pytest.raises(InvalidMeasurements, match="1 of 15 queries have no value"):
        estimate(SMALL, {query: value for query, value in measured.items() if query != Query(0, 1)})
    with pytest.raises(InvalidMeasurements, match="not finite"):
        estimate(SMALL, measured | {Query(): (float("nan"), None)})
    with pytest.raises(InvalidMeasurements, match="negative"):
        estimate(SMALL, measured | {Query(): (1.0, -1.0)})
    with pytest.raises(InvalidMeasurements, match="standard error of every query"):
        estimate(SMALL, measured, shrink=True)


def test_the_regressor_is_one_of_scikit_learn():
    check_estimator(BilinearRegressor(), on_skip=None)


def test_the_regressor_finds_the_effects_and_gives_its_form(tmp_path):
    true, rng = truth(SMALL), np.random.default_rng(5)
    depths, configs = SMALL.sample(300, rng)
    rows, stages = table(SMALL, depths, configs)
    y = true.predict(depths, configs) + rng.normal(0, 0.01, 300)
    model = BilinearRegressor(stages).fit(rows, y)
    np.testing.assert_allclose(model.predict(rows), true.predict(depths, configs), atol=0.05)
    found = model.estimator()
    np.testing.assert_allclose(found.predict(depths, configs), model.predict(rows), atol=1e-8)
    assert (found.config_errors > 0).all()
    assert found.structure == SMALL
    assert found.base + sum(p.effect for p in model.contributions(rows[0])) == pytest.approx(model.predict(rows[:1])[0])
    model.save(tmp_path / "bilinear")
    means, deviations = load(tmp_path / "bilinear").predict(rows, return_std=True)
    assert (means == model.predict(rows)).all()
    assert (deviations > 0).all()


def test_parts_of_a_configuration_are_learned_before_their_combinations():
    structure, rng = Structure.even(2, 9, (1, 2)), np.random.default_rng(6)
    parts = rng.normal(size=(4, 2, 3))
    depths, configs = structure.sample(400, rng)
    exists = np.array([depths[:, s] > b for s, b in structure.blocks]).T
    kernels, expansions = configs // 3, configs % 3
    y = rng.normal(0, 0.3, 400) + sum(
        exists[:, at] * (parts[at, 0, kernels[:, at]] + parts[at, 1, expansions[:, at]]) for at in range(4)
    )
    beta = structure.one_hot(depths, configs)[1]
    rows = np.hstack([beta, *(np.hstack([np.eye(3)[kernels[:, at]], np.eye(3)[expansions[:, at]]]) for at in range(4))])
    groups = [(tuple(range(4 + 6 * at, 7 + 6 * at)), tuple(range(7 + 6 * at, 10 + 6 * at))) for at in range(4)]
    stages = tuple(StageColumns((1, 2), (2 * s, 2 * s + 1), tuple(groups[2 * s : 2 * s + 2])) for s in range(2))
    one_hot, whole = table(structure, depths, configs)
    factored = BilinearRegressor(stages).fit(rows[:25], y[:25])
    joint = BilinearRegressor(whole).fit(one_hot[:25], y[:25])
    assert kendall(factored.predict(rows[50:]), y[50:]) > kendall(joint.predict(one_hot[50:]), y[50:])
    np.testing.assert_allclose(factored.estimator().predict(depths, configs), factored.predict(rows), atol=1e-8)


def test_columns_beside_the_stages_enter_as_they_are():
    rng = np.random.default_rng(7)
    depths, configs = SMALL.sample(100, rng)
    rows, stages = table(SMALL, depths, configs)
    cost = rng.normal(size=(100, 1))
    model = BilinearRegressor(stages).fit(
        np.hstack([rows, cost]), truth(SMALL).predict(depths, configs) + 3 * cost[:, 0]
    )
    assert model.ridge_.coef_[0] == pytest.approx(3, abs=0.1)
    with pytest.raises(InvalidStructure, match="1 columns that no stage has"):
        model.form()
    with pytest.raises(InvalidStructure, match="used twice"):
        BilinearRegressor((stages[0], stages[0])).fit(rows, depths[:, 0])
