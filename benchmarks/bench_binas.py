"""How well BINAS's estimator predicts a real supernet's networks, and what paired paths and two workers gain.

    python benchmarks/bench_binas.py SUPERNET [--paths 16] [--random 200] [--seeds 2]

SUPERNET is a folder of ``netwright supernet train``. The labels are losses of random networks of it, none of which was
measured. "paired" is the structured estimator as ``measure_effects`` has it; "unpaired" draws other networks for every
choice, at the same number of networks; "global reference" takes all effects relative to the mean of all networks, as
the released code does; the ridge regressions see as many random networks as were measured. Published for 500 one-shot
networks on ImageNet: Kendall 0.84, Spearman 0.97, Pearson 0.96.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from json_line import emit

from hardware.counts import count
from nas.one_shot.measurement import Paths, families_of, measure_effects, negative_loss
from nas.one_shot.pool import ScorePool
from nas.one_shot.refit import quality, refit
from nas.one_shot.scores import ScoringSettings
from nas.one_shot.structure import SpaceView, structure_of
from nas.train.supernet.file import load_facts
from predictors.models.bilinear_effects import BilinearEstimator, estimate
from predictors.models.bilinear_structure import Query
from predictors.models.kernel_ridge import QuadraticKernelRidge
from predictors.models.linear import Ridge
from search_spaces import load_space


def unpaired(view: SpaceView, pool: ScorePool, paths: int, seed: int) -> dict[Query, tuple[float, float | None]]:
    """The same plan with networks of its own for every choice."""
    found: dict[Query, tuple[float, float | None]] = {}
    base = []
    for at, members in enumerate(families_of(view.structure)):
        for i, query in enumerate(members):
            drawn = view.structure.sample(paths, np.random.default_rng((seed, 0xF4EE, at, i)))
            archs = view.architectures(*view.structure.satisfy(query, *drawn))
            labels = np.array([negative_loss(score) for score in pool.scores(archs)])
            found[query] = (float(labels.mean()), float(labels.std(ddof=1) / np.sqrt(paths)))
            base += labels.tolist() if query.block is None else []
    found[Query()] = (float(np.mean(base)), float(np.std(base, ddof=1) / np.sqrt(len(base))))
    return found


def global_reference(structure, measured) -> BilinearEstimator:  # type: ignore[no-untyped-def]
    """Effects relative to the mean of all networks: a depth counts again with every block measured at it."""
    mean = measured[Query()][0]
    values = {query: value[0] - mean for query, value in measured.items() if query != Query()}
    depths = [value for query, value in values.items() if query.block is None]
    configs = [value for query, value in values.items() if query.block is not None]
    unknown = np.full(len(configs), np.nan)
    return BilinearEstimator(
        structure, mean, np.nan, np.array(depths), unknown[: len(depths)], np.array(configs), unknown
    )


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("supernet", type=Path)
    parser.add_argument("--paths", type=int, default=16)
    parser.add_argument("--random", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--file", type=Path, help="keeps scores, so that a second call is quick")
    asked = parser.parse_args()
    facts = load_facts(asked.supernet)
    view = structure_of(load_space(facts.space))
    settings = ScoringSettings(images=512)
    rows: dict[str, list[tuple[float, float, float, float]]] = {}
    errors: dict[str, list[float]] = {"paired": [], "unpaired": []}
    with ScorePool(asked.supernet, facts.data, settings, file=asked.file) as pool:
        depths, configs = view.structure.sample(asked.random, np.random.default_rng(0x7E57))
        archs = view.architectures(depths, configs)
        labels = np.array([score.score for score in pool.scores(archs)])
        for seed in range(asked.seeds):
            paired = measure_effects(view, pool, Paths(asked.paths, seed))
            apart = unpaired(view, pool, asked.paths, seed)
            rng = np.random.default_rng((seed, 0x7A1))
            seen = view.structure.sample(paired.networks, rng)
            taught = np.array([score.score for score in pool.scores(view.architectures(*seen))])
            one_hot = [np.hstack(view.structure.one_hot(*some)[::-1]) for some in (seen, (depths, configs))]
            plain = estimate(view.structure, apart)
            stages = _stages(view)
            models = {
                "paired": paired.estimator.predict(depths, configs),
                "paired, corrected by 64 networks": refit(
                    paired.estimator, seen[0][:64], seen[1][:64], taught[:64].tolist(), seed=seed
                ).estimator.predict(depths, configs),
                "unpaired": plain.predict(depths, configs),
                "global reference, unpaired": global_reference(view.structure, apart).predict(depths, configs),
                "bilinear ridge on as many networks": Ridge("evidence").fit(one_hot[0], taught).predict(one_hot[1]),
                "stage-separable quadratic on as many": QuadraticKernelRidge(stages=stages)
                .fit(one_hot[0], taught)
                .predict(one_hot[1]),
                "MACs": np.array([float(count(a, facts.input_shape, facts.num_classes).macs) for a in archs]),
            }
            for name, expected in models.items():
                found = quality(np.asarray(expected, np.float64), labels)
                rows.setdefault(name, []).append((found.kendall, found.spearman, found.pearson, found.rmse))
            errors["paired"].append(
                float(
                    np.median(
                        measure_effects(view, pool, Paths(asked.paths, seed, shrink=False)).estimator.config_errors
                    )
                )
            )
            errors["unpaired"].append(float(np.median(estimate(view.structure, apart, shrink=False).config_errors)))
            networks = paired.networks
    for name, found in rows.items():
        table = np.array(found)
        emit(
            f"binas.{name}", table[:, 0].tolist(), "Kendall's tau", spearman=round(float(table[:, 1].mean()), 3),
            pearson=round(float(table[:, 2].mean()), 3),
            rmse=None if name == "MACs" else round(float(table[:, 3].mean()), 5),
            networks_judged=asked.random, networks_measured=networks,
        )  # fmt: skip
    for name, values in errors.items():
        emit(f"binas.standard error of a configuration, {name}", values, "nats", paths=asked.paths)
    workers(asked.supernet, facts.data, settings, view)


def workers(supernet: Path, data: str, settings: ScoringSettings, view: SpaceView) -> None:
    """Networks a second with one worker and with two, after a warm-up that starts them."""
    rates = {}
    for count_of in (1, 2):
        with ScorePool(supernet, data, settings, workers=count_of) as pool:
            for number, size in enumerate((8, 96)):
                drawn = view.structure.sample(size, np.random.default_rng((count_of, number)))
                started = time.perf_counter()
                pool.scores(view.architectures(*drawn))
            rates[count_of] = 96 / (time.perf_counter() - started)
        emit(
            f"binas.networks a second, {count_of} workers",
            [rates[count_of]],
            "1/s",
            ratio=round(rates[count_of] / rates[1], 2),
        )


def _stages(view: SpaceView) -> np.ndarray:
    """The stage of every one-hot column, depths first."""
    structure = view.structure
    depths = [s for s, stage in enumerate(structure.stages) for _ in stage.depths]
    configs = [s for s, b in structure.blocks for _ in range(structure.stages[s].configs[b])]
    return np.array(depths + configs)


if __name__ == "__main__":
    main()
