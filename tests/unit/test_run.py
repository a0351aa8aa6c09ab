"""Reading a run: what its rows, fronts and best candidates are."""

import json
from pathlib import Path

import numpy as np
import pytest

from nas.config import Config
from nas.records import Candidate, Failure, Success
from nas.run import NothingFeasible, Run, UnknownMetric, cost_metric, new_directory
from nas.store import FILE_NAME, RunFileError, RunStore
from search_spaces.arch import Architecture, Block

ROWS = [  # score, latency, upper, params
    (1.0, 1.0, 1.2, 500),
    (3.0, 2.0, 2.4, 300),
    (2.0, 3.0, 3.6, 900),
    (3.0, 2.0, 2.4, 300),
    (9.0, 5.0, 6.0, 800),
]


def arch(i):
    return Architecture((Block("conv", 8 + i),))


def write(path, *, latency=True, failures=True, events=()):
    with RunStore.create(path, {"config": Config(seed=3).to_dict()}) as store:
        for i, (score, mean, upper, params) in enumerate(ROWS):
            metrics = {"score": score, "params": params, "macs": params * 10, "depth": 2}
            metrics |= {"latency_ms": mean, "latency_upper_ms": upper} if latency else {}
            store.append([Success(Candidate(i, arch(i)), metrics)])
        if failures:
            store.append([Failure(Candidate(5, arch(5), 1, {"params": 7}), "rejected", "params", 0.5)])
            store.append([Failure(Candidate(6, arch(0), 1), "duplicate", "same design as candidate 0")])
        store.commit()
        for kind, payload in events:
            store.record(kind, payload)
    return path.parent


@pytest.fixture
def run(tmp_path):
    with Run.open(write(tmp_path / FILE_NAME)) as opened:
        yield opened


def test_candidates_are_a_table_in_the_order_of_the_search(run):
    table = run.candidates()
    assert list(table["id"]) == [0, 1, 2, 3, 4]
    assert table["params"].dtype == "Int64"
    every = run.candidates(scored_only=False)
    assert list(every["id"]) == list(range(7))
    assert list(every["outcome"])[5:] == ["rejected", "duplicate"]
    assert every["parent"].isna().sum() == 5


def test_the_front_is_sorted_by_cost_and_a_part_of_the_candidates(run):
    front = run.pareto()
    assert list(front["id"]) == [0, 1, 4]
    assert list(front.columns) == list(run.candidates().columns)
    merged = front.merge(run.candidates(), how="left", indicator=True)
    assert (merged["_merge"] == "both").all()


def test_without_latency_the_front_is_over_macs(tmp_path):
    with Run.open(write(tmp_path / FILE_NAME, latency=False)) as run:
        assert cost_metric(run.candidates()) == "macs"
        assert list(run.pareto()["id"]) == [1, 4]
        with pytest.raises(UnknownMetric, match=r"no candidate has 'latency_ms', known: .*params") as caught:
            run.best(latency_ms=2.0)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("limit", [{"macs": "1M"}, {"macs": None}, {"macs": float("nan")}, {"score": 20}])
def test_a_limit_that_is_no_cost_or_no_number_is_named(run, limit):
    with pytest.raises(UnknownMetric, match="expected a cost and a finite number"):
        run.best(**limit)


def test_the_best_keeps_further_limits(run):
    assert run.best()["id"] == 4
    best = run.best(latency_ms=2.4)  # held by the upper bound; of two equal scores the earlier
    assert (best["id"], best["score"], best["arch"]) == (1, 3.0, arch(1))
    assert run.best(latency_ms=2.39)["id"] == 0
    assert run.best(latency_ms=5.0, params=600)["id"] == 1
    assert json.dumps({key: value for key, value in best.items() if key != "arch"})
    assert not any(isinstance(value, np.generic) for value in best.values())


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"latency_ms": 1.0}, "none has latency_ms of at most 1; the smallest has 1.2"),
        ({"params": 200}, "none has params of at most 200; the smallest has 300"),
        ({"latency_ms": 1.3, "params": 300}, "no candidate keeps all of"),
    ],
)
def test_limits_that_nothing_keeps_name_the_tightest(run, limits, said):
    with pytest.raises(NothingFeasible, match=said):
        run.best(**limits)


@pytest.mark.parametrize("metric", ["top1", "digest", "outcome", "peak_memory_bytes"])
def test_a_limit_on_what_is_no_metric_is_refused(run, metric):
    with pytest.raises(UnknownMetric, match=f"{metric!r}, known: "):
        run.best(**{metric: 1.0})


def test_a_run_without_scores_is_readable(tmp_path):
    RunStore.create(tmp_path / FILE_NAME, {"config": Config().to_dict()}).close()
    with Run.open(tmp_path) as run:
        assert run.candidates().empty
        assert run.pareto().empty
        assert run.status() == {
            "run": str(tmp_path), "candidates": 0, "outcomes": {}, "best_score": None, "stages": [], "finished": False,
        }  # fmt: skip
        assert run.summary() is None
        with pytest.raises(NothingFeasible, match="no candidate was scored"):
            run.best()


def test_status_and_summary_tell_how_far_it_is(tmp_path):
    events = [("searched", {"candidates": 7}), ("measured", {"id": 1}), ("measured", {"id": 4})]
    path = write(tmp_path / FILE_NAME, events=[*events, ("finished", {"summary": {"verdict": "kept"}})])
    with Run.open(path / FILE_NAME) as run:  # the file itself is as good as its folder
        status = run.status()
        assert status["candidates"] == 7
        assert status["outcomes"] == {"scored": 5, "rejected": 1, "duplicate": 1}
        assert (status["best_score"], status["finished"]) == (9.0, True)
        assert status["stages"] == ["searched", "measured", "finished"]
        assert run.summary() == {"verdict": "kept"}
        assert [event["id"] for event in run.events("measured")] == [1, 4]
        assert run.config == Config(seed=3)


def test_one_candidate_by_its_number(run):
    assert run.architecture(2) == arch(2)
    assert run.result(2)["outcome"] == "scored"
    assert run.result(5) == {"outcome": "rejected", "reason": "params", "params": 7}
    for read in (run.architecture, run.result):
        with pytest.raises(RunFileError, match="no candidate 99"):
            read(99)


def test_a_folder_without_a_run_is_one_line(tmp_path):
    with pytest.raises(RunFileError, match=r"no run\.sqlite there"):
        Run.open(tmp_path)


def test_a_run_without_a_place_gets_one_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = new_directory("/data/my images.npz")
    assert first.parent == Path("runs")
    assert first.name.startswith("my-images-20")
    seen = set()
    for data in ("digits", "digits", "digits", "module:function", "..."):
        path = new_directory(data)
        path.mkdir(parents=True)
        seen.add(path)
    assert len(seen) == 5
