"""``netwright search --score predictor`` on real digits: labels, search, delivery, and kill -9 at any moment."""

import json
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from commands import until

from nas.job.task import Task
from nas.run import Run
from nas.store import FILE_NAME, RunFileError

SETTINGS = (
    "--data", "digits", "--score", "predictor", "--labels", "10", "--params", "30k", "--macs", "600k",
    "--evaluations", "120", "--epochs", "1", "--seed", "4", "--engine", "serial", "--json",
    "--set", "predictor.initial=5", "--set", "predictor.batch=3", "--set", "predictor.epochs=1",
    "--set", "predictor.proposals=40", "--set", "finalists.trained=2", "--set", "finalists.epochs=1",
    "--set", "search.lookahead=32", "--set", "guard.seeds=0", "--set", "latency.measure=2s",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("predictor")


@pytest.fixture(scope="module")
def whole(server, place):
    ended = server.run("search", *SETTINGS, "--no-train", "--out", "whole", cwd=place)
    assert ended.code == 0, ended.err
    return ended


def learnt(directory):
    """Everything that the run decided: labels, what was made of them, every candidate and the front."""
    with Run.open(directory) as run:
        assert run.status()["finished"]
        labels = [{**plain(event), "curve": list(map(plain, event["curve"]))} for event in run.events("label")]
        others = [plain(event) for event in run.events("label_round", "predictor", "finalists")]
        return labels, others, list(run.store.results()), run.pareto().to_dict("records")


def plain(record):
    return {name: value for name, value in record.items() if name not in ("time", "seconds")}


def test_it_trains_networks_and_learns_from_them(place, whole):
    assert "labels: round 1, 5 networks chosen far apart" in whole.err
    assert "labels: round 3" in whole.err
    assert "predictor: ranks its own 10 networks, left out in turn, with tau" in whole.err
    with Run.open(place / "whole") as run:
        labels = run.events("label")
        stored = [result.candidate.arch.to_dict() for result in run.store.results()]
        gates = Task(run.config).gates(None)
        metrics = [gates(run.architecture(i)) for i in range(1, 11)]
        best = run.best(params=25_000)
    assert len(labels) == 10
    assert [event["arch"] for event in labels] == stored[1:11]  # the trained networks are candidates
    assert all(found["params"] <= 30_000 and found["macs"] <= 600_000 for found in metrics)
    assert best["params"] <= 25_000
    report = (place / "whole" / "report.html").read_text()
    assert "Trained networks and predictor" in report
    assert "The score is the validation accuracy that a predictor expects after 1 epochs" in report


def test_it_delivers_the_best_of_those_expected_and_those_seen_to_be_good(server, place):
    delivered = server.run("search", *SETTINGS, "--out", "delivered", cwd=place).json()
    assert delivered["best"]["top1"] > 0
    assert Path(place / delivered["artifacts"]["model.onnx"]).stat().st_size > 0
    with Run.open(place / "delivered") as run:
        finalists, trained = run.events("finalist"), {json.dumps(event["arch"]) for event in run.events("label")}
        designs = [json.dumps(run.architecture(event["id"]).to_dict()) for event in finalists]
    assert any(design in trained for design in designs)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_alike(server, place, whole):
    rng, kills = random.Random(2), 0
    args = ("search", *SETTINGS, "--no-train", "--out", "killed")
    for kind, times in (("label_round", 1), ("label", 5), ("label_round", 2), ("predictor", 1)):
        command = server.start(*args, cwd=place)
        until(lambda kind=kind, times=times: happened(place / "killed", kind, times), seconds=30)
        time.sleep(rng.uniform(0.0, 0.5))
        command.signal(signal.SIGKILL)
        kills += command.wait().code == -signal.SIGKILL
        if (place / "killed" / FILE_NAME).exists():
            args = ("resume", "killed", "--json")
    assert kills == 4
    ended = server.run(*args, cwd=place)
    assert ended.code == 0, ended.err
    assert learnt(place / "killed") == learnt(place / "whole")
    for key in ("id", "spec", "score"):
        assert ended.json()["best"][key] == whole.json()["best"][key]


def happened(directory, kind, times):
    with suppress(RunFileError), Run.open(directory) as run:
        return len(run.events(kind)) >= times
    return False


def test_a_finished_run_repeats_its_outcome(server, place, whole):
    ended = server.run("resume", "whole", "--json", cwd=place)
    assert ended.json() == whole.json()
    assert "labels:" not in ended.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--labels", "3"), "--labels"),
        (("--labels", "10"), "labels=10 and initial=12"),
        (("--score", "zen", "--labels", "20"), "search.score='zen'; give score: predictor"),
        (("--params", "100"), "params"),
    ],
)
def test_bad_input_is_one_clear_line(server, place, args, said):
    ended = server.run("search", "--score", "predictor", *args, "--no-train", "--out", "refused", cwd=place)
    assert ended.code in (2, 3)
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert not (place / "refused" / FILE_NAME).exists()
