"""``netwright detect`` as a user meets it: trained, killed, resumed, evaluated, exported, and given wrong input."""

import json
import signal

import numpy as np
import pytest
import torch
from commands import CommandServer, until

from nas.export.detector import load_detector
from nas.export.pretrained import save_pretrained
from nas.train.images import ImageTask
from search_spaces.build import build
from search_spaces.plainnet import read_structure

BACKBONE = (
    "ConvKX(3,8,3,2)BN(8)RELU(8)SuperResK1KXK1(8,16,3,2,0.5,1)SuperResK1KXK1(16,24,3,2,0.5,1)"
    "SuperResK1KXK1(24,32,3,2,0.5,1)SuperResK1KXK1(32,48,3,2,0.5,1)"
)
TRAIN = ("detect", "train", BACKBONE, "--data", "toys", "--width", "16", "--depth", "1", "--json", "-q")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detect")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (12, 64, 64, 3)).astype(np.uint8)
    for i in range(12):
        images[i, 16:48, 8:40, i % 3] = 250
    boxes = [(i, i % 3, 24 / 64, 0.5, 0.5, 0.5) for i in range(12)]
    (folder / "toys").mkdir()
    np.savez(folder / "toys" / "toys.npz", image=images, boxes=np.array(boxes))
    (folder / "toys" / "classes.yaml").write_text("names: [red, green, blue]\n")
    np.savez(folder / "broken.npz", image=images, boxes=np.array([(0, 0, 0.5, 0.5, 0.0, 0.5)]))
    return folder


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    with CommandServer(tmp_path_factory.mktemp("commands")) as server:
        yield server


@pytest.fixture(scope="module")
def trained(commands, folder):
    return commands.run(*TRAIN, "--out", "whole", "--epochs", "4", cwd=folder).json()


def test_train_reports_and_writes_an_export(trained, folder):
    assert trained.keys() >= {"directory", "ap", "ap50", "ap75", "images", "boxes", "train_ap50", "epochs", "curve"}
    assert len(trained["curve"]) == trained["epochs"] == 4
    assert set(trained["files"]) == {"config.json", "model.safetensors", "model.onnx", "detect.py", "README.md"}
    assert "| held out |" in (folder / "whole" / "README.md").read_text()


def test_a_killed_training_goes_on_to_the_same_detector(commands, folder, trained):
    running = commands.start(*TRAIN, "--out", "killed", "--epochs", "4", cwd=folder)
    assert until((folder / ".killed.checkpoint.pt").exists)
    running.signal_group(signal.SIGKILL)
    running.wait()
    assert not (folder / "killed").exists()
    resumed = commands.run(*TRAIN, "--out", "killed", "--epochs", "4", cwd=folder).json()
    assert not (folder / ".killed.checkpoint.pt").exists()
    for name in ("model.safetensors", "model.onnx", "config.json", "README.md"):
        assert (folder / "killed" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert resumed["ap50"] == trained["ap50"]


def test_eval_gives_the_figures_of_the_training_and_export_another_batch(commands, folder, trained):
    found = commands.run("detect", "eval", "whole", "--data", "toys", "--json", cwd=folder).json()
    assert (found["ap"], found["ap50"], found["boxes"]) == (trained["ap"], trained["ap50"], trained["boxes"])
    again = commands.run("detect", "export", "whole", "--out", "any", "--batch", "any", "--json", cwd=folder).json()
    assert again["max_abs_error_scores"] < 1e-4
    config = [json.loads((folder / name / "config.json").read_text()) for name in ("whole", "any")]
    assert config[0] == config[1]


def test_init_starts_from_a_classifiers_weights(commands, folder):
    torch.manual_seed(3)
    classifier = build(read_structure(BACKBONE)[0], num_classes=2)
    task = ImageTask("any", ("a", "b"), (3, 32, 32), 1 / 255, (0.5,) * 3, (0.2,) * 3)
    save_pretrained(folder / "classifier", classifier, task=task)
    still = ("--epochs", "1", "--set", "learning_rate=1e-9")
    commands.run(*TRAIN, "--out", "started", "--init", "classifier", *still, cwd=folder).json()
    expected, found = classifier.state_dict(), load_detector(folder / "started").backbone.state_dict()
    weights = [name for name in found if name.endswith("conv.weight")]
    assert len(weights) > 10
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in weights)


WRONG = [
    ((*TRAIN, "--data", "nowhere", "--out", "x"), "nowhere: no such file or folder; expected a .npz file"),
    ((*TRAIN, "--data", "broken.npz", "--out", "x"), "image 0: box 1 (x1, y1, x2, y2) = (32, 16, 32, 48) has no area"),
    ((*TRAIN, "--out", "x", "--levels", "5,6"), "level 6 has stride 64; this architecture has 2 (level 1)"),
    ((*TRAIN, "--out", "x", "--levels", "3-5"), "expected whole numbers such as 3,4,5"),
    ((*TRAIN, "--out", "x", "--size", "50"), "expected multiples of the largest stride 32; for example --size 64"),
    ((*TRAIN, "--out", "x", "--classes", "9"), "expected all, one, or a number from 1 to 2"),
    ((*TRAIN, "--out", "x", "--width", "9"), "width=9, expected a multiple of 8"),
    ((*TRAIN, "--out", "x", "--set", "speed=1"), "recipe.speed: unknown setting"),
    ((*TRAIN, "--out", "x", "--device", "tpu"), "detect train: --device='tpu', expected cpu"),
    ((*TRAIN, "--out", "whole"), "holds an exported network already"),
    ((*TRAIN, "--out", "x", "--init", "whole"), "the export is for detection, expected one for classification"),
    (("detect", "eval", "toys", "--data", "toys"), "config.json: cannot be read"),
    (("detect", "eval", "whole", "--data", "broken.npz"), "has no area"),
    (("detect", "export", "whole", "--out", "whole"), "is the source itself"),
    (("detect", "export", "whole", "--out", "y", "--batch", "0"), "expected a whole number of at least 1, or `any`"),
    (("export", "whole", "--out", "y"), "the export is for detection, expected one for classification"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_input_is_one_line_and_writes_nothing(commands, folder, trained, arguments, message):
    ended = commands.run(*arguments, cwd=folder)
    assert ended.code == 2, ended.err
    assert message in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert ended.out == ""
    assert not (folder / "x").exists()
    assert not (folder / ".x.checkpoint.pt").exists()
