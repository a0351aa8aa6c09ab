"""Cascade bagging, step by step, beside weak labels + shift: what helps, in folds that see no label of the test.

    python benchmarks/bench_cascade.py [--repeats 20] [--published 1] [--seeds 5] [--bag 20]

Needs the folder that NETWRIGHT_DATA names (or ../shared/data). First part: cvpr2021_track2, the data of the method's
authors, 31 trained networks and 200 with weak labels; repeated, shuffled 5-fold cross-validation on the 31. tau is
Kendall's of the predictions of one repeat (5 folds put together), the mean over repeats; its interval comes from
drawing the 31 networks anew, which is the uncertainty that counts here. "within folds" compares only networks that
were held out together. `gain` is tau less that of weak labels + shift + ridge, on the same draws. Rows named `leaky`
calibrate with all 31 labels before the folds are made: they show what that mistake looks like.
Second part: data sets with labels enough to see differences; N random networks to learn from, all others to test on
(500 at most), weak labels made of multiply-adds or weights by a straight line through the N labels.
Bags are smaller than the published 100 except in the rows named `published`. About nine minutes of one thread.
"""

import argparse
import ast
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from json_line import REPOSITORY, emit, skip
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import NuSVR

from predictors.models.cascade import CascadeBagging, WeakCascade, WeakShift, WeakShiftRidge, calibrate_labels
from predictors.models.linear import Ridge
from predictors.rank import Counts, draw, interval, kendall, kendall_of

Weak = tuple[np.ndarray, np.ndarray]  # features, labels
FOLDS = 5
BASELINE = "weak_shift.ridge"
TEST = 500
KNOBS = {"ks": (3, 5, 7), "e": (3, 4, 6)}
WEAK = 300


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=20, help="of the 5 folds")
    options.add_argument("--published", type=int, default=1, help="repeats of the rows at the published setting")
    options.add_argument("--seeds", type=int, default=5, help="draws of the second part")
    options.add_argument("--bag", type=int, default=20, help="models of a level where it is not the published 100")
    asked = options.parse_args()
    folder = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data")
    try:
        track_2(folder / "cvpr2021_track2", asked)
    except FileNotFoundError as error:
        skip("cascade.track2", f"set NETWRIGHT_DATA to the folder with {error.filename}")
    for name, load in (("ofa", ofa), ("resnet20", resnet_20)):
        try:
            learning(f"cascade.{name}", *load(folder), asked)
        except FileNotFoundError as error:
            skip(f"cascade.{name}", f"set NETWRIGHT_DATA to the folder with {error.filename}")


def track_2(folder: Path, asked: argparse.Namespace) -> None:
    (x, y), weak = (white_box(folder / name) for name in ("trained_31.csv.gz", "weak_200.csv.gz"))
    splits = (KFold(FOLDS, shuffle=True, random_state=seed).split(x) for seed in range(asked.repeats))
    folds = [[test for _, test in split] for split in splits]
    counts = draw(len(y), seed=0)
    constant = rmse(held_out(WeakShift(regressor=Constant()), x, y, folds), y)
    reference = held_out(WeakShiftRidge(*weak), x, y, folds)
    for name, (model, repeats) in variants(x, y, weak, asked).items():
        said = held_out(model, x, y, folds[:repeats])
        tau = [kendall(one, y) for one in said]
        found = interval(mean_tau(said, y), counts)
        base = mean_tau(reference[:repeats], y)
        gain = interval(lambda drawn, said=said, base=base: mean_tau(said, y)(drawn) - base(drawn), counts)
        within = interval(within_folds(said, y, folds[:repeats]), counts)
        emit(
            f"cascade.track2.{name}",
            tau,
            "tau of one repeat; interval of its median over repeats",
            tau=shown(found),
            within_folds=shown(within),
            gain=shown(gain),
            pearson=round(float(np.mean([np.corrcoef(one, y)[0, 1] for one in said])), 3),
            rmse_points=round(rmse(said, y), 4),
            rmse_of_constant=round(constant, 4),
            networks=len(y),
        )


def variants(x: np.ndarray, y: np.ndarray, weak: Weak, asked: argparse.Namespace) -> dict[str, tuple[Any, int]]:
    """Every row of the table: a regressor that is fitted in each fold, and how many repeats."""
    settings = {"draws": 500, "estimators": asked.bag}
    quiet, noisy = (CascadeBagging(**settings, noise_db=noise, second_estimators=0) for noise in (None, 1.0))
    two = CascadeBagging(**settings, second_estimators=asked.bag)
    one, both = CascadeBagging(draws=500, second_estimators=0), CascadeBagging(draws=500)
    leaky = (weak[0], calibrate_labels(*weak, x, y).labels)  # reads all labels: that is the mistake

    def cascade(regressor: Any, steps: str = "shift", rows: Weak = weak) -> WeakCascade:
        return WeakCascade(*rows, regressor, steps, judge="kernel-ridge", calibration_bag=quiet)

    rows = {
        "real_only.ridge": Ridge(),
        "real_only.nu_svr": nu_svr(),
        "real_only.bag": clone(noisy).set_params(draws=None),
        BASELINE: WeakShiftRidge(*weak),
        "weak_shift.nu_svr": WeakShift(*weak, nu_svr()),
        "bag": cascade(quiet),
        "bag.noise": cascade(noisy),
        "bag.noise.groups": cascade(noisy, "groups"),
        "bag.noise.calibrated": cascade(noisy, "full"),
        "ridge.calibrated": cascade(Ridge(), "full"),
        "bag.noise.two_levels": cascade(two),
        "bag.noise.calibrated.two_levels": cascade(two, "full"),
        "leaky.ridge": WeakShiftRidge(*leaky),
        "leaky.bag.noise": cascade(noisy, rows=leaky),
    }
    slow = {"published.one_level": WeakCascade(*weak, one), "published.two_levels": WeakCascade(*weak, both)}
    return {name: (model, asked.repeats) for name, model in rows.items()} | {
        name: (model, min(asked.published, asked.repeats)) for name, model in slow.items()
    }


class Constant(Ridge):
    """The mean of the training labels."""

    def _fit(self, features: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> None:
        super()._fit(np.zeros_like(features), labels, weights)


def nu_svr() -> Any:
    svr = make_pipeline(StandardScaler(), NuSVR(C=1.0, gamma="scale", tol=5e-3))
    return TransformedTargetRegressor(svr, transformer=StandardScaler())


def held_out(model: Any, x: np.ndarray, y: np.ndarray, folds: list[list[np.ndarray]]) -> np.ndarray:
    """(repeats, n) predictions by models that were fitted without the network's label."""
    said = np.empty((len(folds), len(y)))
    for repeat, parts in enumerate(folds):
        for test in parts:
            train = np.setdiff1d(np.arange(len(y)), test)
            said[repeat, test] = clone(model).fit(x[train], y[train]).predict(x[test])
    return said


def mean_tau(said: np.ndarray, y: np.ndarray) -> Callable[[Counts], np.ndarray]:
    return lambda counts: np.mean([kendall_of(one, y, counts) for one in said], axis=0)


def within_folds(said: np.ndarray, y: np.ndarray, folds: list[list[np.ndarray]]) -> Callable[[Counts], np.ndarray]:
    """Agreeing less disagreeing pairs of networks held out together, over all such pairs of all repeats."""
    truth = np.sign(y[:, None] - y)
    agree, pairs = np.zeros_like(truth), np.zeros_like(truth)
    for one, parts in zip(said, folds, strict=True):
        for test in parts:
            place = np.ix_(test, test)
            agree[place] += (truth * np.sign(one[:, None] - one))[place]
            pairs[place] += (truth**2)[place]
    return lambda counts: ((counts @ agree) * counts).sum(axis=1) / ((counts @ pairs) * counts).sum(axis=1)


def learning(name: str, x: np.ndarray, y: np.ndarray, cost: np.ndarray, asked: argparse.Namespace) -> None:
    """N labels, everything else held out; the same networks for every variant of one seed."""
    for count in (25, 100):
        found: dict[str, list[tuple[float, float]]] = {}
        for seed in range(asked.seeds):
            order = np.random.default_rng(seed).permutation(len(y))
            train, weak = order[:count], order[count : count + WEAK]
            test = order[count + WEAK :][:TEST]
            line = np.polyfit(np.log(cost[train]), y[train], 1)
            models = ladder((x[weak], np.polyval(line, np.log(cost[weak]))), asked.bag)
            for row, model in models.items():
                said = model.fit(x[train], y[train]).predict(x[test])
                found.setdefault(row, []).append((kendall(said, y[test]), rmse(said[None], y[test])))
            alone = np.polyval(line, np.log(cost[test]))
            found.setdefault("cost_only", []).append((kendall(alone, y[test]), rmse(alone[None], y[test])))
        for row, scores in found.items():
            tau, error = np.array(scores).T
            gain = tau - np.array(found["bag"])[:, 0]
            drawn = np.random.default_rng(0).choice(gain, (2000, len(gain))).mean(axis=1)
            low, high = np.quantile(drawn, (0.025, 0.975))
            emit(
                f"{name}.{count}.{row}",
                tau,
                "tau on held-out networks; one value a draw",
                mean=round(float(tau.mean()), 4),
                spread=round(float(tau.std()), 4),
                gain_over_bag=[round(float(value), 4) for value in (gain.mean(), low, high)],
                rmse_points=round(float(error.mean()), 4),
                test=len(test),
                labels=count,
            )


def ladder(weak: Weak, bag: int) -> dict[str, Any]:
    one = {"estimators": bag, "second_estimators": 0, "noise_db": None}
    two = one | {"second_estimators": bag}
    plain = CascadeBagging(**one)
    return {
        "ridge": Ridge(),
        "bag": plain,
        "bag.half_of_the_features": CascadeBagging(**one | {"feature_share": 0.5}),
        "bag.noise": CascadeBagging(**one | {"noise_db": 1.0}),
        "bag.bayesian_ridge": CascadeBagging(**one | {"learner": "bayesian-ridge"}),
        "two_levels": CascadeBagging(**two),
        "two_levels.noise": CascadeBagging(**two | {"noise_db": 1.0}),
        "two_levels.ridge_on_top": CascadeBagging(**two | {"second_learner": "bayesian-ridge"}),
        "weak.shift": WeakCascade(*weak, plain, "shift"),
        "weak.calibrated": WeakCascade(*weak, plain, "full", judge="kernel-ridge", calibration_bag=plain),
        "weak.shift.ridge": WeakShiftRidge(*weak),
    }


def white_box(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Kernel / 7 and expansion / 6 of the 16 layers, and accuracies in points."""
    table = pd.read_csv(path)
    codes = np.array([[int(part) - 1 for part in arch.split("-")] for arch in table["arch"]])
    pairs = np.stack([np.array([3, 5, 7])[codes // 2] / 7, np.array([3, 6])[codes % 2] / 6], axis=2)
    return pairs.reshape(len(table), -1), 100 * table["accuracy"].to_numpy()


def ofa(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One-hot kernels and expansions of blocks that exist; distinct networks of all three files."""
    files = ("evoga_acc", "evonsga2_acc_macs", "evounsga3_acc_macs_params")
    tables = [pd.read_csv(folder / "ofa_mbv3_accuracy" / f"{name}.csv.gz") for name in files]
    table = pd.concat(tables).drop_duplicates("Sub-network")
    rows = []
    for text in table["Sub-network"]:
        net = ast.literal_eval(text)
        there = (np.arange(4) < np.array(net["d"])[:, None]).ravel()
        kernels, expansions = (np.array(net[key])[:, None] == KNOBS[key] for key in KNOBS)
        rows.append((np.hstack([kernels, expansions]) & there[:, None]).ravel())
    return np.array(rows, float), table["Top-1 Acc (%)"].to_numpy(), table["MACs"].to_numpy(float)


def resnet_20(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log widths of 19 convolutions; the cost is their weights."""
    table = pd.read_csv(folder / "cifar100_resnet20_channels" / "resnet20_channels_600.csv.gz")
    widths = np.array([[int(part) for part in arch.split("-")][:19] for arch in table["arch"]], float)
    weights = (9 * widths * np.hstack([np.full((len(widths), 1), 3.0), widths[:, :-1]])).sum(axis=1)
    return np.log2(widths), 100 * table["accuracy"].to_numpy(), weights


def rmse(said: np.ndarray, y: np.ndarray) -> float:
    return float(np.sqrt(np.mean((said - y) ** 2)))


def shown(estimate: Any) -> list[float]:
    return [round(value, 3) for value in (estimate.value, estimate.low, estimate.high)]


if __name__ == "__main__":
    main()
