"""``netwright compress`` and ``disparse`` as a user runs them: results, wrong input, interruption."""

import json
import signal

import numpy as np
import pytest
from command_place import ONE, refused
from commands import until

QUICK = """
distil: {}
channels: {method: uniform, macs: 0.7, train: {epochs: 1, batch_size: 64, learning_rate: 0.05}}
quantise: {method: minmax, images: 64}
"""
OWN = """
from torch import nn
def small():
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(16, 10))
def other():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))
"""


def prepare(server, place):
    """A trained network, recipes and a user's module, made once."""
    if (place / "compressible").exists():
        return
    train = ("train", ONE, "--data", "digits", "--epochs", "1", "--out", "compressible", "-q", "--json")
    assert server.run(*train, cwd=place).code == 0
    (place / "quick.yaml").write_text(QUICK)
    (place / "wrong.yaml").write_text("channels: {macs: 3}")
    (place / "owns.py").write_text(OWN)
    (place / "long.yaml").write_text("fine_tune: {epochs: 500, batch_size: 32, learning_rate: 0.05}")


def test_a_trained_network_becomes_smaller_files(server, place):
    prepare(server, place)
    command = ("compress", "compressible", "--recipe", "quick.yaml", "--quick", "--out", "smaller")
    found = server.run(*command, "--json", "-q", cwd=place).json()
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["compressed"]["macs"] <= 0.7 * rows["original"]["macs"]
    assert rows["integers"]["bytes"] < rows["original"]["bytes"]
    assert rows["integers"]["latency_ms"] > 0
    assert rows["integers"]["speed_up_low"] <= rows["integers"]["speed_up"] <= rows["integers"]["speed_up_high"]
    assert {"COMPRESSION.md", "integers.onnx", "model.onnx", "original.onnx"} <= set(found["files"])
    assert not list(place.glob(".smaller*"))
    assert refused(server.run(*command, cwd=place), 2, "smaller: holds an export already", "--overwrite")
    assert server.run("export", "smaller", "--out", "smaller-again", "--json", cwd=place).json()["agree_top1"] == 1
    configs = [json.loads((place / name / "config.json").read_text()) for name in ("smaller", "smaller-again")]
    assert configs[0]["layers"] == configs[1]["layers"]


def test_a_module_of_the_user(server, place):
    prepare(server, place)
    command = ("compress", "owns:small", "--data", "digits", "--recipe", "quick.yaml", "--quick", "--out", "own-small")
    found = server.run(*command, "--json", "-q", cwd=place).json()
    assert "network.pt2" in found["files"]
    assert json.loads((place / "own-small" / "config.json").read_text())["task"] == "module"


def test_wrong_input_is_one_line(server, place):
    prepare(server, place)
    np.savez(place / "tensors.npz", **{"0.weight": np.zeros((16, 1, 3, 3), np.float32)})
    for arguments, words in (
        (("nowhere",), ("nowhere: no such folder", "package.module:factory")),
        (("compressible", "--recipe", "wrong.yaml"), ("wrong.yaml.channels.macs", "less than 1")),
        (("compressible", "--recipe", "none.yaml"), ("none.yaml: cannot be read",)),
        (("compressible", "--latency", "3"), ("latency '3': expected a number with unit",)),
        (("compressible", "--weights", "tensors.npz"), ("has its own weights",)),
        (("owns:small",), ("which images? give --data",)),
        (("owns:other", "--data", "digits"), ("gives (2, 7) for two images, expected (2, 10)",)),
        (("owns:small", "--data", "digits", "--weights", "tensors.npz"), ("0.bias is missing",)),
        (("compressible", "--train-device", "gpu"), ("--train-device",)),
    ):
        ended = server.run("compress", *arguments, "--out", "refused", "-q", cwd=place)
        assert refused(ended, 2, *words), ended
    assert not (place / "refused").exists()


@pytest.mark.slow
def test_a_budget_that_nothing_keeps_has_its_exit_code(server, place):
    prepare(server, place)
    command = ("compress", "compressible", "--recipe", "quick.yaml", "--quick", "--latency", "1e-6ms")
    tight = server.run(*command, "--out", "refused", "-q", cwd=place)
    assert refused(tight, 3, "1e-06 ms cannot be kept", "give more")
    assert not (place / "refused").exists()


def test_an_interrupted_compression_goes_on(server, place):
    prepare(server, place)
    command = ("compress", "compressible", "--recipe", "long.yaml", "--out", "stopped", "-q", "--json")
    running = server.start(*command, cwd=place)
    until(lambda: list(place.glob(".stopped.work/*/fine-tune.pt")))
    running.signal(signal.SIGINT)
    ended = running.wait()
    assert ended.code == 130
    assert not (place / "stopped").exists()
    assert list(place.glob(".stopped.work/*/fine-tune.pt"))


def test_two_tasks(server, place):
    prepare(server, place)
    command = ("disparse", ONE, "--data", "digits", "--epochs", "1", "--density", "0.3", "--out", "two")
    found = server.run(*command, "--json", "-q", cwd=place).json()
    assert abs(found["density"] - 0.3) < 1e-3
    assert set(found["scores"]) == {"category", "rotation"}
    assert sorted(path.name for path in (place / "two").iterdir()) == ["packed.safetensors", "report.json"]
    both = server.run("disparse", ONE, "--data", "digits", "--scenes", "a.npz", "--out", "x", cwd=place)
    assert refused(both, 2, "give either --data", "or --scenes")
    assert refused(
        server.run("disparse", ONE, "--data", "digits", "--density", "2", "--out", "x", cwd=place), 2, "density=2"
    )
