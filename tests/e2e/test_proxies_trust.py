"""``netwright proxies trust`` from the command line, on real digits: what it writes, a kill, the ensemble in use."""

import csv
import json
import shutil
import signal
import sqlite3

import pytest
from commands import until

from nas.proxies.trust import FILE_NAME
from nas.run import Run

SMALL = (
    "--macs", "500k", "--networks", "10", "--repeats", "2", "--epochs", "2", "--images", "200", "--proxies", "closed",
    "--seed", "3", "--engine", "serial",
)  # fmt: skip
SECONDS = ("seconds", "training_seconds")
USER = """
def depth(objective):
    return lambda arch, seed: float(sum(block.depth for block in arch.blocks))

def broken(objective):
    return lambda arch, seed: {}["no such key"]

def early(objective):
    raise OSError(5, "no luck")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trust")
    (folder / "user.py").write_text(USER)
    return folder


@pytest.fixture(scope="module")
def trust(server, place):
    scores = ("--score", "user:depth", "--score", "user:broken", "--score", "synflow")
    ended = server.run("proxies", "trust", *SMALL, *scores, "--out", "whole", "--json", cwd=place)
    assert ended.code == 0, ended.err
    return ended.json()


def timeless(data):
    """The same without what a clock said."""
    if isinstance(data, dict):
        return {key: timeless(value) for key, value in data.items() if key not in (*SECONDS, "directory")}
    return [timeless(value) for value in data] if isinstance(data, list) else data


def trained(folder):
    """How many trainings the file holds by now."""
    if not (folder / FILE_NAME).exists():
        return 0
    connection = sqlite3.connect(f"file:{folder / FILE_NAME}?mode=ro", uri=True)
    try:
        return connection.execute("SELECT count(*) FROM event WHERE kind = 'training'").fetchone()[0]
    finally:
        connection.close()


def test_a_report_holds_every_proxy_the_baselines_the_noise_and_the_networks(trust, place):
    assert [row["name"] for row in trust["baselines"]] == ["params", "macs", "depth"]
    proxies = {row["name"]: row for row in trust["proxies"]}
    assert set(proxies) == {"zen", "mad", "mad_multiscale", "deepmad", "synflow", "user:depth", "user:broken"}
    assert all(-1 <= row["spearman"]["value"] <= 1 for row in trust["proxies"] if row["applies"])
    assert proxies["user:broken"]["verdict"] == "does not apply: KeyError: 'no such key'"
    assert proxies["user:broken"]["networks"] == 0
    assert trust["noise"]["pairs"] == 2
    assert (trust["trained"], trust["failed"]) == (10, 0)
    assert all(row["metrics"]["macs"] <= 500e3 for row in trust["networks"])
    assert all(0 <= row["top1"] <= 1 for row in trust["networks"])
    assert json.loads((place / "whole" / "trust.json").read_text()) == {
        key: value for key, value in trust.items() if key != "directory"
    }
    with (place / "whole" / "networks.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["zen"]) for row in table] == [row["scores"]["zen"] for row in trust["networks"]]
    assert [row["user:broken"] for row in table] == [""] * 10


@pytest.mark.slow
def test_a_killed_report_goes_on_and_ends_as_one_that_was_not(server, place, trust):
    scores = ("--score", "user:depth", "--score", "user:broken", "--score", "synflow")
    asked = ("proxies", "trust", *SMALL, *scores, "--out", "killed", "--json")
    command = server.start(*asked, cwd=place)
    assert until(lambda: trained(place / "killed") >= 2)
    command.signal(signal.SIGKILL)
    assert command.wait().code == -signal.SIGKILL
    before = trained(place / "killed")
    assert 2 <= before < 12
    ended = server.run(*asked, cwd=place)
    assert ended.code == 0, ended.err
    assert "going on in killed" in ended.err
    assert timeless(ended.json()) == timeless(trust)


def test_ctrl_c_says_how_to_go_on(server, place):
    command = server.start("proxies", "trust", *SMALL, "--out", "stopped", cwd=place)
    assert until(lambda: trained(place / "stopped") >= 1)
    command.signal(signal.SIGINT)
    ended = command.wait()
    assert ended.code == 130
    assert "go on with the same command" in ended.err
    assert "Traceback" not in ended.err


def test_a_finished_report_is_printed_again_without_work(server, place, trust):
    scores = ("--score", "user:depth", "--score", "user:broken", "--score", "synflow")
    ended = server.run("proxies", "trust", *SMALL, *scores, "--out", "whole", cwd=place)
    assert ended.code == 0, ended.err
    assert "10 networks of zen-tiny trained for 2 epochs on digits, seed 3" in ended.out
    for words in ("params", "deepmad", "does not apply: KeyError", "ensemble"):
        assert words in ended.out
    other = server.run("proxies", "trust", *SMALL, "--epochs", "3", "--out", "whole", cwd=place)
    assert other.code == 2
    assert len(other.err.splitlines()) == 1
    assert "other settings (epochs, scores); choose another --out" in other.err


@pytest.fixture(scope="module")
def ensemble(place):
    """A report whose ensemble is known."""
    members = [
        {"score": "zen", "weight": 0.5, "reference": [5.0, 20.0, 60.0]},
        {"score": "deepmad", "weight": 0.5, "reference": [-20.0, 10.0, 50.0]},
    ]
    (place / "made").mkdir()
    content = {"ensemble": {"members": members, "input_shape": [1, 8, 8]}}
    (place / "made" / "trust.json").write_text(json.dumps(content))
    return place / "made"


def test_a_search_takes_the_ensemble_and_resumes_without_its_file(server, place, ensemble):
    common = ("search", "--no-train", "--params", "60k", "--macs", "2M", "--evaluations", "60", "--json")
    ended = server.run(*common, "--engine", "serial", "--score", "ensemble:made", "--out", "one", cwd=place)
    assert ended.code == 0, ended.err
    named = ("--set", "search.score=ensemble", "--set", "search.ensemble=made/trust.json")
    other = server.run(*common, *named, "--out", "two", cwd=place)
    assert other.code == 0, other.err
    assert "engine: serial" in other.err  # closed forms: nothing that must run apart from the search
    assert other.json()["best"] == ended.json()["best"]
    moved = shutil.move(ensemble, place / "elsewhere")
    try:
        connection = sqlite3.connect(place / "one" / "run.sqlite")
        with connection:
            connection.execute("DELETE FROM candidate WHERE id >= 33")
            connection.execute("DELETE FROM event WHERE kind IN ('finished', 'searched', 'finalists')")
        connection.close()
        again = server.run("resume", "one", "--json", cwd=place)
    finally:
        shutil.move(moved, ensemble)
    assert again.code == 0, again.err
    assert again.json()["best"] == ended.json()["best"]
    with Run.open(place / "one") as run:
        assert run.status()["best_score"] == ended.json()["best"]["score"]


@pytest.mark.slow
def test_ray_finds_the_same_and_searches_with_the_ensemble(server, place, ensemble, trust):
    scores = ("--score", "user:depth", "--score", "user:broken", "--score", "synflow")
    asked = ("proxies", "trust", *SMALL, *scores, "--engine", "ray", "--workers", "2", "--out", "ray", "--json")
    ended = server.run(*asked, cwd=place)
    assert ended.code == 0, ended.err
    assert timeless(ended.json()) == timeless(trust)
    common = ("search", "--no-train", "--macs", "2M", "--evaluations", "60", "--score", "ensemble:made", "--json")
    serial = server.run(*common, "--engine", "serial", "--out", "serial", cwd=place)
    ray = server.run(*common, "--engine", "ray", "--workers", "2", "--out", "ray-search", cwd=place)
    assert ray.code == serial.code == 0, ray.err
    assert ray.json()["best"] == serial.json()["best"]


@pytest.mark.slow
def test_every_training_that_fails_is_shown_and_left_out(server, place):
    asked = ("proxies", "trust", *SMALL, "--repeats", "0", "--set", "learning_rate=1e30", "--out", "diverged")
    ended = server.run(*asked, "--json", cwd=place)
    assert ended.code == 0, ended.err
    found = ended.json()
    assert found["failed"] > 0
    assert found["failed"] + found["trained"] == 10
    assert all(row["failure"] for row in found["networks"] if row["top1"] is None)
    text = server.run(*asked, cwd=place).out
    assert text.count("left out: network") == found["failed"]


WRONG = {
    "few networks": (["--networks", "7"], 2, "networks"),
    "no data": (["--data", "digitss"], 2, "digitss"),
    "no space": (["--space", "zen-tyni"], 2, "did you mean 'zen-tiny'"),
    "no limit": (["--macs", "12parsecs"], 2, "12parsecs"),
    "nothing so small": (["--params", "10"], 3, "the tightest it reaches"),
    "no table": (["--latency", "1ms"], 2, "netwright profile"),
    "no score": (["--score", "zon"], 2, "expected one of zen"),
    "early score": (["--score", "user:early"], 2, "no luck"),
    "no recipe": (["--set", "learnin_rate=1"], 2, "learnin_rate"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_is_one_line_and_leaves_nothing(server, place, wrong):
    args, code, said = WRONG[wrong]
    ended = server.run("proxies", "trust", *args, "--quiet", "--out", "wrong", cwd=place)
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1, ended.err
    assert not (place / "wrong" / FILE_NAME).exists()


def test_a_search_without_its_ensemble_is_refused(server, place, ensemble):
    for settings, said in (
        (("--score", "ensemble"), "needs ensemble: FILE"),
        (("--score", "ensemble:nowhere"), "no such file"),
        (("--set", "search.ensemble=made"), "needs ensemble: FILE"),
    ):
        ended = server.run("search", "--no-train", *settings, "--out", "refused", cwd=place)
        assert ended.code == 2, ended.err
        assert said in ended.err
        assert len(ended.err.splitlines()) == 1
    scored = server.run("score", "one:0", "--score", "ensemble:made", "--json", cwd=place)
    assert isinstance(scored.json()["ensemble:made"], float)


def test_the_table_of_proxies_is_printed(server, place):
    rows = server.run("proxies", "ls", "--json", cwd=place).json()["proxies"]
    assert {"name", "needs", "cost", "better", "source"} == set(rows[0])
    assert [row["name"] for row in rows if row["better"] == "lower"] == ["ntk"]
    text = server.run("proxies", "ls", cwd=place).out
    assert all(row["name"] in text for row in rows)


def test_a_space_check_prints_the_whole_report(server, place):
    asked = ("space", "check", "genet-tiny", "--data", "digits", "--params", "300k", "--samples", "200", "-q")
    found = server.run(*asked, "--score", "deepmad", "--candidates", "500", "--json", cwd=place).json()
    low, high = found["feasible_interval"]
    assert low <= found["feasible_share"] <= high
    assert found["cardinality"] > 1e9
    assert 0 < found["search_seconds"]["deepmad"] < 500
    assert set(found["reachable"]) == {"params", "macs", "depth", "convs", "peak_memory_bytes"}
    assert found["reachable"]["params"]["most"] <= 300e3
    text = server.run(*asked, cwd=place).out
    assert "netwright proxies trust --space genet-tiny --data digits" in text
    assert "reach most" in text
