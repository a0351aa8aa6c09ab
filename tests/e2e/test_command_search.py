"""Searches of the command, their run files and their seeds."""

import signal
import sqlite3

import numpy as np
import pytest
from command_place import QUICK, refused, unfinish
from commands import until

from nas.store import FILE_NAME
from search_spaces import SPACES
from search_spaces.arch import Architecture


def test_search_prints_one_object_with_the_documented_keys(run):
    assert set(run) == {"run", "best", "artifacts", "verdict"}
    assert {"id", "spec", "latency_ms", "top1"} <= set(run["best"])
    assert {"predicted", "measured"} <= set(run["best"]["latency_ms"])
    SPACES["zen-tiny"].validate(Architecture.from_dict(run["best"]["spec"]))
    assert run["verdict"] == "not trained"


def test_status_pareto_and_best_read_the_run(server, place, run):
    status = server.run("status", "run", "--json", cwd=place).json()
    assert status["candidates"] == 60 == sum(status["outcomes"].values())
    assert status["finished"] is True
    front = server.run("pareto", "run", "--json", cwd=place).json()["pareto"]
    assert {"id", "score", "macs", "params", "spec", "digest"} <= set(front[0])
    assert [row["macs"] for row in front] == sorted(row["macs"] for row in front)
    best = server.run("best", "run", "--params", "25k", "--json", cwd=place).json()
    assert best["params"] <= 25_000
    for command in ("status", "pareto", "best"):
        assert server.run(command, "run", cwd=place).code == 0


def test_the_same_seed_gives_the_same_object(server, place, run):
    again = server.run("search", *QUICK, "--json", "--quiet", "--out", "again", cwd=place)
    assert again.err == ""
    assert again.json()["best"] == run["best"]


def test_numbers_may_be_written_with_an_exponent(server, place):
    settings = ("--set", "search.evaluations=3e1", "--set", "recipe.weight_decay=1e-4", "--set", "recipe.epochs=1e1")
    ended = server.run("search", *QUICK[:-4], "--engine", "serial", *settings, "--json", "--out", "exp", cwd=place)
    assert ended.code == 0, ended.err
    assert server.run("status", "exp", "--json", cwd=place).json()["candidates"] == 30


def test_a_config_file_is_read_and_flags_win(server, place):
    (place / "c.yaml").write_text("data: digits\ntrain: false\nsearch: {evaluations: 40}\nconstraints: {macs: 400k}\n")
    ended = server.run("search", "--config", "c.yaml", "--evaluations", "30", "--json", "--out", "yaml", cwd=place)
    assert ended.code == 0, ended.err
    assert server.run("status", "yaml", "--json", cwd=place).json()["candidates"] == 30
    (place / "c.yaml").write_text("dta: digits\n")
    assert refused(server.run("search", "--config", "c.yaml", "--out", "y2", cwd=place), 2, "c.yaml", "'data'")
    (place / "c.yaml").write_text("data: [unclosed\n")
    assert refused(server.run("search", "--config", "c.yaml", "--out", "y3", cwd=place), 2, "c.yaml, line")


def test_a_second_command_does_not_write_into_a_run_that_is_going_on(server, place):
    long = ("search", "--no-train", "--evaluations", "1000000", "--engine", "serial", "--out", "busy")
    first = server.start(*long, cwd=place)
    try:
        assert until((place / "busy" / FILE_NAME).exists)
        assert refused(server.run("resume", "busy", cwd=place), 2, "another process is writing")
        assert refused(server.run(*long, cwd=place), 2, "exists already")
        assert server.run("status", "busy", "--json", cwd=place).json()["finished"] is False
    finally:
        first.signal(signal.SIGINT)
        ended = first.wait()
    assert ended.code == 130, ended.err


def test_images_that_are_not_square_and_a_folder_that_is_there(server, place):
    rng = np.random.default_rng(0)
    np.savez(place / "wide.npz", x=rng.integers(0, 255, (60, 8, 20), dtype=np.uint8), y=np.arange(60) % 3)
    (place / "there").mkdir()
    (place / "there" / "notes.txt").write_text("mine")
    ended = server.run("search", "--data", "wide.npz", *QUICK, "--macs", "2M", "--json", "--out", "there", cwd=place)
    assert ended.code == 0, ended.err
    assert (place / "there" / "notes.txt").read_text() == "mine"


def test_a_limit_on_time_ends_the_search(server, place):
    ended = server.run("search", "--no-train", "--engine", "serial", "--seconds", "1s", "--json", "--out", "timed",
                       cwd=place)  # fmt: skip
    assert ended.code == 0, ended.err
    found = server.run("status", "timed", "--json", cwd=place).json()["candidates"]
    assert 0 < found < 20_000
    unfinish(place / "timed" / FILE_NAME, "finished")  # as if killed in a later stage: the search is over
    assert server.run("resume", "timed", "--json", cwd=place).json() == ended.json()
    assert server.run("status", "timed", "--json", cwd=place).json()["candidates"] == found
    unfinish(place / "timed" / FILE_NAME, "finished", "searched")  # as if killed at its very end: the time is spent
    assert server.run("resume", "timed", "--json", cwd=place).code == 0
    assert server.run("status", "timed", "--json", cwd=place).json()["candidates"] - found < 0.2 * found


@pytest.mark.parametrize("algorithm", ["regularized", "local", "nsga2", "tpe", "optuna-nsga2", "random"])
def test_every_algorithm_searches_and_resumes_alike(server, place, algorithm):
    settings = (
        *QUICK,
        "--macs",
        "100M",
        "--space",
        "genet-tiny",
        "--set",
        f"search.algorithm={algorithm}",
        "--set",
        "search.population=20",
    )
    ended = server.run("search", *settings, "--json", "--out", algorithm, cwd=place)
    assert ended.code == 0, ended.err
    connection = sqlite3.connect(place / algorithm / FILE_NAME)
    with connection:
        connection.execute("DELETE FROM candidate WHERE id >= 33")
    connection.close()
    unfinish(place / algorithm / FILE_NAME, "finished", "searched", "finalists")
    assert server.run("resume", algorithm, "--json", cwd=place).json()["best"] == ended.json()["best"]
