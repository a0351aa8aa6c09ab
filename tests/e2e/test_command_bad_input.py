"""Wrong input of every kind is one line with the fix."""

import shutil
import sqlite3

import numpy as np
import pytest
from command_place import ONE, QUICK, STRUCTURE, WIDE, refused
from PIL import Image

from nas.store import FILE_NAME

SCORE = ("score", STRUCTURE, "--resolution", "8", "--score")

WRONG = {
    "no command": (["serch"], 2, ["did you mean 'search'"]),
    "no option": (["search", "--latncy", "2ms"], 2, ["--latncy"]),
    "unknown setting": (["search", "--set", "search.evaluation=5"], 2, ["'search.evaluation'", "mean 'evaluations'"]),
    "setting without value": (["search", "--set", "seed"], 2, ["name=value"]),
    "bare latency": (["search", "--latency", "2"], 2, ["2ms"]),
    "no unit": (["search", "--params", "12parsecs"], 2, ["12parsecs", "4.2M"]),
    "negative": (["search", "--macs", "-3"], 2, ["-3"]),
    "no device": (["search", "--device", "abacus"], 2, ["abacus"]),
    "no space": (["search", "--space", "zen-tyni"], 2, ["did you mean 'zen-tiny'"]),
    "no user module": (["search", "--space", "nowhere:Space"], 2, ["nowhere"]),
    "no score": (["search", "--set", "search.score=zon"], 2, ["zon", "zen"]),
    "no user score": (["search", "--set", "search.score=user:nothing"], 2, ["nothing"]),
    "no data": (["search", "--data", "digitss"], 2, ["digitss"]),
    "no recipe setting": (["search", "--set", "recipe.learnin_rate=1"], 2, ["learnin_rate"]),
    "no config": (["search", "--config", "none.yaml"], 2, ["none.yaml", "no such file"]),
    "config is a folder": (["search", "--config", "."], 2, ["cannot be read"]),
    "one-member space": (["search", "--space", "user:Lonely", *QUICK, "--evaluations", "400"], 2, ["no second"]),
    "invalid space": (["search", "--space", "user:Invalid", *QUICK], 3, ["invalid", "kernel"]),
    "bad structure": (["score", "SuperConvK3BNRELU(3,8,1,1", "--resolution", "8"], 2, ["column 1"]),
    "wrong channels": (["score", STRUCTURE.replace("K3(8", "K3(9"), "--resolution", "8"], 2, ["column 27", "takes 9"]),
    "broken score": ([*SCORE, "user:broken"], 2, ["KeyError", "no such key"]),
    "early score": ([*SCORE, "user:early"], 2, ["no luck", "user.py, line"]),
    "early score in a search": (["search", "--set", "search.score=user:early"], 2, ["'user:early'", "no luck"]),
    "number for a score": ([*SCORE, "user:number"], 2, ["returned a float"]),
    "no number": ([*SCORE, "user:not_a_number"], 2, ["the score is nan"]),
    "no score function": ([*SCORE, "os:getcwd"], 2, ["getcwd", "TypeError"]),
    "unfinished module": (["search", "--space", "unfinished:Space"], 2, ["SyntaxError", "'unfinished:Space'"]),
    "module that ends": (["space", "show", "ending:Space"], 2, ["SystemExit", "ending.py, line 2"]),
    "broken data": (["search", "--data", "user:no_images"], 2, ["KeyError", "user.py, line"]),
    "no spec": (["score", "nothing.json", "--resolution", "8"], 2, ["no such file", "RUN:ID"]),
    "long spec": (["score", "x" * 5000, "--resolution", "8"], 2, ["no such file"]),
    "no shape": (["score", STRUCTURE], 2, ["--resolution"]),
    "zero resolution": (["score", STRUCTURE, "--resolution", "0"], 2, ["resolution"]),
    "no candidate": (["score", "run:4711"], 2, ["no candidate 4711"]),
    "no run": (["status", "nowhere"], 2, ["netwright search --out nowhere"]),
    "no run to resume": (["resume", "nowhere"], 2, ["nowhere"]),
    "a folder without a run": (["pareto", "."], 2, [FILE_NAME]),
    "unknown metric": (["best", "run", "--latency", "2ms"], 2, ["latency_ms"]),
    "nothing so small": (["best", "run", "--params", "3"], 3, ["the smallest has"]),
    "run is there already": (["search", *QUICK, "--out", "run"], 2, ["netwright resume"]),
    "out is a file": (["search", *QUICK, "--out", "user.py"], 2, ["user.py"]),
    "out below a file": (["search", *QUICK, "--out", "user.py/run"], 2, ["cannot be written"]),
    "out cannot be made": (["search", *QUICK, "--out", "/proc/nowhere"], 2, ["cannot be written"]),
    "zero evaluations": (["search", "--evaluations", "0"], 2, ["evaluations"]),
    "no space to show": (["space", "show", "zon"], 2, ["did you mean"]),
    "report to nowhere": (["report", "run", "--out", "/proc/x.html"], 2, ["/proc/x.html: cannot be written"]),
    "report to a folder": (["report", "run", "--out", "."], 2, ["directory"]),
    "negative seed": (["space", "show", "zen", "--seed", "-1"], 2, ["--seed", "-1"]),
    "negative seed of a profile": (["profile", "--resolution", "8", "--seed", "-1"], 2, ["--seed", "-1"]),
    "large seed": (["export", STRUCTURE, "--data", "digits", "--out", "x", "--seed", "9" * 23], 2, ["--seed", "999"]),
    "large seed of a search": (["search", "--seed", "9" * 23], 2, ["--seed"]),
    "large seed in a setting": (["search", "--set", f"seed={'9' * 23}"], 2, ["seed=999"]),
    "large resolution": (["score", STRUCTURE, "--resolution", "99999999"], 2, ["--resolution", "8192"]),
    "many channels": (["score", STRUCTURE, "--resolution", "8", "--in-channels", "9999999"], 2, ["--in-channels"]),
    "many input channels": (["score", STRUCTURE.replace("(3", "(999999"), "--resolution", "8"], 2, ["(999999, 8, 8)"]),
    "deep": (["score", STRUCTURE.replace("1)Super", "999999)Super", 1), "--resolution", "8"], 2, ["depth=999999"]),
    "many samples": (["space", "show", "zen", "--samples", "9" * 21], 2, ["--samples"]),
    "many weights": (["export", WIDE, "--data", "digits", "--out", "x"], 2, ["4,29", "weights, expected at most"]),
    "no CUDA": (["search", "--set", "train_device=cuda:4096"], 2, ["train_device='cuda:4096'"]),
    "no training device": (["search", "--set", "train_device=gpu"], 2, ["train_device='gpu'", "cpu, cuda or cuda:N"]),
    "train on nothing": (["train", ONE, "--data", "digits", "--out", "x", "--device", "gpu"], 2, ["--device='gpu'"]),
    "train into nothing": (["train", ONE, "--data", "digits", "--out", "/proc/x/y"], 2, ["/proc/x/y: cannot be"]),
    "train over other files": (["train", ONE, "--data", "digits", "--out", "."], 2, ["current folder"]),
    "export over other files": (["export", ONE, "--data", "digits", "--out", "run"], 2, ["holds other files"]),
    "recipe of a search": (["search", "--set", "recipe.epochs=1.5"], 2, ["recipe.epochs=1.5"]),
    "export of one file": (["export", "bad.onnx", "--data", "digits", "--out", "x"], 2, ["single file", "a folder"]),
    "export of no JSON": (["export", "bad.txt", "--data", "digits", "--out", "x"], 2, ["not JSON", "RUN:ID"]),
    "no model": (["verify", "nothing.onnx", "--latency", "2ms"], 2, ["nothing.onnx"]),
    "no time": (["verify", "x.onnx", "--latency", "2ms", "--measure", "0.2s"], 2, ["--measure 0.2s", "at least 1s"]),
}  # fmt: skip


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(("args", "code", "parts"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_one_line_with_the_fix(server, place, args, code, parts):
    out = [] if args[0] != "search" or "--out" in args else ["--out", f"wrong{abs(hash(tuple(args)))}"]
    assert refused(server.run(*args, *out, cwd=place), code, *parts)


def test_an_image_folder_of_one_class_is_one_line(server, place):
    folder = place / "images" / "cats"
    folder.mkdir(parents=True)
    for i in range(4):
        Image.fromarray(np.full((8, 8), i, dtype=np.uint8)).save(folder / f"{i}.png")
    assert refused(server.run("search", "--data", "images", "--out", "one", cwd=place), 2, "cats")


@pytest.mark.parametrize("command", [["status"], ["pareto"], ["best"], ["resume"], ["report"]])
@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100])
def test_a_corrupt_run_file_is_one_line(server, place, command, content):
    folder = place / "corrupt"
    folder.mkdir(exist_ok=True)
    (folder / FILE_NAME).write_bytes(content)
    assert refused(server.run(*command, "corrupt", cwd=place), 2, "corrupt", "cannot be read")


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("status", "score = NULL WHERE outcome = 'scored'"),
        ("pareto", "score = NULL WHERE outcome = 'scored'"),
        ("report", "score = NULL WHERE outcome = 'scored'"),
        ("report", "reason = NULL WHERE outcome <> 'scored'"),
    ],
)
@pytest.mark.usefixtures("run")
def test_a_null_in_a_run_file_is_one_line(server, place, command, change):
    folder = place / "null"
    folder.mkdir(exist_ok=True)
    shutil.copy(place / "run" / FILE_NAME, folder)
    connection = sqlite3.connect(folder / FILE_NAME)
    with connection:
        assert connection.execute(f"UPDATE candidate SET {change}").rowcount
    connection.close()
    assert refused(server.run(command, "null", cwd=place), 2, "null", "without a", "it is damaged")


def test_an_impossible_budget_names_the_tightest_one(server, place):
    for limit, metric in (("--params", "params"), ("--macs", "macs"), ("--memory", "peak_memory_bytes")):
        ended = server.run("search", limit, "100", "--no-train", "--out", f"impossible{metric}", cwd=place)
        assert refused(ended, 3, f"{metric} of at most 100", "the tightest it reaches is")
        tightest = float(ended.err.split("tightest it reaches is ")[1].split(")")[0])
        assert tightest > 100
        assert server.run("status", f"impossible{metric}", cwd=place).code in (0, 2)
    reached = server.run("space", "check", "zen-tiny", "--data", "digits", "--params", "100", "--json", "-q", cwd=place)
    assert reached.json()["feasible_share"] == 0.0
    assert reached.json()["least_reachable"]["params"] > 100


def test_an_impossible_limit_leaves_the_folder_free(server, place):
    for _ in range(2):
        assert refused(server.run("search", "--params", "10", "--no-train", "--out", "free", cwd=place), 3, "tightest")
    assert not (place / "free" / FILE_NAME).exists()


def test_a_run_that_exists_is_refused_before_anything_is_measured(server, place, run):
    asked, measured = ("search", "--latency", "5ms", "--out", "run"), sorted(server.cache.rglob("*"))
    assert refused(server.run(*asked, cwd=place), 2, "exists already", "netwright resume")
    assert sorted(server.cache.rglob("*")) == measured
