"""What is known of all candidates is the same whether it is read at once or while the run grows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from report_runs import large_run, searched, settings

from nas.pareto import pareto_front
from nas.report.facts import gather
from nas.run import Run
from nas.store import FILE_NAME, RunStore
from nas.store import sampling as store_sampling
from nas.views.density import CELLS, Density
from nas.views.digest import Digest, digest_of, limit_names
from nas.views.nearest import EACH, Nearest

POINTS = arrays(
    np.float64, st.tuples(st.integers(1, 60), st.just(2)), elements=st.floats(-1e6, 1e6).map(lambda v: round(v, 6))
)


def same(a, b):
    return all(np.array_equal(np.asarray(a[key]), np.asarray(b[key])) for key in ("x_edges", "y_edges", "counts"))


@given(points=POINTS, cut=st.integers(0, 60), bins=st.integers(4, 64))
def test_a_density_counts_every_point_once_in_any_order(points, cut, bins):
    whole, parts = Density(), Density()
    whole.add(points[:, 0], points[:, 1])
    for part in (points[cut:], points[:cut]):
        parts.add(part[:, 0], part[:, 1])
    found = whole.shown(bins)
    assert same(found, parts.shown(bins))
    counts = np.asarray(found["counts"])
    assert counts.sum() == len(points)
    assert max(counts.shape) <= bins <= CELLS
    expected, _, _ = np.histogram2d(points[:, 0], points[:, 1], [found["x_edges"], found["y_edges"]])
    assert expected.sum() == len(points)
    assert (np.diff(found["x_edges"]) > 0).all()


@given(points=POINTS, cut=st.integers(0, 60))
def test_the_nearest_are_the_highest_of_their_slice(points, cut):
    rows = np.column_stack([np.arange(len(points)), points])
    whole, parts = Nearest(), Nearest()
    whole.add(rows)
    for part in (rows[cut:], rows[:cut]):
        parts.add(part)
    found = whole.best(10_000)
    assert np.array_equal(found, parts.best(10_000))
    assert found[:, 2].max() == points[:, 1].max()
    slices = Counter(np.floor(points[:, 0] / whole._step).tolist())
    assert len(found) == sum(min(EACH, count) for count in slices.values())
    assert len(whole.best(3)) == min(3, len(points))


def test_a_digest_agrees_with_the_report(tmp_path: Path):
    large_run(tmp_path, 3_000)
    with Run.open(tmp_path) as run:
        facts, digest = gather(run).candidates, digest_of(run)
        assert digest.last == 2_999
        assert digest.outcomes == run.store.outcomes()
        assert {name: n for name, n in digest.limits.items() if n} == dict(facts.limits)
        assert digest.front.ids == facts.ids[facts.front].tolist()
        assert digest.best[0] == np.nanmax(facts.score)
        assert np.asarray(digest.density.shown(64)["counts"]).sum() == facts.counts()["scored"]
        assert [score for _, score in digest.improvements] == sorted({score for _, score in digest.improvements})


def test_a_digest_grows_with_its_run(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(store_sampling, "CHUNK", 97)
    whole, grown = tmp_path / "whole", tmp_path / "grown"
    large_run(whole, 1_000)
    with Run.open(whole) as run:
        results = list(run.store.results())
        expected = digest_of(run)
        facts = {name: run.store.fact(name) for name in ("config", "task")}
        limits = limit_names(run)
    with RunStore.create(grown / FILE_NAME, facts) as store:
        digest = Digest(limits)
        for at in range(0, 1_000, 130):
            store.append(results[at : at + 130])
            store.commit()
            with Run.open(grown) as reader:
                digest.keep_up(reader)
    for name in ("last", "outcomes", "limits", "front", "best", "improvements", "cost"):
        assert getattr(digest, name) == getattr(expected, name)
    assert same(digest.density.shown(64), expected.density.shown(64))
    assert np.array_equal(digest.nearest.best(500), expected.nearest.best(500))
    assert digest.rate() > 0


def test_another_run_in_the_same_place_is_another_digest(tmp_path: Path):
    for evaluations in (120, 60):
        config = settings(constraints={}, search={"evaluations": evaluations})
        searched(tmp_path / "run", config, None).close()
        with Run.open(tmp_path / "run") as run:
            assert digest_of(run).last == evaluations - 1
        for file in (tmp_path / "run").iterdir():
            file.unlink()


def test_without_latencies_the_cost_is_macs(tmp_path: Path):
    config = settings(constraints={"params": "300k"}, search={"evaluations": 80})
    searched(tmp_path, config, None).close()
    with Run.open(tmp_path) as run:
        digest = digest_of(run)
        table = run.candidates()
        costs = np.column_stack([table["macs"].to_numpy(float), -table["score"].to_numpy(float)])
        assert digest.cost == "macs"
        assert digest.front.ids == table["id"].to_numpy()[pareto_front(costs)].tolist()
