"""Views are JSON, agree with the run, and refuse what cannot be asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_runs import SHAPE, epoch, finished_run, latency_table, searched, settings

from hardware.conditions import Surroundings
from hardware.device import Device
from hardware.device_store import UnknownDevice, save_device
from hardware.device_table import DeviceTable, KernelRow, NetworkRow
from nas import views
from nas.gates import Gates
from nas.run import Run
from nas.store import FILE_NAME, RunStore
from nas.views.counterfactuals import change_in_words
from nas.views.predictors import _calibration
from search_spaces import SPACES, UnknownSpace
from search_spaces.arch import Architecture, Block


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with Run.open(finished_run(tmp_path_factory.mktemp("runs") / "digits")) as opened:
        yield opened


def strict(view):
    """The same, through JSON that knows no NaN."""
    return json.loads(json.dumps(view, allow_nan=False))


def test_every_view_is_json_as_it_is(run):
    winner = run.events("winner")[0]["id"]
    shown = [views.listing(run), views.overview(run), views.scatter(run), views.pareto(run), views.page(run)]
    shown += [views.candidate(run, winner), views.compare(run, [winner, 0]), views.predictors(run), views.devices()]
    assert all(strict(view) == view for view in shown)


def test_the_overview_says_what_the_run_says(run):
    found, status = views.overview(run), run.status()
    assert found["name"] == "digits"
    assert found["candidates"] == status["candidates"]
    assert found["outcomes"] == status["outcomes"]
    assert found["best"]["score"] == status["best_score"]
    assert found["verification"]["verdict"] == "kept"
    assert found["progress"] == {"done": 600, "asked": 600, "share": 1.0}
    assert [stage["state"] for stage in found["stages"]] == ["done"] * 6
    assert [row["id"] for row in found["finalists"] if row["winner"]] == [found["winner"]["id"]]
    assert {limit["metric"] for limit in found["limits"]} == {"latency_ms", "params"}
    assert len(found["epochs"]) == 30


def test_an_address_of_a_server_is_not_shown(tmp_path: Path):
    facts = {"config": settings(store="postgresql://me@host/db").to_dict(), "task": None}
    RunStore.create(tmp_path / FILE_NAME, facts).close()
    with Run.open(tmp_path) as run:
        assert "me@host" not in json.dumps([views.overview(run), views.listing(run)])


def test_a_run_that_just_began_has_every_view(tmp_path: Path):
    facts = {"config": settings().to_dict(), "task": {"input_shape": list(SHAPE), "num_classes": 10}}
    RunStore.create(tmp_path / FILE_NAME, facts).close()
    with Run.open(tmp_path) as run:
        found = views.overview(run)
        assert (found["candidates"], found["best"], found["feasible_share"]) == (0, None, None)
        assert [stage["state"] for stage in found["stages"]] == ["next"] + ["waiting"] * 5
        assert views.scatter(run)["density"]["counts"] == []
        assert views.pareto(run)["rows"] == []
        assert views.page(run) == {"rows": [], "next": None, "total": 0}
        assert views.predictors(run) == {"latency": None, "accuracy": None}
        with pytest.raises(views.UnknownCandidate, match="candidate 0"):
            views.candidate(run, 0)


def test_a_search_that_goes_on_has_a_rate_and_an_end(tmp_path: Path):
    with searched(tmp_path, settings(search={"evaluations": 1_000}), latency_table()) as store:
        store.record("searched", {"candidates": 1_000, "seconds": 4.0, "complete": True})
    with Run.open(tmp_path) as run:
        assert views.overview(run)["throughput"]["per_second"] == 250
    facts = {"config": settings(search={"evaluations": 1_000}).to_dict(), "task": None}
    with RunStore.create(tmp_path / "half" / FILE_NAME, facts) as store, Run.open(tmp_path) as whole:
        store.append(list(whole.store.results())[:400])
        store.record("searched", {"candidates": 400, "seconds": 2.0, "complete": False})
    with Run.open(tmp_path / "half") as run:
        speed = views.overview(run)["throughput"]
        assert (speed["per_second"], speed["eta_seconds"]) == (200, 3.0)


def test_the_scatter_has_the_front_and_what_is_near(run):
    found, table = views.scatter(run, points=50, bins=8), run.candidates()
    assert [row["id"] for row in found["pareto"]] == run.pareto()["id"].tolist()
    assert len(found["points"]["id"]) == 50
    scores = table.set_index("id")["score"]
    assert found["points"]["y"] == scores[found["points"]["id"]].tolist()
    assert np.array(found["density"]["counts"]).sum() == len(table)
    assert max(len(found["density"]["x_edges"]), len(found["density"]["y_edges"])) <= 9
    assert found["budget"] == 0.2
    assert found == views.scatter(run, points=50, bins=8)


@pytest.mark.parametrize("sort", ["id", "score", "-score", "latency_ms", "params", "-macs"])
def test_pages_give_every_candidate_once_in_order(run, sort):
    seen, after = [], None
    while True:
        found = views.page(run, "scored", sort, 50, after)
        seen += found["rows"]
        after = found["next"]
        if after is None:
            break
    name = sort.removeprefix("-")
    values = [row[name] for row in seen]
    assert len({row["id"] for row in seen}) == len(seen) == found["total"] == run.status()["outcomes"]["scored"]
    assert values == sorted(values, reverse=sort in ("score", "-macs"))


def test_pages_keep_limits(run):
    found = views.page(run, at_most={"latency_ms": 0.13, "params": 5e4}, limit=1_000)
    table = run.candidates(scored_only=False)
    expected = table[(table["latency_upper_ms"] <= 0.13) & (table["params"] <= 5e4)]
    assert [row["id"] for row in found["rows"]] == expected["id"].tolist()
    assert found["total"] == len(expected) > 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"outcome": "good"}, "outcome='good': expected one of scored"),
        ({"sort": "scores"}, "did you mean 'score'"),
        ({"limit": 0}, "limit=0: expected 1 to 1000"),
        ({"limit": 1_001}, "expected 1 to 1000"),
        ({"at_most": {"score": 3.0}}, "score=3.0: expected a limit on one of latency_ms"),
        ({"at_most": {"params": float("nan")}}, "params=nan: expected a finite number"),
    ],
)
def test_wrong_pages_are_refused_in_one_line(run, asked, said):
    with pytest.raises(views.InvalidQuery, match=said.split(":")[0]) as caught:
        views.page(run, **asked)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_candidate_is_whole(run):
    front = run.pareto()
    chosen = int(front["id"].iloc[-1])
    found = views.candidate(run, chosen)
    blocks = found["architecture"]["blocks"]
    assert sum(block["latency_ms"] for block in blocks) == pytest.approx(found["row"]["latency_ms"])
    assert sum(block["params"] for block in blocks) == found["row"]["params"]
    assert blocks[-1]["entropy"] is None
    assert all(block["entropy"] > 0 for block in blocks[:-1])
    assert found["architecture"]["svg"]["wide"].startswith("<svg")
    assert Architecture.from_dict(found["architecture"]["spec"]) == run.architecture(chosen)
    chain = [found["row"]["parent"], *(row["parent"] for row in found["lineage"]["ancestors"])]
    assert chain[:-1] == [row["id"] for row in found["lineage"]["ancestors"]]
    assert chain[-1] is None
    assert found["betters"]["better"] is None  # it is on the front


def test_children_name_their_parent(run):
    table = run.candidates(scored_only=False)
    parent = int(table["parent"].dropna().mode().iloc[0])
    found = views.candidate(run, parent)["lineage"]
    assert found["children_count"] == int((table["parent"] == parent).sum())
    assert all(row["parent"] == parent for row in found["children"])


def test_what_one_change_gives_is_true(run):
    worst = run.candidates().sort_values("score").iloc[len(run.pareto())]
    found = views.candidate(run, int(worst["id"]))
    gates = Gates(SHAPE, 10, run.config.constraints.constraints(), latency_table())
    changes = found["changes"]
    assert changes["better"]
    for kind in ("better", "faster"):
        for change in changes[kind]:
            metrics = gates(Architecture.from_dict(change["spec"]))
            assert not gates.violations(metrics)
            assert metrics["latency_ms"] == change["latency_ms"]
            assert change["score"] > worst["score"] if kind == "better" else change["latency_ms"] < worst["latency_ms"]
    assert found == views.candidate(run, int(worst["id"]))
    better = found["betters"]["better"]
    assert better["score"] > worst["score"]
    assert better["latency_ms"] <= worst["latency_ms"]


def test_a_rejected_candidate_says_what_its_cost_buys(run):
    table = run.candidates(scored_only=False)
    chosen = int(table[table["outcome"] == "rejected"]["id"].iloc[0])
    found = views.candidate(run, chosen)
    assert "over" in found["row"]["reason"]
    assert found["betters"]["faster"] is None
    assert found["betters"]["better"] is None or found["betters"]["better"]["outcome"] == "scored"


def test_changes_in_words():
    a = Architecture((Block("conv", 8), Block("zen_xx", 16, inner=8)))
    b = Architecture((Block("conv", 8), Block("zen_xx", 24, inner=8)))
    longer = Architecture((*a.blocks, Block("conv", 32)))
    assert change_in_words(a, b) == "block 2: channels 16 → 24"
    assert change_in_words(a, longer) == "1 block added at block 3 (conv)"
    assert change_in_words(longer, a) == "1 block removed at block 3 (conv)"
    assert change_in_words(a, a) == "nothing"


def test_comparing_takes_one_to_eight(run):
    assert [c["id"] for c in views.compare(run, [3, 1, 3])["candidates"]] == [3, 1]
    for ids in ([], list(range(9))):
        with pytest.raises(views.InvalidQuery, match="expected 1 to 8"):
            views.compare(run, ids)
    with pytest.raises(views.UnknownCandidate, match="candidate 600: the run has none"):
        views.compare(run, [0, 600])


def test_latency_predictions_are_beside_measurements(run):
    found = views.predictors(run)["latency"]
    measured = {event["id"]: event for event in run.events("measured")}
    assert {point["id"] for point in found["finalists"]} == set(measured)
    for point in found["finalists"]:
        assert point["actual"] == measured[point["id"]]["measurement"]["latency_ms"]
        assert point["upper"] == pytest.approx(1.08 * point["predicted"])
    assert 0 <= found["covered"] <= 1
    assert views.predictors(run)["accuracy"] is None


def test_calibration_counts_labels_inside_their_intervals():
    rng = np.random.default_rng(0)
    truth = rng.normal(0.8, 0.05, 20_000)
    rows = _calibration(np.full(20_000, 0.8), np.full(20_000, 0.05), truth)
    assert all(abs(row["seen"] - row["stated"]) < 0.02 for row in rows)
    assert all(row["seen"] < row["stated"] for row in _calibration(np.full(20_000, 0.8), np.full(20_000, 0.02), truth))


@pytest.mark.slow
def test_accuracy_is_predicted_of_networks_left_out(tmp_path: Path):
    rng = np.random.default_rng(0)
    archs = [SPACES["zen-tiny"].sample(rng) for _ in range(12)]
    with searched(tmp_path, settings(constraints={}, search={"evaluations": 40}), None) as store:
        for i, arch in enumerate(archs):
            top1 = None if i == 11 else 0.5 + 0.03 * len(arch.blocks) + 0.01 * (i % 3)
            event = {"id": i, "top1": top1, "epochs": 4, "failure": None if top1 else "broke", "curve": [epoch(1, 0.5)]}
            store.record("label", {**event, "round": i // 6, "arch": arch.to_dict()})
    with Run.open(tmp_path) as run:
        found = views.predictors(run)["accuracy"]
    assert len(found["labels"]) == 12
    assert [point["id"] for point in found["parity"]] == list(range(11))
    assert all(point["std"] >= 0 and 0 < point["predicted"] < 1.5 for point in found["parity"])
    seen = [row["seen"] for row in found["calibration"]]
    assert seen == sorted(seen)


def test_devices_tell_what_has_drifted(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    network = NetworkRow(SPACES["zen-tiny"].sample(np.random.default_rng(0)), (3, 16, 16), 10, 0.5, 0.49, 0.52)
    kernels = tuple(KernelRow(kernel, 1e-3, 3) for kernel in dict.fromkeys(network.kernels()))
    table = DeviceTable("there", kernels=kernels, networks=(network,), source="test")
    now = Surroundings().conditions(Device(), None)
    save_device(table)
    save_device(replace(table, name="here", device=str(Device()), conditions=now))
    save_device(replace(table, name="once", device=str(Device()), conditions=replace(now, cpu_model="Another CPU")))
    (tmp_path / "devices" / "broken.json").write_text("{")
    rows = {row["name"]: row for row in strict(views.devices())["devices"]}
    assert [rows[name].get("current") for name in ("there", "here", "once")] == [None, True, False]
    assert "cannot be read" in rows["broken"]["problem"]
    assert views.device("here")["drift"] == []
    assert "cpu_model was Another CPU" in views.device("once")["drift"][0]
    assert strict(views.device("there"))["rows"]["kernels"] == len(kernels)
    with pytest.raises(UnknownDevice, match="did you mean 'here'"):
        views.device("heree")


def test_an_estimate_counts_what_keeps_the_limits(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    config = settings(constraints={"params": "20M"}, search={"evaluations": 500})
    found = strict(views.estimate(config))
    assert found["feasible_share"] == found["feasible"] / found["samples"] > 0
    assert found["interval"][0] <= found["feasible_share"] <= found["interval"][1]
    assert found["tightest"]["params"] < 20e6
    assert found["unreachable"] == []
    assert found["seconds"]["total"] == pytest.approx(sum(v for k, v in found["seconds"].items() if k != "total"))


def test_an_estimate_knows_what_cannot_be_kept(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    config = settings(constraints={"params": "100", "latency": "1ms"}, search={"evaluations": 100})
    found = views.estimate(config)
    assert found["unreachable"] == ["params"]
    assert found["feasible"] == 0
    assert any("no latency table of this space yet" in note for note in found["notes"])
    assert found["seconds"]["profile"] == config.latency.profile
    with pytest.raises(UnknownSpace, match="did you mean"):
        views.estimate(settings(space="zen-tinny"))
