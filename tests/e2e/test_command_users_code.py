"""Spaces, scores and data of the user's own, and what they do to the command."""

from pathlib import Path

import pytest
from command_place import ONE, QUICK, STRUCTURE, refused, unfinish

from nas.store import FILE_NAME


def test_a_users_space_and_score_work_from_the_current_directory(server, place):
    ended = server.run("search", "--space", "user:Space", *QUICK, "--set", "search.score=user:widest",
                       "--json", "--out", "own", cwd=place)  # fmt: skip
    assert ended.code == 0, ended.err
    best = ended.json()["best"]
    assert best["score"] == sum(block["channels"] for block in best["spec"]["blocks"])
    shown = server.run("space", "show", "user:Space", "--json", cwd=place).json()
    assert (shown["name"], shown["combinations"], len(shown["samples"])) == ("mine", 18, 3)
    checked = server.run(
        "space", "check", "user:Space", "--resolution", "8", "--samples", "50", "--json", "-q", cwd=place
    )
    assert checked.json()["duplicate_share"] > 0.5
    scored = server.run("score", f"own:{best['id']}", "--score", "user:widest", "--json", cwd=place)
    assert scored.json()["user:widest"] == best["score"]


def test_what_a_users_code_prints_goes_to_stderr(server, place):
    common = ("--data", "user:images", "--json")
    scored = server.run("score", ONE, "--score", "user:talkative", *common, cwd=place)
    assert scored.json()["user:talkative"] == 1.0
    for words in ("the data", "the factory", "the score", "below Python", "a child"):
        assert f"from {words}" in scored.err
    shown = server.run("space", "show", "user:Talkative", cwd=place)
    assert "from the space" not in shown.out
    assert shown.out.count("\nSuper") == 3
    searched = server.run("search", *common, "--no-train", "--evaluations", "20", "--engine", "serial",
                          "--set", "search.score=user:talkative", "--space", "user:Talkative", "--out", "talk",
                          cwd=place)  # fmt: skip
    assert searched.json()["verdict"] == "not trained"
    assert "from a child" in searched.err


def test_the_example_score_searches(server, place):
    (place / "examples").symlink_to(Path(__file__).parents[2] / "examples")
    score = "search.score=examples.my_score:wide_and_shallow"
    ended = server.run("search", *QUICK, "--set", score, "--json", "--out", "shallow", cwd=place)
    assert ended.json()["best"]["score"] > 0
    wrong = server.run("score", STRUCTURE, "--resolution", "8", "--score", "user:number", cwd=place)
    assert refused(wrong, 2, "is a factory", "examples/my_score.py")


def test_a_broken_score_ends_the_search_in_one_line(server, place):
    args = ("--no-train", "--engine", "serial", "--set", "search.score=user:broken", "--quiet")
    ended = server.run("search", *args, "--out", "broken", cwd=place)
    assert refused(ended, 2, "evaluations failed", "KeyError: 'no such key'")
    outcomes = server.run("status", "broken", "--json", cwd=place).json()["outcomes"]
    assert outcomes["error"] >= 50
    assert refused(server.run("resume", "broken", "--quiet", cwd=place), 2, "evaluations failed")
    again = server.run("search", *args, "--out", "broken", cwd=place)
    assert refused(again, 2, "exists already and failed", "none of its", "delete this file or choose another --out")
    assert "best score   none yet" in server.run("status", "broken", cwd=place).out


def test_an_interrupt_in_a_score_is_named(server, place):
    args = ("--no-train", "--engine", "serial", "--set", "search.score=user:interrupting", "--quiet")
    ended = server.run("search", *args, "--out", "stopped", cwd=place)
    assert ended.code == 130, ended.err
    assert "netwright: stopped by Ctrl-C, or by a KeyboardInterrupt in your own code" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.slow
def test_a_score_that_ends_its_process_does_not_end_the_search(server, place):
    ended = server.run("search", "--space", "user:Four", "--set", "search.score=user:deadly", "--no-train",
                       "--evaluations", "50", "--out", "deadly", cwd=place)  # fmt: skip
    assert ended.code == 0, ended.err
    assert "engine: ray (the score user:deadly runs apart from the search)" in ended.err
    status = server.run("status", "deadly", "--json", cwd=place).json()
    assert status["best_score"] == 32
    assert status["outcomes"]["crash"] == 1


def test_an_attribute_called_seed_is_the_spaces_own(server, place):
    ended = server.run("search", "--space", "user:Seeded", "--no-train", "--evaluations", "30", "--json",
                       "--out", "seeded", cwd=place)  # fmt: skip
    assert ended.code == 0, ended.err
    assert server.run("space", "show", "user:Seeded", cwd=place).code == 0


def test_a_space_of_four_ends(server, place):
    ended = server.run("search", "--space", "user:Four", "--no-train", "--evaluations", "200", "--engine", "serial",
                       "--json", "--out", "four", cwd=place)  # fmt: skip
    assert ended.code == 0, ended.err
    outcomes = server.run("status", "four", "--json", cwd=place).json()["outcomes"]
    assert outcomes == {"scored": 4, "duplicate": 196}


def test_a_changed_space_does_not_resume(server, place):
    ended = server.run("search", "--space", "user:Space", *QUICK, "--out", "changed", cwd=place)
    assert ended.code == 0, ended.err
    unfinish(place / "changed" / FILE_NAME, "finished", "searched")
    source = (place / "user.py").read_text()
    try:
        (place / "user.py").write_text(source.replace("(8, 16, 24), (3, 5)", "(8, 40, 56), (3, 5)"))
        ended = server.run("resume", "changed", cwd=place)
    finally:
        (place / "user.py").write_text(source)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].startswith("netwright: resume: candidate")


@pytest.mark.slow
def test_a_users_space_and_score_work_under_ray(server, place):
    common = (
        "--space",
        "user:Space",
        "--no-train",
        "--evaluations",
        "60",
        "--set",
        "search.score=user:widest",
        "--json",
    )
    serial = server.run("search", *common, "--engine", "serial", "--out", "own-serial", cwd=place)
    ray = server.run("search", *common, "--engine", "ray", "--workers", "2", "--out", "own-ray", cwd=place)
    assert ray.code == serial.code == 0, ray.err
    assert ray.json()["best"] == serial.json()["best"]
