"""The main job for real: real digits, this machine's CPU, real training, the exported file measured."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from nas import Run, from_pretrained
from nas.train.data import load_dataset
from nas.train.evaluate import evaluate_test

BUDGET = "50ms"  # generous: the test is about the path, not about this machine
SETTINGS = {
    "latency.profile": "10s",
    "latency.measure": "5s",
    "search.population": 64,
    "finalists.measured": 3,
    "finalists.trained": 2,
    "finalists.epochs": 1,
    "guard.seeds": 1,
    "engine.kind": "serial",
    "constraints.params": "30k",
    "recipe.epochs": 2,
}


def netwright(*args, cache):
    command = [sys.executable, "-m", "nas", *map(str, args)]
    environment = {"NETWRIGHT_CACHE": str(cache), "PATH": "/usr/bin:/bin", "HOME": str(cache)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache):
    out = tmp_path_factory.mktemp("runs") / "digits"
    settings = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
    args = ["search", "--data", "digits", "--latency", BUDGET, "--evaluations", 300, "--out", out, "--json", *settings]
    ended = netwright(*args, cache=cache)
    assert ended.returncode == 0, ended.stderr
    return out, json.loads(ended.stdout), ended.stderr


def test_the_summary_says_that_the_budget_is_kept_by_measurement(finished):
    _, summary, told = finished
    assert summary["verdict"] == "kept"
    low, high = summary["best"]["latency_ms"]["interval"]
    assert 0 < low <= summary["best"]["latency_ms"]["measured"] <= high <= 50
    assert 0 <= summary["best"]["top1"] <= 1
    assert "the budget of 50 ms is kept" in told


def test_every_artefact_is_there(finished):
    _, summary, _ = finished
    assert {"run", "report", "model.onnx", "model.safetensors", "config.json", "network.py", "README.md"} <= set(
        summary["artifacts"]
    )
    assert all(Path(path).stat().st_size > 0 for path in summary["artifacts"].values())
    assert "keeps" in (text := Path(summary["artifacts"]["report"]).read_text()) or "kept" in text


def test_the_weights_are_those_that_were_tested(finished):
    out, summary, _ = finished
    test = evaluate_test(from_pretrained(out / "winner"), load_dataset("digits"))
    assert test.top1 == summary["best"]["top1"]


def test_the_onnx_file_gives_the_networks_answers_on_real_images(finished):
    out, summary, _ = finished
    data = load_dataset("digits")
    images = (data.test.images[:20] * data.pixel_scale - np.array(data.mean).reshape(-1, 1, 1)) / np.array(
        data.std
    ).reshape(-1, 1, 1)
    images = images.astype(np.float32)
    session = onnxruntime.InferenceSession(summary["artifacts"]["model.onnx"], providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = from_pretrained(out / "winner")(torch.from_numpy(images)).numpy()
    found = np.concatenate([session.run(None, {"images": image[None]})[0] for image in images])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_the_run_file_answers_other_budgets(finished):
    out, _, _ = finished
    with Run.open(out) as run:
        front = run.pareto()
        assert front["latency_ms"].is_monotonic_increasing
        assert front["score"].is_monotonic_increasing
        middle = front["latency_upper_ms"].iloc[len(front) // 2]
        assert run.best(latency_ms=middle)["latency_upper_ms"] <= middle


def test_the_guard_trained_everyone_alike(finished):
    out, _, _ = finished
    with Run.open(out) as run:
        [guard] = run.events("guard")
    rows = guard["result"]["rows"]
    assert rows[0]["name"] == "searched"
    assert {"scaled ResNet", "scaled MobileNet"} <= {row["name"] for row in rows}
    assert all(len(row["top1"]) == 1 for row in rows)
    assert "not a conclusion" in guard["result"]["verdict"]  # one seed


def test_resuming_a_finished_run_prints_the_same(finished, cache):
    out, summary, _ = finished
    again = netwright("resume", out, "--json", "--quiet", cache=cache)
    assert json.loads(again.stdout) == summary
    assert again.stderr == ""


def test_a_missed_budget_has_exit_code_4_and_a_sentence(finished, cache):
    out, _, _ = finished
    ended = netwright("verify", out, "--latency", "1us", "--measure", "5s", "--json", cache=cache)
    assert ended.returncode == 4
    answer = json.loads(ended.stdout)
    assert answer["verdict"] == "missed"
    assert "is missed" in answer["sentence"]


def test_an_impossible_budget_names_the_tightest_one(finished, cache, tmp_path):
    args = ["search", "--data", "digits", "--latency", "1us", "--out", tmp_path / "run", "--set", "latency.profile=10s"]
    ended = netwright(*args, cache=cache)
    assert ended.returncode == 3
    assert "the tightest it reaches is" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
