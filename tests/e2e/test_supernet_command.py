"""``netwright supernet``: train, kill, go on, look, judge, take out; and training by two processes."""

from __future__ import annotations

import json
import signal

import pytest
import torch
from command_place import refused
from commands import until
from safetensors.torch import load_file

from nas.runners.ray_session import start_ray
from nas.train.data import load_dataset
from nas.train.images import Dataset, Split
from nas.train.supernet.parallel import train_supernet_in_parallel
from nas.train.supernet.recipe import SupernetRecipe
from nas.train.supernet.training import train_supernet
from search_spaces import SPACES
from search_spaces.supernet import Supernet

TRAIN = ("supernet", "train", "--data", "digits", "--space", "vit-tiny", "--epochs", "2", "--subnets", "3",
         "--set", "batch_size=256", "--json", "-q", "--out")  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of its own: that of all commands has networks with the same names."""
    return tmp_path_factory.mktemp("supernets")


@pytest.fixture(scope="module")
def trained(server, place):
    ended = server.run(*TRAIN, "sn", "--callback", "jsonl", cwd=place)
    assert ended.code == 0, ended.err
    return ended.json()


def test_a_killed_training_goes_on_and_ends_as_one_that_was_not(server, place, trained):
    running = server.start(*TRAIN, "killed", cwd=place)
    assert until((place / "killed" / "checkpoint.pt").exists)
    running.signal(signal.SIGKILL)
    running.wait()
    ended = server.run(*TRAIN, "killed", cwd=place).json()
    curves = [[{**report, "seconds": None} for report in each["curve"]] for each in (ended, trained)]
    assert curves[0] == curves[1]
    first, second = (load_file(place / name / "supernet.safetensors") for name in ("sn", "killed"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert sorted(path.name for path in (place / "killed").iterdir()) == ["supernet.json", "supernet.safetensors"]


def test_a_callback_hears_of_every_epoch_and_of_the_end(place, trained):
    told = [json.loads(line) for line in (place / "sn-log" / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in told] == ["start", "trial", "trial", "end"]
    for line, report in zip(told[1:3], trained["curve"], strict=True):
        assert (line["training"], line["epoch"]) == ("supernet", report["epoch"])
        assert line["validation_top1"] == report["largest_top1"]
        assert line["smallest_top1"] == report["smallest_top1"]
    assert told[-1]["reason"] == "finished"


def test_a_finished_training_is_not_repeated_and_not_replaced_unasked(server, place, trained):
    assert server.run(*TRAIN, "sn", cwd=place).json()["curve"] == trained["curve"]
    other = server.run(*TRAIN, "sn", "--seed", "3", cwd=place)
    assert refused(other, 2, "sn: holds a supernet of vit-tiny with another seed", "--overwrite")


def test_networks_are_judged_and_taken_out(server, place, trained):
    found = server.run("supernet", "evaluate", "sn", "largest", "smallest", "--json", cwd=place).json()
    assert {row["network"] for row in found["networks"]} == {"largest", "smallest"}
    assert all(row["loss_error"] > 0 and 0 <= row["top1"] <= 1 for row in found["networks"])
    shown = server.run("supernet", "show", "sn", "smallest", "--json", cwd=place).json()
    assert shown["space"] == "vit-tiny"
    assert {"tensor", "shape", "shared", "slice"} == set(shown["tensors"][0])
    taken = server.run(
        "supernet", "extract", "sn", "smallest", "--out", "taken", "--epochs", "1", "--json", "-q", cwd=place
    ).json()
    assert taken["difference_to_supernet"] <= 1e-5
    assert {"model.onnx", "model.safetensors", "network.py"} <= set(taken["files"])
    config = json.loads((place / "taken" / "config.json").read_text())
    assert config["digest"] == taken["digest"]
    assert server.run("supernet", "evaluate", "sn", "taken", "--json", cwd=place).code == 0


def test_bad_input_is_one_line(server, place, trained):
    (place / "notes").mkdir()
    (place / "notes" / "thesis.tex").write_text("years of work")
    for command, words in (
        (("train", "--data", "digits", "--space", "zen-tiny", "--out", "x"), "no fixed places"),
        (("train", "--data", "digits", "--space", "resnet20-channels", "--out", "sn"), "another space or sharing"),
        (("train", "--data", "digits", "--space", "vit-tiny", "--out", "notes"), "holds other files (thesis.tex)"),
        (("train", "--data", "digits", "--space", "vit-tiny", "--out", "x", "--sampler", "uniform"), "in-place"),
        (("train", "--data", "digits", "--space", "vit-tiny", "--out", "x", "--set", "speed=9"), "unknown setting"),
        (("train", "--data", "digits", "--space", "vit-tiny", "--out", "x", "--sharing-norms", "no"), "sharing.norms"),
        (("train", "--data", "digits", "--space", "vit-tiny", "--out", "x", "--callback", "jsn"), "mean 'jsonl'?"),
        (("evaluate", "sn", "SuperConvK3BNRELU(1,8,1,1)"), "no network of the supernet's space vit-tiny"),
        (("evaluate", "notes", "largest"), "expected a folder of"),
        (("extract", "sn", "largest", "--out", "notes"), "holds other files"),
    ):
        assert refused(server.run("supernet", *command, cwd=place), 2, words), command


@pytest.mark.slow
def test_two_processes_train_as_one_and_go_on(tmp_path):
    whole = load_dataset("digits")
    part = [Split(split.images[:64], split.labels[:64]) for split in (whole.train, whole.validation, whole.test)]
    few, recipe = Dataset("few", *part, whole.classes), SupernetRecipe(epochs=2, batch_size=32, subnets=3)

    def net():
        return Supernet(SPACES["vit-tiny"], num_classes=10, in_channels=1)

    class Stopped(Exception):
        pass

    def stop(report):
        raise Stopped

    alone, together = net(), net()
    one = train_supernet(alone, few, recipe, seed=1)
    path = tmp_path / "c.pt"
    with start_ray(None, 2):
        with pytest.raises(Stopped):
            train_supernet_in_parallel(net(), few, recipe, seed=1, workers=2, checkpoint=path, on_epoch=stop)
        two = train_supernet_in_parallel(together, few, recipe, seed=1, workers=2, checkpoint=path)
    assert len(two) == 2
    for a, b in zip(one, two, strict=True):
        assert a.largest_loss == pytest.approx(b.largest_loss, rel=1e-4)
        assert a.others_loss == pytest.approx(b.others_loss, rel=1e-4)
    for name, value in alone.named_parameters():  # AdamW turns rounding of tiny gradients into steps of its own size
        torch.testing.assert_close(value, dict(together.named_parameters())[name], rtol=1e-2, atol=5e-3)
