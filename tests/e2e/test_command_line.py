"""The command as other programs and hurried people call it."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from commands import CommandServer, until
from PIL import Image

from nas.cli.main import COMMANDS
from nas.objective import SCORES
from nas.store import FILE_NAME
from search_spaces import SPACES
from search_spaces.arch import Architecture
from search_spaces.plainnet import write_structure

HEAVY = ("torch", "ray", "onnx", "onnxruntime", "sklearn", "pandas", "sqlalchemy", "scipy", "pydantic")
STRUCTURE = "SuperConvK3BNRELU(3,8,1,1)SuperResK3K3(8,16,2,8,1)SuperConvK1BNRELU(16,32,1,1)"
ONE = STRUCTURE.replace("(3", "(1")
WIDE = "SuperConvK1BNRELU(1,65536,1,1)SuperConvK1BNRELU(65536,65536,1,1)"
SCORE = ("score", STRUCTURE, "--resolution", "8", "--score")
QUICK = ("--no-train", "--macs", "500k", "--evaluations", "60", "--engine", "serial")

USER = """
import os

from search_spaces.arch import Architecture, Block
from search_spaces.space import Stage, StageSpace, Variant

class Space(StageSpace):
    def __init__(self):
        conv = (Variant("conv"),)
        super().__init__("mine", (Stage(conv, (8, 16, 24), (3, 5)), Stage(conv, (16, 32, 48), stride=2)))

class Four(StageSpace):
    def __init__(self):
        super().__init__("four", (Stage((Variant("conv"),), (8, 16, 24, 32)),))

class Lonely(StageSpace):
    def __init__(self):
        super().__init__("lonely", (Stage((Variant("conv"),), (8,)),))

class Invalid(StageSpace):
    def __init__(self):
        super().__init__("invalid", (Stage((Variant("conv"),), (8, 16), (4,)),))

class Seeded(Space):
    seed = 7

def broken(objective):
    return lambda arch, seed: {}["no such key"]

def deadly(objective):
    return lambda arch, seed: os._exit(7) if arch.blocks[0].channels == 8 else float(arch.blocks[0].channels)

def early(objective):
    raise OSError(5, "no luck")

def number(objective):
    return 3.0

def not_a_number(objective):
    return lambda arch, seed: float("nan")

def talkative(objective):
    import os, subprocess, sys
    print("from the factory")
    def score(arch, seed):
        print("from the score")
        os.write(1, b"from below Python\\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        return 1.0
    return score

class Talkative(Space):
    def sample(self, rng):
        print("from the space")
        return super().sample(rng)

def images():
    import numpy as np
    print("from the data")
    return np.zeros((40, 8, 8)), np.arange(40) % 2

def no_images():
    return {}["no such key"]

def interrupting(objective):
    def score(arch, seed):
        raise KeyboardInterrupt
    return score

def widest(objective):
    return lambda arch, seed: float(sum(block.channels for block in arch.blocks))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    (folder / "user.py").write_text(USER)
    (folder / "unfinished.py").write_text("def f(:")
    (folder / "bad.onnx").write_text("not a network")
    (folder / "bad.txt").write_text("not a network")
    (folder / "ending.py").write_text("import sys\nsys.exit(0)")
    return folder


@pytest.fixture(scope="module")
def server(place):
    with CommandServer(place) as started:
        yield started


@pytest.fixture(scope="module")
def run(server, place):
    ended = server.run("search", *QUICK, "--json", "--out", "run", cwd=place)
    assert ended.code == 0, ended.err
    return ended.json()


def refused(ended, code, *parts):
    """One line on stderr that holds these parts, nothing on stdout."""
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1, ended.err
    assert all(part in ended.err for part in parts), ended.err
    return True


def test_help_imports_nothing_heavy():
    script = (
        "import sys\nfrom nas.cli import main\nsys.argv = ['netwright', '--help']\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"
    assert all(name in done.stdout for name in COMMANDS)


def test_helps_of_all_commands_import_no_torch_and_no_ray():
    script = (
        "import sys\nfrom click.testing import CliRunner\nfrom nas.cli.main import COMMANDS, cli\n"
        "for name in COMMANDS:\n"
        "    result = CliRunner().invoke(cli, [name, '--help'])\n"
        "    assert result.exit_code == 0, result.output\n"
        "    assert 'Usage:' in result.output\n"
        "for name in ('ls', 'show', 'check'):\n"
        "    assert CliRunner().invoke(cli, ['space', name, '--help']).exit_code == 0\n"
        "print([name for name in ('torch', 'ray', 'onnx', 'onnxruntime', 'sklearn', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_version_and_module(server, place):
    assert server.run("--version", cwd=place).out.startswith("netwright")
    done = subprocess.run([sys.executable, "-m", "nas", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_bare_command_prints_its_help(server, place):
    bare = server.run(cwd=place)
    assert (bare.code, bare.err) == (0, "")
    assert bare.out == server.run("--help", cwd=place).out


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


def test_score_gives_the_documented_keys_for_every_kind_of_spec(server, place, run):
    shape = ("--resolution", "32", "--classes", "10", "--json")
    row = server.run("score", STRUCTURE, *shape, cwd=place).json()
    assert {"params", "macs", "depth", "peak_memory_bytes", "zen"} <= set(row)
    assert row["depth"] == 3
    arch = run["best"]["spec"]
    (place / "arch.json").write_text(json.dumps(arch))
    (place / "arch.txt").write_text(write_structure(Architecture.from_dict(arch)))
    rows = [
        server.run("score", spec, *shape, "--in-channels", "1", cwd=place).json()
        for spec in ("arch.json", "arch.txt", f"run:{run['best']['id']}")
    ]
    assert [row["digest"] for row in rows] == [Architecture.from_dict(arch).digest] * 3
    assert rows[0]["params"] == rows[1]["params"] == rows[2]["params"]
    from_run = server.run("score", f"run:{run['best']['id']}", "--json", cwd=place).json()
    assert from_run["input_shape"] == [1, 8, 8]
    one_class = server.run("score", STRUCTURE, "--resolution", "8", "--classes", "1", "--json", cwd=place).json()
    assert one_class["classes"] == 1


def test_the_same_seed_gives_the_same_object(server, place, run):
    again = server.run("search", *QUICK, "--json", "--quiet", "--out", "again", cwd=place)
    assert again.err == ""
    assert again.json()["best"] == run["best"]


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
}  # fmt: skip


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(("args", "code", "parts"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_one_line_with_the_fix(server, place, args, code, parts):
    out = [] if args[0] != "search" or "--out" in args else ["--out", f"wrong{abs(hash(tuple(args)))}"]
    assert refused(server.run(*args, *out, cwd=place), code, *parts)


def test_numbers_may_be_written_with_an_exponent(server, place):
    settings = ("--set", "search.evaluations=3e1", "--set", "recipe.weight_decay=1e-4", "--set", "recipe.epochs=1e1")
    ended = server.run("search", *QUICK[:-4], "--engine", "serial", *settings, "--json", "--out", "exp", cwd=place)
    assert ended.code == 0, ended.err
    assert server.run("status", "exp", "--json", cwd=place).json()["candidates"] == 30


def test_an_occupied_place_is_refused_before_the_training(server, place):
    (place / "taken").mkdir()
    (place / "taken" / "config.json").write_text('{"model_type": "bert"}')
    (place / "taken" / "thesis.tex").write_text("years of work")
    for command in (["train", ONE, "--epochs", "99999"], ["export", ONE]):
        ended = server.run(*command, "--data", "digits", "--out", "taken", cwd=place)
        assert refused(ended, 2, "taken: holds other files")
    assert sorted(path.name for path in (place / "taken").iterdir()) == ["config.json", "thesis.tex"]
    assert not list(place.glob(".taken*"))


def test_a_training_and_its_export(server, place):
    train = ("train", ONE, "--data", "digits", "--epochs", "1", "--set", "weight_decay=1e-4", "--out", "deep/trained")
    first = server.run(*train, "--json", "-q", cwd=place).json()
    again = server.run(*train, "--json", "-q", cwd=place)
    assert refused(again, 2, "deep/trained: holds an exported network already", "--overwrite", "another --out")
    replaced = server.run(*train, "--overwrite", "--json", "-q", cwd=place)
    assert replaced.json()["test_top1"] == first["test_top1"]
    assert [path.name for path in (place / "deep").iterdir()] == ["trained"]
    onto_itself = server.run("export", "deep/trained", "--out", "deep/trained", cwd=place)
    assert refused(onto_itself, 2, "is the source itself", "give another --out")
    config = json.loads((place / "deep" / "trained" / "config.json").read_text())
    (place / "damaged").mkdir()
    for name, value, words in (("input_shape", [8, 8], "input_shape=[8, 8]"), ("dataset", 5, "dataset=5")):
        (place / "damaged" / "config.json").write_text(json.dumps(config | {name: value}))
        assert refused(server.run("export", "damaged", "--out", "x", cwd=place), 2, words)
    assert refused(server.run("score", "damaged", "--resolution", "8", cwd=place), 2, "dataset=5")


def test_an_interrupted_training_goes_on_without_a_word_of_overwriting(server, place):
    train = ("train", ONE, "--data", "digits", "--out", "interrupted", "-q", "--json")
    assert server.run(*train, "--epochs", "1", cwd=place).code == 0
    running = server.start(*train, "--epochs", "3", "--overwrite", cwd=place)
    assert until((place / ".interrupted.checkpoint.pt").exists)
    running.signal(signal.SIGKILL)
    running.wait()
    ended = server.run(*train, "--epochs", "3", cwd=place)
    assert ended.json()["epochs"] == 3


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


def test_a_config_file_is_read_and_flags_win(server, place):
    (place / "c.yaml").write_text("data: digits\ntrain: false\nsearch: {evaluations: 40}\nconstraints: {macs: 400k}\n")
    ended = server.run("search", "--config", "c.yaml", "--evaluations", "30", "--json", "--out", "yaml", cwd=place)
    assert ended.code == 0, ended.err
    assert server.run("status", "yaml", "--json", cwd=place).json()["candidates"] == 30
    (place / "c.yaml").write_text("dta: digits\n")
    assert refused(server.run("search", "--config", "c.yaml", "--out", "y2", cwd=place), 2, "c.yaml", "'data'")
    (place / "c.yaml").write_text("data: [unclosed\n")
    assert refused(server.run("search", "--config", "c.yaml", "--out", "y3", cwd=place), 2, "c.yaml, line")


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


def test_a_reader_that_goes_away_is_no_error(place):
    pipe = f"{sys.executable} -m nas space ls; {sys.executable} -m nas space show zen --samples 3000 | head -1"
    done = subprocess.run(pipe, shell=True, capture_output=True, text=True, check=False, cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("name")


def test_the_example_score_searches(server, place):
    (place / "examples").symlink_to(Path(__file__).parents[2] / "examples")
    score = "search.score=examples.my_score:wide_and_shallow"
    ended = server.run("search", *QUICK, "--set", score, "--json", "--out", "shallow", cwd=place)
    assert ended.json()["best"]["score"] > 0
    wrong = server.run("score", STRUCTURE, "--resolution", "8", "--score", "user:number", cwd=place)
    assert refused(wrong, 2, "is a factory", "examples/my_score.py")


def test_every_proxy_is_shown_beside_the_costs(server, place):
    shape = ("--resolution", "16", "--json")
    closed = server.run("score", STRUCTURE, *shape, cwd=place).json()
    assert {"params_compat", "macs_compat", "rho", "zen", "mad", "deepmad"} <= closed.keys()
    assert closed["mad_multiscale"] is None  # the network has two stages
    assert "has 2 stages" in closed["not_applicable"]["mad_multiscale"]
    every = server.run("score", STRUCTURE, *shape, "--proxies", "all", cwd=place).json()
    assert every["mad"] == closed["mad"]
    assert all(isinstance(every[name], float) for name in SCORES.keys() - every["not_applicable"].keys())
    assert set(every["not_applicable"]) == {"mad_multiscale"}
    assert server.run("score", STRUCTURE, *shape, "--proxies", "all", cwd=place).json() == every | {"seconds": ANY}
    refusal = server.run("score", STRUCTURE, *shape, "--score", "mad_multiscale", cwd=place)
    assert refused(refusal, 2, "has 2 stages", "give fewer weights")


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


def test_a_score_that_ends_its_process_does_not_end_the_search(server, place):
    ended = server.run("search", "--space", "user:Four", "--set", "search.score=user:deadly", "--no-train",
                       "--evaluations", "50", "--out", "deadly", cwd=place)  # fmt: skip
    assert ended.code == 0, ended.err
    assert "engine: ray (the score user:deadly runs apart from the search)" in ended.err
    status = server.run("status", "deadly", "--json", cwd=place).json()
    assert status["best_score"] == 32
    assert status["outcomes"]["crash"] == 1


def test_a_run_that_exists_is_refused_before_anything_is_measured(server, place, run):
    asked = ("search", "--latency", "5ms", "--out", "run")
    assert refused(server.run(*asked, cwd=place), 2, "exists already", "netwright resume")
    assert not list((place / "cache").rglob("*.json"))


def test_an_impossible_limit_leaves_the_folder_free(server, place):
    for _ in range(2):
        assert refused(server.run("search", "--params", "10", "--no-train", "--out", "free", cwd=place), 3, "tightest")
    assert not (place / "free" / FILE_NAME).exists()


def test_an_attribute_called_seed_is_the_spaces_own(server, place):
    ended = server.run("search", "--space", "user:Seeded", "--no-train", "--evaluations", "30", "--json",
                       "--out", "seeded", cwd=place)  # fmt: skip
    assert ended.code == 0, ended.err
    assert server.run("space", "show", "user:Seeded", cwd=place).code == 0


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


def unfinish(path, *kinds):
    """Take events back, as if it had been killed just before."""
    connection = sqlite3.connect(path)
    with connection:
        for kind in kinds:
            connection.execute("DELETE FROM event WHERE kind = ?", (kind,))
    connection.close()


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
