"""AutoPredictor on public tables, beside costs alone and the predictors that peers use, with the goals.

    python benchmarks/bench_predictors.py [--only ofa vit cifar nb201 accel speed] [--draws 10]

Needs the folder that NETWRIGHT_DATA names (or ../shared/data). Kendall's tau on networks that were not used; every
choice (encoder, label map, model, blend) is made on the training networks alone. Peers, on the same features (one-hot,
costs standardised where the table has them): support vector regression with the grid of DyNAS-T, the network of
Once-for-all (three layers of 400), boosted trees (xgboost, depth 3).
"""

import argparse
import ast
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from json_line import REPOSITORY, emit, skip
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from hardware.counts import count
from predictors import AutoPredictor
from predictors.encoders import ENCODERS
from predictors.models.gaussian_process import GaussianProcess
from predictors.models.linear import BayesianRidge
from predictors.rank import kendall, tau_in_bins
from predictors.reading import read, schema_of
from search_spaces import SPACES

Split = tuple[np.ndarray, np.ndarray]
SEED = 100  # of the first draw; the encoders were chosen on other draws


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"ofa": ofa, "cifar": cifar, "nb201": nas_bench_201, "vit": vision_transformers, "accel": accel,
             "speed": speed}  # fmt: skip
    options.add_argument("--only", nargs="+", choices=list(parts), default=list(parts))
    options.add_argument("--draws", type=int, default=10)
    options.add_argument("--no-peers", action="store_true")
    given = options.parse_args()
    folder = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data")
    for name in given.only:
        try:
            parts[name](folder, given.draws, not given.no_peers)
        except FileNotFoundError as error:
            skip(f"predictors.{name}", f"set NETWRIGHT_DATA to the folder with {error.filename}")


def ofa(folder: Path, draws: int, peers: bool) -> None:
    table, labels, first = once_for_all(folder)
    n = len(labels)
    for size, repeats, goal in ((50, draws, None), (100, draws, 0.935), (500, max(draws // 3, 2), 0.96)):
        splits = random_splits(n, size, repeats, 500)
        compare(f"ofa.random_{size}", table, labels, splits, peers, goal=goal, costs=table["MACs"])
    compare(
        "ofa.random_to_evolved", table, labels, [(np.flatnonzero(first), np.flatnonzero(~first))], peers, goal=0.935,
        costs=table["MACs"], note="this part of the data has 50 distinct random networks; the goal was set with 100",
    )  # fmt: skip
    order = np.argsort(labels)
    cut = int(0.7 * n)
    compare("ofa.bottom_to_top", table, labels, [(order[:cut], order[cut:])], peers, goal=0.76, costs=table["MACs"])


def once_for_all(folder: Path) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Distinct networks, the mean of their accuracies, and which are among the first, random 50 of a run."""
    files = sorted((folder / "ofa_mbv3_accuracy").glob("*.csv.gz"))
    if not files:
        raise FileNotFoundError(2, "no such folder", "ofa_mbv3_accuracy")
    runs = [pd.read_csv(file).assign(place=lambda run: np.arange(len(run))) for file in files]
    rows = pd.concat(runs, ignore_index=True)
    rows["key"] = [alive(text) for text in rows["Sub-network"]]
    groups = rows.groupby("key", sort=False)
    one = groups.first()
    table = one[["Sub-network", "MACs", "Model Parameters"]].reset_index(drop=True)
    return table, groups["Top-1 Acc (%)"].mean().to_numpy(), (groups["place"].min() < 50).to_numpy()


def alive(text: str) -> str:
    """A network's text without the choices of blocks that do not exist."""
    settings = ast.literal_eval(text)
    exists = [block < depth for depth in settings["d"] for block in range(4)]
    return str([settings["d"], *([v for v, e in zip(settings[k], exists, strict=True) if e] for k in ("ks", "e"))])


def cifar(folder: Path, draws: int, peers: bool) -> None:
    rows = pd.read_csv(folder / "cifar100_resnet20_channels" / "resnet20_channels_600.csv.gz")
    labels = rows["accuracy"].to_numpy()
    plain = rows[["arch"]]
    space = SPACES["resnet20-channels"]
    counts = [count(space.decode(values), (3, 32, 32), 100) for values in map(channel_values, rows["arch"])]
    costed = plain.assign(macs=[c.macs for c in counts], params=[c.params for c in counts])
    splits = folds(len(labels), 5, 2)
    compare("cifar100_channels.5_fold", plain, labels, splits, peers, goal=0.92, costs=costed["macs"])
    compare("cifar100_channels.5_fold.with_counts", costed, labels, splits, False, goal=0.92, costs=costed["macs"])


def channel_values(text: str) -> dict[str, int]:
    """Knob values of the space from a channel list."""
    space = SPACES["resnet20-channels"]
    return {knob.name: int(width) for knob, width in zip(space.knobs, text.split("-"), strict=False)}


def nas_bench_201(folder: Path, draws: int, peers: bool) -> None:
    rows = pd.read_csv(folder / "nasbench201" / "nb201_cifar10.csv.gz")
    labels = rows["c10_test200_mean"].to_numpy()
    naswot = rows["c10_naswot"].replace(-np.inf, np.nan)
    proxies = rows[["arch"]].assign(params=rows["c10_params_mb"], naswot=naswot.fillna(naswot.min()))
    for size, repeats, goal in ((50, draws, 0.70), (100, draws, 0.78), (400, max(draws // 3, 2), 0.87)):
        splits = random_splits(len(labels), size, repeats, 3_000)
        cost = proxies["params"]
        compare(f"nas_bench_201.{size}", rows[["arch"]], labels, splits, peers, goal=goal, costs=cost)
        compare(f"nas_bench_201.{size}.with_proxies", proxies, labels, splits, False, goal=goal, costs=cost)


def vision_transformers(folder: Path, draws: int, peers: bool) -> None:
    """Mean of the eight tasks; every task has its own predictor, which sees no label of the others."""
    rows = pd.read_csv(folder / "cvpr2022_track2_vit" / "vit_ranks_350.csv.gz")
    tasks = [name for name in rows if name != "arch"]
    found: dict[str, list[float]] = {}
    for train, test in folds(len(rows), 5, 1):
        taus: dict[str, list[float]] = {}
        for task in tasks:
            for name, predicted in predictions(rows[["arch"]], rows[task].to_numpy(float), train, test, peers):
                taus.setdefault(name, []).append(kendall(predicted, rows[task].to_numpy()[test]))
        for name, each in taus.items():
            found.setdefault(name, []).append(float(np.mean(each)))
    for name, values in found.items():
        emit(f"predictors.vit.5_fold.{name}", values, "Kendall tau, mean of 8 tasks", goal=0.79,
             mean=round(float(np.mean(values)), 4), spread=round(float(np.std(values)), 4))  # fmt: skip


def accel(folder: Path, draws: int, peers: bool) -> None:
    rows = pd.read_csv(folder / "accel_nasbench" / "accel_nasbench_80.csv.gz")
    table = rows[[name for name in rows if name.startswith("block") or name in ("macs", "params")]]
    for target, goal in (("val_top1", 0.89), ("throughput_a100", 0.955)):
        known = rows[target].notna().to_numpy()
        labels = rows.loc[known, target].to_numpy()
        part = table[known].reset_index(drop=True)
        compare(f"accel.{target}.5_fold", part, labels, folds(len(labels), 5, 1), peers, goal=goal, costs=part["macs"])


def speed(folder: Path, draws: int, peers: bool) -> None:
    """Fit of 100 x 200, batches of linear and kernel models of a hundred labels, and one network at a time."""
    rng = np.random.default_rng(0)
    features = rng.integers(0, 2, (100, 200)).astype(float)
    labels = features @ rng.standard_normal(200) + rng.standard_normal(100)
    began = time.perf_counter()
    fitted = AutoPredictor().fit(features, labels)
    emit("predictors.speed.fit_100x200", [time.perf_counter() - began], "s", goal=20, cores=os.cpu_count())
    many = rng.integers(0, 2, (200_000, 60)).astype(float)
    for name, model in (("bayesian_ridge", BayesianRidge()), ("gaussian_process", GaussianProcess())):
        model.fit(features[:, :60], labels)
        emit(
            f"predictors.speed.batch.{name}", timed(lambda m=model: m.predict(many), len(many)), "networks/s", goal=2e5
        )
    one = features[:1]
    emit("predictors.speed.auto.one", [1e3 / rate for rate in timed(lambda: fitted.predict(one), 1, 50)], "ms", goal=1)
    batch = features.repeat(200, axis=0)
    emit("predictors.speed.auto.batch", timed(lambda: fitted.predict(batch), len(batch)), "networks/s",
         model=fitted.model_)  # fmt: skip


def timed(work: Callable[[], object], items: int, times: int = 5) -> list[float]:
    """Items a second, of each time."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(items / (time.perf_counter() - began))
    return found


def random_splits(n: int, size: int, repeats: int, tested: int) -> list[Split]:
    orders = [np.random.default_rng(SEED + draw).permutation(n) for draw in range(repeats)]
    return [(order[:size], order[size : size + tested]) for order in orders]


def folds(n: int, count_of_folds: int, repeats: int) -> list[Split]:
    return [split for r in range(repeats)
            for split in KFold(count_of_folds, shuffle=True, random_state=SEED + r).split(np.arange(n))]  # fmt: skip


def compare(  # noqa: PLR0913 - a row of the table
    name: str, table: pd.DataFrame, labels: np.ndarray, splits: Sequence[Split], peers: bool, *,
    goal: float | None, costs: pd.Series, note: str = "",
) -> None:  # fmt: skip
    """One line for each predictor: tau of every split, tau inside cost bins, error, and costs alone."""
    found: dict[str, list[list[float]]] = {}
    for train, test in splits:
        truth, cost = labels[test], costs.to_numpy(float)[test]
        sign = 1 if kendall(costs.to_numpy(float)[train], labels[train]) >= 0 else -1
        found.setdefault("costs_alone", []).append([sign * kendall(cost, truth), np.nan, np.nan])
        for model, predicted in predictions(table, labels, train, test, peers):
            error = float(np.sqrt(np.mean((predicted - truth) ** 2)))
            found.setdefault(model, []).append([kendall(predicted, truth), tau_in_bins(predicted, truth, cost), error])
    for model, rows in found.items():
        taus, bins, errors = (list(column) for column in zip(*rows, strict=True))
        facts: dict[str, object] = {"mean": round(float(np.mean(taus)), 4), "spread": round(float(np.std(taus)), 4)}
        if model != "costs_alone":
            facts |= {"tau_in_cost_bins": round(float(np.mean(bins)), 4), "rmse": float(f"{np.mean(errors):.4g}")}
        emit(f"predictors.{name}.{model}", taus, "Kendall tau", goal=goal, splits=len(splits),
             networks=len(splits[0][0]), **facts, **({"note": note} if note else {}))  # fmt: skip


def predictions(
    table: pd.DataFrame, labels: np.ndarray, train: np.ndarray, test: np.ndarray, peers: bool
) -> list[tuple[str, np.ndarray]]:
    known, asked = table.iloc[train], table.iloc[test]
    ours = AutoPredictor(warn_novel=False).fit(known, labels[train])
    found = [("auto", ours.predict(asked))]
    if peers:
        schema = schema_of(known)
        encoder = ENCODERS["one-hot"]().fit(read(schema, known), schema)
        x, z = (encoder.transform(read(schema, rows)) for rows in (known, asked))
        found += [(name, fit(x, labels[train], z)) for name, fit in PEERS.items()]
    return found


def svr(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    scale, unit = StandardScaler().fit(x), StandardScaler().fit(y[:, None])
    grid = GridSearchCV(
        SVR(gamma="auto", epsilon=0.0), {"C": [1, 3, 10, 30, 100], "gamma": ["auto", 0.001, 0.003]}, cv=5
    )
    grid.fit(scale.transform(x), unit.transform(y[:, None])[:, 0])
    return unit.inverse_transform(grid.predict(scale.transform(z))[:, None])[:, 0]


def mlp(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    unit = StandardScaler().fit(y[:, None])
    net = MLPRegressor(
        hidden_layer_sizes=(400, 400, 400), alpha=1e-4, learning_rate_init=1e-3, max_iter=300, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(x, unit.transform(y[:, None])[:, 0])
    return unit.inverse_transform(net.predict(z)[:, None])[:, 0]


def trees(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    from xgboost import XGBRegressor

    return XGBRegressor(n_estimators=600, max_depth=3, learning_rate=0.05, subsample=0.8, n_jobs=1).fit(x, y).predict(z)


PEERS = {"svr": svr, "mlp_3x400": mlp, "boosted_trees": trees}

if __name__ == "__main__":
    main()
