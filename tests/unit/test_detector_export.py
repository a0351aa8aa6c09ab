"""An exported detector: equal outputs in ONNX Runtime and the stand-alone program, read back, refused when damaged."""

import importlib.util
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from nas.export.detector import load_detector, save_detector
from nas.export.errors import ExportFailed, InvalidPretrained
from nas.export.parity import ParityFailed, check_parity
from nas.export.pretrained import from_pretrained
from nas.spec import load_spec
from nas.train.detection.network import DetectorDesign, build_detector
from nas.train.detection.predict import detect
from nas.train.evaluate import Normaliser
from nas.train.images import ImageTask
from search_spaces.arch import Architecture, Block

ARCH = Architecture(
    (
        Block("conv", 8, stride=2),
        Block("genet_bl", 12, 3, 2, 2, inner=8),
        Block("genet_dw", 16, 3, 2, 1, inner=16),
        Block("zen_idw", 16, 3, 2, 1, inner=8, expansion=2, se=True),
    )
)
TASK = ImageTask("toys", ("ball", "cube"), (3, 64, 64), 1 / 255, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
DESIGNS = [DetectorDesign((2, 3, 4), 16, 1), DetectorDesign((2, 4), 8, 2), DetectorDesign((3,), 16, 1)]


def detector(design=DESIGNS[0]):
    """Weights that say something: scores spread over 0..1, statistics and norms of no special value."""
    torch.set_num_threads(1)
    model = build_detector(ARCH, num_classes=2, design=design, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith(("running_var", "norm.weight")):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.1, generator=generator)
        model.head.classes.weight.mul_(60)
        model.head.boxes.weight.mul_(10)
        model.head.scales.copy_(torch.linspace(0.7, 1.4, len(model.strides)))
    return model.eval()


@pytest.mark.parametrize("design", DESIGNS, ids=["three levels", "a level between left out", "one level"])
@pytest.mark.parametrize("batch", [1, None])
def test_onnx_gives_the_networks_boxes_and_scores(tmp_path, design, batch):
    report = save_detector(tmp_path / "out", detector(design), task=TASK, batch=batch)
    onnx.checker.check_model(onnx.load(tmp_path / "out" / "model.onnx"), full_check=True)
    assert set(report.parity) == {"boxes", "scores"}
    assert report.parity["boxes"].max_abs_error < 0.01
    assert report.parity["scores"].max_abs_error < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    boxes, scores = session.run(None, {"images": np.zeros((batch or 3, 3, 64, 64), np.float32)})
    assert boxes.shape[::2] == (batch or 3, 4)
    assert scores.shape[::2] == (batch or 3, 2)


def test_other_weights_are_found_out(tmp_path):
    save_detector(tmp_path / "out", detector(), task=TASK)
    model = load_detector(tmp_path / "out")
    with torch.no_grad():
        model.head.centre.bias.add_(0.1)

    class Scores(torch.nn.Module):
        def forward(self, x):
            out = model(x)
            return (out.class_logits.sigmoid() * out.centre_logits.sigmoid()[..., None]).sqrt()

    with pytest.raises(ParityFailed, match="differ"):
        check_parity(Scores(), tmp_path / "out" / "model.onnx", TASK.input_shape, output="scores")


def program(folder):
    spec = importlib.util.spec_from_file_location("detect_alone", folder / "detect.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_stand_alone_program_finds_what_the_network_finds(tmp_path):
    model = detector()
    save_detector(tmp_path / "out", model, task=TASK)
    alone = program(tmp_path / "out")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    found = alone.find(alone.load(), pixels)
    images = Normaliser(TASK)(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()))
    (expected,) = detect(model, images)
    assert len(found) == len(expected.scores) > 5
    assert [TASK.classes[label] for label in expected.labels] == [one["class"] for one in found]
    assert np.allclose([one["score"] for one in found], expected.scores, atol=1e-4)
    assert np.allclose([one["box"] for one in found], expected.boxes, atol=1e-2)


def test_boxes_of_the_program_are_in_pixels_of_the_image_given(tmp_path):
    save_detector(tmp_path / "out", detector(), task=TASK)
    alone = program(tmp_path / "out")
    small = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    large = small.repeat(4, 0).repeat(4, 1)
    images, factors = alone.prepare(large)
    assert images.shape == (1, 3, 64, 64)
    assert factors.tolist() == [0.25] * 4
    assert alone.prepare(small)[1].tolist() == [1.0] * 4


def test_a_folder_is_read_back_and_equal_input_gives_equal_files(tmp_path):
    model = detector()
    save_detector(tmp_path / "a", model, task=TASK)
    save_detector(tmp_path / "b", load_detector(tmp_path / "a"), task=TASK)
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        "config.json",
        "model.safetensors",
        "model.onnx",
        "detect.py",
        "README.md",
    }
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    save_detector(tmp_path / "a", model, task=TASK)  # an earlier export is replaced
    assert load_spec(str(tmp_path / "a")).arch == ARCH


def test_a_detector_is_not_taken_for_a_classifier_nor_the_other_way_round(tmp_path):
    save_detector(tmp_path / "a", detector(), task=TASK)
    with pytest.raises(InvalidPretrained, match="the export is for detection, expected one for classification"):
        from_pretrained(tmp_path / "a")
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    del config["task"]
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidPretrained, match="the export is for classification, expected one for detection"):
        load_detector(tmp_path / "a")


@pytest.mark.parametrize(
    "detector_entry", [None, {}, {"levels": [7], "width": 16, "depth": 1}, {"levels": 3, "width": 16, "depth": 1}]
)
def test_a_damaged_configuration_is_one_line(tmp_path, detector_entry):
    save_detector(tmp_path / "a", detector(), task=TASK)
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    (tmp_path / "a" / "config.json").write_text(json.dumps({**config, "detector": detector_entry}))
    with pytest.raises(InvalidPretrained, match=r"config\.json: ") as error:
        load_detector(tmp_path / "a")
    assert "\n" not in str(error.value)


def test_an_architecture_changed_after_the_export_is_found_out(tmp_path):
    save_detector(tmp_path / "a", detector(), task=TASK)
    path = tmp_path / "a" / "config.json"
    config = json.loads(path.read_text())
    config["architecture"]["blocks"][0]["channels"] = 10
    path.write_text(json.dumps(config))
    with pytest.raises(InvalidPretrained, match="it was changed after the export"):
        load_detector(tmp_path / "a")


def test_weights_that_are_not_finite_and_foreign_classes_are_refused(tmp_path):
    model = detector()
    with pytest.raises(ExportFailed, match="2 classes, the task 1"):
        save_detector(tmp_path / "a", model, task=ImageTask("x", ("one",), (3, 64, 64), 1.0, (0.0,) * 3, (1.0,) * 3))
    with torch.no_grad():
        model.head.scales[0] = float("nan")
    with pytest.raises(ExportFailed, match="NaN"):
        save_detector(tmp_path / "a", model, task=TASK)
    assert not (tmp_path / "a").exists()
