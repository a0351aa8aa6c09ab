"""One training by two real processes, some of which are killed; label trainings under Tune likewise."""

import logging
import os
import signal
from contextlib import suppress

import psutil
import pytest
import torch
from command_place import ONE
from commands import CommandServer, until

from nas.run import Run
from nas.runners.ray_session import start_ray
from nas.store import RunFileError
from nas.train.distributed import fit as together
from nas.train.distributed.crew import WorkerLost
from nas.train.distributed.fit import fit_together
from nas.train.entrant import build_network
from nas.train.fit import fit
from nas.train.recipe import Recipe
from nas.train.subset import without_test
from search_spaces.formats import read_published

RECIPE = Recipe(epochs=4, batch_size=64, learning_rate=0.02)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:ray"),
]


def started(name, pid=None):
    """Processes under this one whose command line holds a name."""
    found = []
    for process in psutil.Process(pid or os.getpid()).children(recursive=True):
        with suppress(psutil.Error):
            if name in " ".join(process.cmdline()):
                found.append(process)
    return found


def network():
    return build_network(read_published(ONE)[0], without_test("digits", 256), seed=0)


def close(one, other):
    return all(
        torch.allclose(a.float(), b.float(), rtol=1e-2, atol=1e-3)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_a_killed_worker_costs_an_epoch_and_nothing_else(tmp_path, caplog):
    dataset, alone, shared, killed = without_test("digits", 256), network(), network(), []
    expected = fit(alone, dataset, RECIPE, seed=1)

    def kill_once(report):
        if report.epoch == 2 and not killed:
            killed.extend(started("Member")[:1])
            killed[0].kill()

    with caplog.at_level(logging.WARNING, "nas"), start_ray(workers=2):
        found = fit_together(
            shared, dataset, RECIPE, seed=1, workers=2, checkpoint=tmp_path / "c.pt", on_epoch=kill_once
        )
    assert "a worker ended in epoch 3" in caplog.text
    assert "starting again (1 of 3)" in caplog.text
    assert [report.epoch for report in found.curve] == [1, 2, 3, 4]
    for one, other in zip(found.curve, expected.curve, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-3)
    assert close(shared, alone)
    after = network()  # the checkpoint is that of one process: whoever calls goes on from it
    assert fit_together(after, dataset, RECIPE, seed=1, workers=1, checkpoint=tmp_path / "c.pt") == found


def test_a_training_whose_workers_always_die_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(together, "MAX_RESTARTS", 1)
    deadly = network()
    deadly.register_forward_pre_hook(lambda model, images: os._exit(1) if model.training else None)
    with start_ray(workers=2), pytest.raises(WorkerLost, match="a worker ended in epoch 1") as caught:
        fit_together(deadly, without_test("digits", 256), RECIPE, seed=1, workers=2)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with CommandServer(tmp_path_factory.mktemp("distributed")) as running:
        yield running


def test_a_killed_command_goes_on_with_another_number_of_workers(server, tmp_path):
    train = ("train", ONE, "--data", "digits", "--epochs", "4", "--json", "-q", "--set", "learning_rate=0.02")
    alone = server.run(*train, "--out", "alone", cwd=tmp_path).json()
    command = server.start(*train, "--workers", "2", "--out", "shared", cwd=tmp_path)
    assert until((tmp_path / ".shared.checkpoint.pt").exists)
    command.signal_group(signal.SIGKILL)
    command.wait()
    ended = server.run(*train, "--workers", "1", "--out", "shared", cwd=tmp_path).json()
    assert ended["epochs"] == 4
    assert ended["curve"][0]["train_loss"] == pytest.approx(alone["curve"][0]["train_loss"], rel=1e-4)
    assert ended["curve"][0]["train_loss"] != alone["curve"][0]["train_loss"]  # that epoch was trained by two
    assert abs(ended["test_top1"] - alone["test_top1"]) < 0.1


def test_a_lost_raylet_ends_a_training_in_one_line(server, tmp_path):
    train = ("train", ONE, "--data", "digits", "--epochs", "6", "--json", "-q", "--workers", "2", "--out", "lost")
    command = server.start(*train, cwd=tmp_path)
    assert until((tmp_path / ".lost.checkpoint.pt").exists)
    (raylet,) = [child for child in psutil.Process(command.pid).children() if child.name() == "raylet"]
    raylet.kill()
    ended = command.wait()
    assert ended.code == 2, ended.err
    assert "Ray has lost its process raylet" in ended.err
    assert "go on with the same command" in ended.err
    assert server.run(*train, cwd=tmp_path).json()["epochs"] == 6


LABELS = (
    "search", "--data", "digits", "--score", "predictor", "--labels", "8", "--params", "30k", "--macs", "600k",
    "--evaluations", "60", "--seed", "4", "--json", "--no-train", "--set", "predictor.initial=5",
    "--set", "predictor.batch=3", "--set", "predictor.epochs=3", "--set", "predictor.proposals=40",
    "--set", "search.lookahead=32",
)  # fmt: skip


def labels(directory):
    with suppress(RunFileError), Run.open(directory) as run:
        return [
            {**event, "time": "", "curve": [{**report, "seconds": 0} for report in event["curve"]]}
            for event in run.events("label")
        ]
    return []


def test_labels_are_trained_under_tune_and_survive_killed_drivers_and_workers(server, tmp_path):
    whole = server.run(*LABELS, "--engine", "serial", "--out", "whole", cwd=tmp_path).json()
    command = server.start(*LABELS, "--engine", "ray", "--workers", "2", "--out", "killed", cwd=tmp_path)
    checkpoints = tmp_path / "killed" / "work" / "labels" / "round-0" / "tune"
    assert until(lambda: list(checkpoints.glob("finalist-*/checkpoint_*/training.pt")))  # under Tune, with checkpoints
    command.signal_group(signal.SIGKILL)
    command.wait()
    assert len(labels(tmp_path / "killed")) < 8
    command = server.start("resume", "killed", "--json", cwd=tmp_path)
    assert until(lambda: started("ImplicitFunc", command.pid))
    for worker in started("ImplicitFunc", command.pid)[:1]:
        worker.kill()
    ended = command.wait()
    assert ended.json()["best"] == whole["best"], ended.err
    assert labels(tmp_path / "killed") == labels(tmp_path / "whole")
    assert len(labels(tmp_path / "whole")) == 8
