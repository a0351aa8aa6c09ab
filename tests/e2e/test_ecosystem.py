"""What surrounds a search: callbacks of the command, Optuna's mirror, exports of one's own, completion, init."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from command_place import QUICK, refused
from commands import until

from nas import Run, from_pretrained, save_pretrained
from nas.compress.coupling import coupled_channels
from nas.compress.slicing import sliced
from nas.config import Config
from nas.export.errors import ExportFailed
from nas.study import export_study
from nas.train.data import load_dataset
from search_spaces import load_space
from search_spaces.build import build

BINARIES = Path(sys.executable).parent


@pytest.mark.slow  # its parts are fast tests of tests/unit/test_callbacks.py
def test_files_of_callbacks_are_whole_after_an_interrupt_and_a_resume(server, place):
    long = ("search", "--no-train", "--macs", "500k", "--evaluations", "15000", "--engine", "serial", "--quiet")
    started = server.start(
        *long, "--callback", "csv", "--callback", "jsonl:candidates=false", "--out", "told", cwd=place
    )
    table = place / "told" / "candidates.csv"
    assert until(lambda: table.exists() and table.stat().st_size > 5_000)
    started.signal(signal.SIGKILL)
    started.wait()
    assert server.run("resume", "told", "--quiet", cwd=place).code == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [int(row["id"]) for row in rows] == list(range(15_000))
    with Run.open(place / "told") as run:
        stored = run.store.table(scored_only=False)
    assert [row["digest"] for row in rows] == [row["digest"] for row in stored]
    lines = [json.loads(line) for line in (place / "told" / "events.jsonl").read_text().splitlines()]
    assert [line["resumed"] for line in lines if line["event"] == "start"] == [False, True]
    assert lines[-1]["reason"] == "finished"


def test_wrong_callbacks_are_refused_before_the_search(server, place):
    wrong = server.run("search", *QUICK, "--callback", "tensorbord", "--out", "never", cwd=place)
    refused(wrong, 2, "did you mean 'tensorboard'")
    wrong = server.run("search", *QUICK, "--callback", "csv:pth=a", "--out", "never", cwd=place)
    refused(wrong, 2, "unknown option 'pth'; did you mean 'path'")
    assert not (place / "never").exists()


def test_the_configuration_of_init_is_searched_with(server, place):
    assert server.run("init", "--data", "digits", "--out", "made.yaml", cwd=place).code == 0
    ended = server.run("search", "--config", "made.yaml", *QUICK, "--json", "--out", "made", cwd=place)
    assert ended.code == 0, ended.err
    with Run.open(place / "made") as run:
        assert run.config.search.evaluations == 60
    refused(server.run("init", "--out", "made.yaml", cwd=place), 2, "made.yaml: exists already")


@pytest.mark.parametrize("file", ["study.db", "study.journal"])
def test_optuna_reads_the_mirror(server, place, run, file):
    ended = server.run("export-study", "run", "--out", file, "--trials", "12", "--json", cwd=place).json()
    assert (ended["study"], ended["trials"]) == ("run", 12)
    if file.endswith(".db"):
        storage = optuna.storages.RDBStorage(f"sqlite:///{place / file}")
    else:
        backend = optuna.storages.journal.JournalFileBackend(str(place / file))
        storage = optuna.storages.JournalStorage(backend)
    study = optuna.load_study(study_name="run", storage=storage)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.user_attrs["config"]["search"]["evaluations"] == 60
    with Run.open(place / "run") as opened:
        front = opened.pareto()
        rows = opened.candidates().set_index("id")
    assert {trial.user_attrs["id"] for trial in study.trials} >= set(front["id"])
    for trial in study.trials:
        row = rows.loc[trial.user_attrs["id"]]
        assert trial.values == [row["score"], row["macs"]]
        assert trial.params["params"] == row["params"]
        assert trial.constraints == {"macs": row["macs"] - 500_000}
    assert {trial.user_attrs["id"] for trial in study.best_trials} == set(front["id"])
    refused(server.run("export-study", "run", "--out", file, cwd=place), 2, "holds a study 'run' already")
    (place / "text.db").write_text("no database")
    refused(server.run("export-study", "run", "--out", "text.db", cwd=place), 2, "text.db: no storage")


def test_knobs_are_the_parameters_of_a_space_of_knobs(server, place, tmp_path):
    knobs = ("--no-train", "--params", "1M", "--evaluations", "60", "--engine", "serial", "--space", "genet-tiny")
    ended = server.run("search", *knobs, "--out", "knobs", cwd=place)
    assert ended.code == 0, ended.err
    with Run.open(place / "knobs") as opened:
        mirror = export_study(opened, tmp_path / "k.journal", name="mine")
        space = load_space("genet-tiny")
        backend = optuna.storages.journal.JournalFileBackend(str(mirror.path))
        study = optuna.load_study(study_name="mine", storage=optuna.storages.JournalStorage(backend))
        for trial in study.trials:
            assert space.decode(trial.params) == opened.architecture(trial.user_attrs["id"])


def test_a_network_is_saved_and_read_back_plain_and_compressed(tmp_path):
    task = load_dataset("digits").task
    torch.manual_seed(0)
    space = load_space("mobilenetv3-tiny-images")
    network = build(space.sample(np.random.default_rng(0)), num_classes=10, in_channels=1).eval()
    report = save_pretrained(network, tmp_path / "plain", data="digits")
    assert report.parity.agree_top1 == 1
    coupling = coupled_channels(network, task.input_shape)
    keep = {name: torch.arange(group.size) % 3 != 1 for name, group in coupling.groups.items()}
    cut = sliced(network, coupling, keep)
    save_pretrained(cut, tmp_path / "cut", like=tmp_path / "plain")
    images = torch.randn(3, *task.input_shape)
    for name, original in (("plain", network), ("cut", cut)):
        with torch.no_grad():
            assert torch.equal(from_pretrained(tmp_path / name)(images), original(images))
    for wrong in ({}, {"data": "digits", "like": tmp_path / "plain"}):
        with pytest.raises(ExportFailed, match="expected one of the two"):
            save_pretrained(network, tmp_path / "wrong", **wrong)
    with pytest.raises(ExportFailed, match="3 outputs, the task 10 classes"):
        save_pretrained(build(space.sample(np.random.default_rng(0)), num_classes=3), tmp_path / "w", data="digits")


COMPLETE = """
source <(netwright completion bash)
COMP_WORDS=({words}) COMP_CWORD={at}
_netwright_completion netwright
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "found", "missing"),
    [
        ("netwright s", {"search", "space", "status"}, {"resume"}),
        ("netwright status r", {"run"}, {"user.py"}),
        ("netwright search --space zen-t", {"zen-tiny"}, {"zen"}),
        ("netwright score X --score ma", {"mad", "mad_multiscale"}, {"zen"}),
        ("netwright resume run --callback c", {"csv"}, {"jsonl"}),
        ("netwright train X --device o", {""}, {"onnxruntime"}),
    ],
)
def test_bash_completes_what_there_is(place, run, words, found, missing):
    script = COMPLETE.format(words=words, at=len(words.split()) - 1)
    environment = os.environ | {"PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}"}
    if shutil.which("netwright", path=environment["PATH"]) is None:
        pytest.skip("the command is not installed")
    ended = subprocess.run(
        ["bash", "-c", script], cwd=place, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stderr == ""
    offered = {word.rstrip("/") for word in ended.stdout.splitlines()}
    assert found <= offered
    assert not missing & offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_command(server, place, shell):
    ended = server.run("completion", shell, cwd=place)
    assert ended.code == 0
    assert f"_NETWRIGHT_COMPLETE={shell}_complete" in ended.out
    refused(server.run("completion", "tcsh", cwd=place), 2, "'tcsh' is not one of")
    refused(server.run("completion", cwd=place), 2, "missing SHELL: expected one of bash, zsh, fish")


def test_a_config_file_takes_callbacks():
    config = Config.from_dict({"callbacks": ["jsonl", {"tensorboard": {"dir": "tb"}}]})
    assert config.to_dict()["callbacks"] == [{"jsonl": {}}, {"tensorboard": {"dir": "tb"}}]
