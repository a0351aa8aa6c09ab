"""``netwright fit``, ``predict`` and ``predictor``: what they find, what they leave out, what they say of bad input."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from nas.cli.fit import fit
from nas.cli.predict import predict
from nas.cli.predictor import predictor
from nas.fitting import Asked, fit_table, predict_table
from nas.fitting.alike import alike
from nas.fitting.gaps import InvalidColumns
from nas.fitting.learner import InvalidModel, Learner
from nas.fitting.predictor_file import read_facts, read_predictor, write_predictor
from nas.fitting.table import Columns, InvalidTarget, labelled_table
from nas.fitting.words import verdict_of
from predictors import PREDICTORS, AutoPredictor, load, save
from predictors.evaluation import TooFewRows
from predictors.rank import Estimate
from predictors.saving import InvalidPredictorFile
from predictors.schema import UnseenChoice

KERNELS, WIDTHS = (3, 5, 7), (16, 24, 32, 48)
RIDGE = Learner("ridge")


def networks(n=60, seed=0):
    """Kernels help a little, widths more; params knows the widths alone."""
    rng = np.random.default_rng(seed)
    kernels, widths = rng.choice(KERNELS, (n, 3)), rng.choice(WIDTHS, (n, 3))
    top1 = 60 + 0.8 * kernels.sum(axis=1) + 4 * np.log2(widths).sum(axis=1) + rng.normal(0, 0.3, n)
    columns = {f"block{i}_k": kernels[:, i] for i in range(3)} | {f"block{i}_w": widths[:, i] for i in range(3)}
    return pd.DataFrame({**columns, "params": (widths**2).sum(axis=1) * 9, "top1": top1})


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("fit") / "table.csv"
    networks().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def saved(table):
    out = table.with_name("top1.predictor")
    ended = run(fit, table, "--target", "top1", "--model", "ridge", "--out", out, "--json", "-q")
    return out, json.loads(ended.stdout)


def run(command, *args):
    return CliRunner().invoke(command, [str(arg) for arg in args], catch_exceptions=False)


def failure(command, *args):
    return str(CliRunner().invoke(command, [str(arg) for arg in args]).exception)


def ridge(frame, **columns):
    return fit_table(frame, Asked(Columns("top1", **columns), RIDGE))


def test_one_json_object_with_the_stable_keys(saved):
    _, found = saved
    for name in ("kendall", "spearman", "rmse", "baseline_kendall"):
        assert isinstance(found[name], float)
        low, high = found[f"{name}_interval"]
        assert low <= found[name] <= high
    assert (found["model"], found["encoder"], found["label_map"]) == ("ridge", "one-hot", "identity")
    assert (found["baseline"], found["baseline_is_cost"]) == ("params", True)
    assert (found["rows"], found["networks"], found["folds"], found["repeats"]) == (60, 60, 5, 1)
    assert found["kendall"] > 0.8 > found["baseline_kendall"] > 0.4
    assert found["verdict"].startswith("ranks better than params alone by")
    assert found["noise_ceiling"] is None
    assert 0.75 <= found["coverage"] <= 1
    assert found["tau_in_cost_bins"] > 0.5
    assert found["top_k_regret"] >= 0
    assert found["seconds"] > 0
    assert len(found["chosen_in_folds"]) == 5


def test_labels_without_a_pattern_are_said_to_be_no_better_than_chance():
    frame = networks()
    frame["top1"] = np.random.default_rng(1).permutation(frame["top1"])
    found = ridge(frame).facts
    assert abs(found["kendall"]) < 0.35
    assert found["verdict"].startswith(("not shown to rank better than chance", "no better", "not shown"))


def test_the_same_seed_gives_the_same_figures_and_another_does_not():
    one, again = (ridge(networks()).facts for _ in range(2))
    other = fit_table(networks(), Asked(Columns("top1"), Learner("ridge", seed=1))).facts
    assert {**one, "seconds": 0, "leaderboard": 0} == {**again, "seconds": 0, "leaderboard": 0}
    assert other["rmse"] != one["rmse"]


def test_auto_chooses_and_names_what_it_chose():
    found = fit_table(networks(32), Asked(Columns("top1"), Learner(time_limit=0.2), folds=2))
    assert isinstance(found.predictor, AutoPredictor)
    assert found.facts["kendall"] > 0.5
    assert found.facts["leaderboard"]
    assert found.facts["model"]
    assert "chosen anew on each training part" in found.facts["evaluated"]


@pytest.mark.slow
def test_processes_find_what_one_finds():
    asked = [Asked(Columns("top1"), RIDGE, folds=3, workers=workers) for workers in (1, 2)]
    alone, several = (fit_table(networks(240), each).facts for each in asked)
    assert alone["kendall"] == several["kendall"]


@pytest.mark.parametrize(
    "name", [name for name in PREDICTORS if name not in ("auto", "ranking-net", "cascade-bagging", "boosted-stumps")]
)
def test_every_predictor_can_be_named(name):
    found = fit_table(networks(40), Asked(Columns("top1"), Learner(name), folds=2)).facts
    assert found["model"] == name
    assert found["kendall"] > 0.3


def test_an_encoder_can_be_chosen_for_a_named_model():
    found = fit_table(networks(), Asked(Columns("top1"), Learner("ridge", "widths"))).facts
    assert found["encoder"] == "widths"


def test_structures_in_one_column_have_sums_of_choices_as_the_baseline():
    frame = networks()
    texts = frame[[f"block{i}_w" for i in range(3)]].astype(str).agg("-".join, axis=1)
    found = ridge(pd.DataFrame({"arch": texts, "top1": frame["top1"]})).facts
    assert (found["baseline"], found["baseline_is_cost"]) == ("sum of arch[#]", False)
    assert found["tau_in_cost_bins"] is None


def test_lower_is_better_changes_regret_alone():
    frame = networks()
    up = ridge(frame)
    down = fit_table(frame.assign(top1=-frame["top1"]), Asked(Columns("top1"), RIDGE, lower_is_better=True))
    for name in ("kendall", "rmse", "coverage", "top_k_regret"):
        assert down.facts[name] == pytest.approx(up.facts[name], abs=1e-6)
    assert [-value for value in down.plots["parity"]["label"][::-1]] == pytest.approx(up.plots["parity"]["label"])
    low, high = down.plots["parity"]["low"], down.plots["parity"]["high"]
    assert all(a <= b for a, b in zip(low, high, strict=True))


def test_networks_with_several_labels_stay_together_and_give_a_ceiling():
    frame = networks(30)
    twice = pd.concat([frame, frame.assign(top1=frame["top1"] + np.random.default_rng(3).normal(0, 2, 30))])
    found = ridge(twice).facts
    assert (found["rows"], found["networks"], found["repeated_networks"]) == (60, 30, 30)
    assert 0.5 < found["noise_ceiling"] < 1
    named = ridge(twice.assign(name=[*range(30)] * 2, params=range(60)), group="name").facts
    assert named["networks"] == 30


def test_weights_of_zero_leave_rows_out():
    frame = networks().assign(trust=1.0)
    frame.loc[50:, ["top1", "trust"]] = [0.0, 0.0]
    assert ridge(frame, weights="trust").facts["rows"] == 50


def test_a_rare_choice_does_not_stop_the_evaluation():
    frame = networks()
    frame.loc[0, "block0_k"] = 9
    assert ridge(frame).facts["kendall"] > 0.7


# --- columns that are labels themselves


def test_other_labels_are_left_out_by_their_names_and_suspected_by_their_order():
    frame = networks()
    noise = np.random.default_rng(0).normal(0, 0.01, len(frame))
    frame = frame.assign(top5=frame["top1"] + noise, val_loss=noise, twin=frame["top1"] * 2 + noise)
    found = ridge(frame)
    assert set(found.facts["dropped"]) == {"top5", "val_loss"}
    assert "known only after training" in found.facts["dropped"]["top5"]
    assert any("'twin' ranks as the target does (tau" in text and "--drop" in text for text in found.warnings)
    asked = ridge(frame, features=("top5", "block0_k"))
    assert asked.facts["features"] == ["top5", "block0_k"]
    assert asked.facts["baseline"] == "params"


@pytest.mark.parametrize(
    ("target", "column", "is_label"),
    [
        ("cplfw_rank", "market1501_rank", True),
        ("acc0", "acc1", True),
        ("val_108", "val_12", True),
        ("c10_test200_mean", "c10_naswot", False),
        ("val_accuracy", "params", False),
        ("val_accuracy", "synflow", False),
        ("latency_ms", "ValAcc", True),
        ("y", "val_acc", False),
        ("x3", "x1", False),
    ],
)
def test_which_names_are_those_of_labels(target, column, is_label):
    rng = np.random.default_rng(0)
    labelled, suspected = alike(target, rng.normal(size=50), {column: rng.normal(size=50)})
    assert (column in labelled) == is_label
    assert not suspected


def test_columns_of_numbers_with_gaps_are_left_out_or_refused_where_asked_for():
    frame = networks().assign(naswot=1.5)
    frame["naswot"] += np.arange(60)
    frame.loc[7, "naswot"] = -np.inf
    assert ridge(frame).facts["dropped"]["naswot"] == "-inf in 1 of 60 rows"
    with pytest.raises(InvalidColumns, match="line 9 is -inf"):
        ridge(frame, features=("naswot", "block0_k"))
    frame.loc[7, "naswot"] = np.nan
    assert ridge(frame).facts["dropped"]["naswot"] == "missing in 1 of 60 rows"


def test_a_number_that_stands_for_a_failure_is_pointed_at():
    frame = networks().assign(jacov=np.linspace(-40, -30, 60))
    frame.loc[11, "jacov"] = -1e8
    found = labelled_table(frame, Columns("top1"))
    assert found.warnings[0].startswith("column 'jacov' is -1e+08 in line 13, far from all others")
    assert labelled_table(networks(), Columns("top1")).warnings == ()


def test_a_choice_that_is_missing_does_not_exist():
    frame = networks()
    frame["block2_k"] = frame["block2_k"].where(frame.index % 3 > 0)
    found = ridge(frame)
    assert found.facts["dropped"] == {}
    assert found.facts["kendall"] > 0.7


# --- bad input


@pytest.mark.parametrize(
    ("columns", "error", "said"),
    [
        ({"target": "top"}, InvalidColumns, "did you mean 'top1'"),
        ({"target": "top1", "drop": ("parms",)}, InvalidColumns, "did you mean 'params'"),
        ({"target": "top1", "features": ("top1", "params")}, InvalidColumns, "that is the target"),
        ({"target": "top1", "costs": ("name",)}, InvalidColumns, "holds text, expected numbers"),
        ({"target": "name"}, InvalidTarget, "line 2 holds 'net-0', expected numbers"),
        ({"target": "same"}, InvalidTarget, "all 60 labels are 1"),
        ({"target": "holes"}, InvalidTarget, r"line 5 of the file is missing \(2 of 60"),
        ({"target": "endless"}, InvalidTarget, "line 6 of the file is inf"),
        ({"target": "top1", "weights": "minus"}, InvalidColumns, "line 2 is no finite number of at least 0"),
    ],
)
def test_bad_columns_are_named_with_their_lines(columns, error, said):
    frame = networks().assign(name=[f"net-{i}" for i in range(60)], same=1.0, holes=1.5, endless=2.5, minus=-1.0)
    frame.loc[[3, 9], "holes"] = np.nan
    frame.loc[4, "endless"] = np.inf
    with pytest.raises(error, match=said):
        labelled_table(frame, Columns(**columns))


def test_fewer_networks_than_folds():
    with pytest.raises(TooFewRows, match="4 labelled networks for 5 folds"):
        ridge(networks(4))


@pytest.mark.parametrize(
    ("model", "encoder", "said"),
    [
        ("rigde", None, "expected one of auto, ridge"),
        ("ridge", "onehot", "expected one of one-hot"),
        ("auto", "one-hot", "chooses its own"),
    ],
)
def test_unknown_models_and_encoders(model, encoder, said):
    with pytest.raises(InvalidModel, match=said):
        Learner(model, encoder)


def test_files_that_are_no_tables_and_no_predictors(tmp_path, table):
    assert "no such file" in failure(fit, tmp_path / "none.csv", "--target", "top1")
    assert "no such file" in failure(predict, tmp_path / "none", table)
    assert "not a predictor" in failure(predict, table, table)
    assert "name the labels with --target" in run(predictor, "report", table, "--out", tmp_path / "a.html").output
    save(load_ridge(), tmp_path / "plain")
    assert "which reads encoded features" in failure(predict, tmp_path / "plain", table)
    assert "without the facts of a fit" in failure(
        predictor, "report", tmp_path / "plain", "--out", tmp_path / "a.html"
    )


def load_ridge():
    from predictors.models.linear import Ridge

    return Ridge().fit(np.arange(10.0)[:, None], np.arange(10.0))


def test_a_file_of_another_version_says_so(saved, tmp_path):
    import zipfile

    old = tmp_path / "old.predictor"
    with zipfile.ZipFile(saved[0]) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "netwright.json":
                data = json.dumps({"format": "netwright predictor", "version": 0}).encode()
            target.writestr(name, data)
    with pytest.raises(InvalidPredictorFile, match="version 0"):
        read_predictor(old)


# --- the file and predictions


def test_the_file_predicts_as_the_fitted_one_and_python_loads_it(saved, tmp_path):
    frame = networks(20, seed=5)
    fitted = ridge(networks())
    path = tmp_path / "sub" / "a.predictor"
    write_predictor(fitted, path)
    assert list(path.parent.iterdir()) == [path]
    data = frame[fitted.facts["features"]]
    assert np.array_equal(load(path).predict(data), fitted.predictor.predict(data))
    facts, plots = read_facts(path)
    assert facts == json.loads(json.dumps(fitted.facts))
    assert plots["parity"]["drawn"] == 60


def test_predictions_come_with_intervals_and_bounds_and_other_columns_are_ignored(saved):
    frame = networks(200, seed=5).assign(note="x")
    found = predict_table(read_predictor(saved[0]), frame)
    assert found.ignored == ("top1", "note")
    rows, truth = found.rows, frame["top1"]
    assert ((rows.predicted_low <= truth) & (truth <= rows.predicted_high)).mean() > 0.8
    assert (rows.predicted_bound <= truth).mean() > 0.8
    assert (rows.predicted_bound > rows.predicted_low).all()
    upper = predict_table(read_predictor(saved[0]), frame, lower_is_better=True).rows
    assert (upper.predicted_bound >= truth).mean() > 0.8
    assert rows["outside"].mean() < 0.2
    wide = predict_table(read_predictor(saved[0]), frame, coverage=0.95).rows
    assert (wide.predicted_high > rows.predicted_high).all()


def test_networks_of_another_kind_are_said_to_be_unknown(saved):
    odd = networks(30, seed=6).assign(block0_k=3, block1_k=3, block2_k=3, block0_w=16, block1_w=16, block2_w=16)
    found = predict_table(read_predictor(saved[0]), odd.assign(params=10_000_000))
    assert found.rows["outside"].all()
    assert "30 of 30 networks lie outside" in found.warnings[0]


def test_what_the_predictor_cannot_read_is_named(saved):
    predictor_ = read_predictor(saved[0])
    with pytest.raises(
        InvalidColumns, match="no column 'block0_k', which the predictor needs; did you mean 'block0_kernel'"
    ):
        predict_table(predictor_, networks(5).rename(columns={"block0_k": "block0_kernel"}))
    with pytest.raises(UnseenChoice, match="column 'block0_k': 11"):
        predict_table(predictor_, networks(5).assign(block0_k=11))


def test_few_labels_predict_without_intervals():
    fitted = fit_table(networks(6), Asked(Columns("top1"), RIDGE, folds=2))
    found = predict_table(fitted.predictor, networks(3))
    assert found.rows["predicted_low"].isna().all()
    assert any("no intervals" in text for text in found.warnings)


def test_predict_prints_csv_json_or_a_file_and_the_best_first(saved, table, tmp_path):
    printed = pd.read_csv(__import__("io").StringIO(run(predict, saved[0], table).stdout))
    assert len(printed) == 60
    best = json.loads(run(predict, saved[0], table, "--top", 3, "--json").stdout)
    expected = printed["predicted"].sort_values(ascending=False).head(3)
    assert [row["row"] for row in best["predictions"]] == expected.index.tolist()
    assert (best["networks"], best["coverage"], best["target"]) == (60, 0.9, "top1")
    ended = run(predict, saved[0], table, "--out", tmp_path / "out.csv")
    assert ended.stdout == ""
    assert "60 networks" in ended.stderr
    assert list(pd.read_csv(tmp_path / "out.csv"))[-6:] == list(printed)[-6:]


def test_people_get_a_short_table(table):
    said = run(fit, table, "--target", "top1", "--model", "ridge", "-q").stdout
    assert "Kendall's tau" in said
    assert "verdict    ranks better than params alone by" in said
    assert max(map(len, said.splitlines())) < 220


def test_what_there_is_to_choose_from():
    found = json.loads(run(predictor, "ls", "--json").stdout)
    assert [row["name"] for row in found["predictors"]] == list(PREDICTORS)
    assert all(row["what"] for rows in found.values() for row in rows)
    assert "one-hot" in run(predictor, "ls").stdout


class Found:
    networks, baseline = 31, "params"

    def __init__(self, kendall, gain):
        self.kendall, self.kendall_gain = Estimate(*kendall), Estimate(*gain)


@pytest.mark.parametrize(
    ("kendall", "gain", "said"),
    [
        ((0.6, 0.4, 0.7), (0.12, 0.05, 0.19), "ranks better than params alone by 0.12 [0.05, 0.19]"),
        ((0.6, 0.4, 0.7), (0.0, -0.03, 0.02), "no better than params alone"),
        ((0.6, 0.4, 0.7), (0.1, -0.1, 0.3), "not shown to rank better than params alone: difference 0.10"),
        ((0.3, 0.1, 0.5), (-0.2, -0.3, -0.1), "ranks worse than params alone by 0.20 [0.10, 0.30]"),
        ((0.2, -0.1, 0.5), (0.4, 0.1, 0.6), "not shown to rank better than chance"),
    ],
)
def test_verdicts_follow_from_the_intervals(kendall, gain, said):
    assert verdict_of(Found(kendall, gain), True).startswith(said)
