"""``netwright search --score binas`` on real digits: supernet, exact designs, delivery, another budget, kill -9."""

import json
import random
import signal
import time
from pathlib import Path

import pytest

from nas.run import Run
from nas.train.supernet.file import load_facts

SPACE = """
from search_spaces.arch import Block
from search_spaces.mobilenet import Elastic, MobileNetSpace, MobileStage

class Space(MobileNetSpace):
    def __init__(self):
        stem = (Block("conv", 8), Block("mbconv", 8, expansion=1))
        stages = (MobileStage(12, 2, "relu", (False,)), MobileStage(16, 2, "hard_swish", (False, True)))
        head = (Block("conv", 32, 1), Block("pooled_conv", 32, 1))
        super().__init__("two-stages", stem, stages, head, Elastic((1, 2), (3,), (2, 3)))
"""
SETTINGS = (
    "--data", "digits", "--space", "two_stages:Space", "--score", "binas", "--macs", "60k", "--params", "20k",
    "--epochs", "1", "--seed", "4", "--engine", "serial", "--json", "--set", "supernet.recipe.epochs=3",
    "--set", "binas.paths=4", "--set", "binas.images=64", "--set", "binas.random=20", "--set", "binas.proposals=4",
    "--set", "binas.rounds=2", "--set", "binas.fine_tuning=2", "--set", "guard.seeds=0", "--set", "latency.measure=3s",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("binas")
    (folder / "two_stages.py").write_text(SPACE)
    return folder


@pytest.fixture(scope="module")
def whole(server, place):
    ended = server.run("search", *SETTINGS, "--out", "whole", cwd=place)
    assert ended.code == 0, ended.err
    return ended


def found(directory):
    """Everything that the search decided."""
    kinds = ("measured_effects", "effects", "binas_round", "winner", "epoch")
    with Run.open(directory) as run:
        events = [{k: v for k, v in event.items() if k not in ("time", "seconds")} for event in run.events(*kinds)]
        return events, list(run.store.results())


def test_it_trains_measures_solves_and_delivers(place, whole):
    summary = whole.json()
    assert Path(place / summary["artifacts"]["model.onnx"]).stat().st_size > 0
    assert "random networks with Kendall's tau" in whole.err
    with Run.open(place / "whole") as run:
        rounds, winner = run.events("binas_round"), run.events("winner")[0]
        rows = run.candidates()
        assert len(load_facts(place / "whole" / "supernet").curve) == 3
        assert len(run.events("epoch")) == 2  # of fine-tuning
    assert rows["params"].max() <= 20_000
    assert rows["macs"].max() <= 60_000
    assert winner["score"] == rows["score"].max()
    designs = [design for event in rounds for design in event["designs"]]
    assert all(design["bound"] >= design["objective"] - 1e-9 for design in designs)
    assert rounds[0]["designs"][0]["proven"]  # parameters and MACs are exact rows


def test_another_budget_is_answered_from_the_same_supernet(server, place, whole):
    answers = [server.run("best", "whole", "--macs", macs, "--json", cwd=place).json() for macs in ("50k", "40k")]
    assert answers[0]["macs"] <= 50_000
    assert answers[1]["macs"] <= 40_000
    assert all(answer["judged"] and answer["bound"] >= answer["objective"] - 1e-9 for answer in answers)
    assert answers[0]["bound"] >= answers[1]["bound"] - 1e-9
    told = server.run("best", "whole", "--macs", "40k", cwd=place)
    assert "certificate" in told.out
    shown = server.run("supernet", "effects", "whole", "--json", cwd=place).json()
    assert {row["part"] for row in shown["contributions"]} == {"depth", "expansion", "se"}
    report = (place / "whole" / "report.html").read_text()
    assert "What every choice adds" in report
    assert "negative validation loss of the network with the supernet" in report
    assert "computed without training" not in report
    assert "Evolution over" not in report
    with Run.open(place / "whole") as run:
        looked_at = sum(run.status()["outcomes"].values())
    assert f"| candidates | {looked_at} |" in (place / "whole" / "winner" / "README.md").read_text()
    refused = server.run("best", "whole", "--macs", "1k", cwd=place)
    assert refused.code == 3
    assert "macs of at most 1000 (the least is" in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_alike(server, place, whole):
    rng, args, kills = random.Random(3), ("search", *SETTINGS, "--out", "killed"), 0
    for seconds in (2.0, 3.0):
        command = server.start(*args, cwd=place)
        time.sleep(seconds + rng.uniform(0.0, 0.5))
        command.signal(signal.SIGKILL)
        kills += command.wait().code == -signal.SIGKILL
        if (place / "killed" / "run.sqlite").exists():
            args = ("resume", "killed", "--json")
    assert kills >= 1
    ended = server.run(*args, cwd=place)
    assert ended.code == 0, ended.err
    assert found(place / "killed") == found(place / "whole")


def test_a_supernet_of_another_space_is_refused_in_one_line(server, place, whole):
    ended = server.run(
        "search", "--data", "digits", "--space", "mobilenetv3-tiny-images", "--score", "binas", "--out", "other",
        "--set", "supernet.path=whole/supernet", cwd=place,
    )  # fmt: skip
    assert ended.code == 2
    assert "is for space two_stages:Space, this search has mobilenetv3-tiny-images" in ended.err
    assert not (place / "other").exists()
    chain = server.run("search", "--data", "digits", "--space", "zen-tiny", "--score", "binas", "--out", "c", cwd=place)
    assert chain.code == 2
    assert "has no knobs" in chain.err
    both = ("--set", "supernet.path=whole/supernet", "--set", "supernet.recipe.epochs=3")
    refused = server.run("search", *SETTINGS[:6], *both, "--out", "d", cwd=place)
    assert refused.code == 2
    assert "expected one or the other" in refused.err
    idle = server.run("search", *SETTINGS[:6], "--evaluations", "50", "--out", "e", cwd=place)
    assert idle.code == 2
    assert "search.evaluations=50 has no effect with score: binas" in idle.err
    assert json.loads((place / "whole" / "supernet" / "supernet.json").read_text())["space"] == "two_stages:Space"
