"""Files held against each other: intervals as published, predictions of the files themselves, one table row a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from compress_modules import random_norms
from torch import nn

import nas.compress.before_after as module
from hardware.compare import Comparison, Contestant
from hardware.device import Device
from hardware.numerics import check_numerics
from hardware.pairs import PairProtocol
from hardware.runtimes.contract import NumericsMismatch, Source
from hardware.runtimes.onnxruntime import load
from nas.compress.before_after import COLUMNS, Artefact, before_after, paired_difference, predictions, texts, wilson
from nas.compress.graph import executed_graph
from nas.compress.onnx_file import write_onnx, write_quantised_onnx
from nas.compress.quantise import Quantised, QuantiseSettings, quantise_network, simulated
from nas.train.evaluate import Normaliser, evaluate_test, to_tensors
from nas.train.images import Dataset, Split

SHAPE, CLASSES, TEST = (3, 8, 8), 4, 90


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, *SHAPE), dtype=np.uint8)
    labels = rng.integers(0, CLASSES, 200)
    cuts = [slice(0, 80), slice(80, 110), slice(110, 110 + TEST)]
    return Dataset("noise", *(Split(images[cut], labels[cut]) for cut in cuts), tuple("abcd"))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU()]
    return random_norms(nn.Sequential(*layers, nn.Flatten(), nn.Linear(72, CLASSES)))


@pytest.fixture(scope="module")
def quantised(model: nn.Module, dataset: Dataset) -> Quantised:
    images = Normaliser(dataset)(to_tensors(dataset.train)[0])
    settings = QuantiseSettings(method="minmax", weight_bits=7, edge_bits=7)
    return quantise_network(model, images, settings=settings)


@pytest.fixture(scope="module")
def files(model: nn.Module, quantised: Quantised, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    graph = executed_graph(model, SHAPE)
    protos = {
        "float": write_onnx(graph, SHAPE),
        "any": write_onnx(graph, SHAPE, batch=None),
        "of 64": write_onnx(graph, SHAPE, batch=64),
        "int8": write_quantised_onnx(quantised),
    }
    for name, proto in protos.items():
        onnx.save(proto, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in protos}


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_is_that_of_the_published_table(successes: int, n: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3 (score without continuity correction)."""
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_paired_difference_turns_its_sign_with_the_order() -> None:
    first = np.array([True] * 60 + [False] * 40)
    second = np.array([True] * 50 + [False] * 30 + [True] * 5 + [False] * 15)
    difference, low, high = paired_difference(first, second)
    assert difference == pytest.approx(0.05)  # 10 won, 5 lost
    assert low < 0.05 < high
    back, back_low, back_high = paired_difference(second, first)
    assert (back, back_low, back_high) == pytest.approx((-difference, -high, -low))


def test_paired_interval_of_equal_answers_is_short_but_not_empty() -> None:
    answers = np.arange(1000) % 3 == 0
    difference, low, high = paired_difference(answers, answers)
    assert difference == 0
    assert -0.005 < low < 0 < high < 0.005


@pytest.mark.slow
def test_paired_interval_holds_the_difference_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(0)
    shares, held, samples = (0.80, 0.06, 0.03, 0.11), 0, 4000  # both right, first only, second only, neither
    for _ in range(samples):
        kinds = rng.choice(4, 400, p=shares)
        _, low, high = paired_difference(kinds <= 1, (kinds == 0) | (kinds == 2))
        held += low <= shares[1] - shares[2] <= high
    assert 0.94 < held / samples < 0.97


def test_predictions_are_those_of_pytorch(files: dict[str, Path], model: nn.Module, dataset: Dataset) -> None:
    with torch.no_grad():
        wanted = model(Normaliser(dataset)(to_tensors(dataset.test)[0])).argmax(1).numpy()
    for name in ("float", "any"):
        assert (predictions(files[name], dataset, dataset.test) == wanted).all()


def test_images_that_do_not_fill_the_last_call_are_not_left_out(files: dict[str, Path], dataset: Dataset) -> None:
    found = predictions(files["of 64"], dataset, dataset.test)
    assert len(found) == 90
    assert (found == predictions(files["float"], dataset, dataset.test)).all()


def test_rows_say_what_the_files_are(
    files: dict[str, Path], model: nn.Module, quantised: Quantised, dataset: Dataset
) -> None:
    artefacts = [Artefact("float", files["float"], 1000, 9000), Artefact("int8", files["int8"], 1000, 9000, 1234)]
    first, second = before_after(artefacts, dataset)
    evaluation = evaluate_test(model, dataset)
    assert first.top1 == pytest.approx(evaluation.top1)
    assert first.low < first.top1 < first.high
    assert (first.difference, first.agreement, first.n) == (0.0, 1.0, TEST)
    assert [row.bytes for row in (first, second)] == [files[name].stat().st_size for name in ("float", "int8")]
    images = Normaliser(dataset)(to_tensors(dataset.test)[0])
    with torch.no_grad():
        same = simulated(quantised)(images).argmax(1) == model(images).argmax(1)
    assert second.agreement == pytest.approx(float(same.double().mean()), abs=1.5 / TEST)
    assert second.difference == pytest.approx(second.top1 - first.top1)
    assert (second.floating, second.latency_ms, second.speed_up) == ((), None, None)
    assert json.loads(json.dumps(second.to_dict()))["packed_bytes"] == 1234


def test_other_images_than_the_test_images_can_be_judged(files: dict[str, Path], dataset: Dataset) -> None:
    [row] = before_after([Artefact("float", files["float"], 1, 1)], dataset, split=dataset.validation)
    found = predictions(files["float"], dataset, dataset.validation)
    assert row.n == len(dataset.validation)
    assert row.top1 == pytest.approx((found == dataset.validation.labels).mean())


def test_what_stays_in_floating_point_is_in_the_row(model: nn.Module, dataset: Dataset, tmp_path: Path) -> None:
    images = Normaliser(dataset)(to_tensors(dataset.train)[0])
    settings = QuantiseSettings(method="minmax", activation_bits=None)
    onnx.save(write_quantised_onnx(quantise_network(model, images, settings=settings)), tmp_path / "weights.onnx")
    [row] = before_after([Artefact("weights", tmp_path / "weights.onnx", 1, 1)], dataset)
    assert sorted(node.weight for node in row.floating) == ["0.weight", "3.weight", "6.weight"]
    assert {node.reason for node in row.floating} == {"its input is not quantised"}


def test_latencies_are_of_interleaved_pairs(files: dict[str, Path], dataset: Dataset) -> None:
    artefacts = [Artefact(name, files[name], 1, 1) for name in ("float", "int8")]
    first, second = before_after(artefacts, dataset, device=Device(), pairs=PairProtocol(6, 0.0, 20.0))
    assert (first.speed_up, first.speed_up_low, first.speed_up_high) == (1.0, 1.0, 1.0)
    assert first.latency_ms is not None
    assert second.latency_ms is not None
    assert second.speed_up_low is not None
    assert second.speed_up_high is not None
    assert second.speed_up_low <= second.speed_up <= second.speed_up_high
    cells = dict(zip(COLUMNS, texts(second), strict=True))
    assert cells["latency"] == f"{second.latency_ms:.4g} ms"
    assert cells["speed-up"].startswith(f"{second.speed_up:.2f}x (")


class OneStepOff:
    """A runtime that rounds one value to the other of two neighbouring steps."""

    def __init__(self, file: Path) -> None:
        self.session = load(Source(file.name, SHAPE, file), Device())

    def run(self) -> None:
        """Not asked for."""

    def run_once(self, images: np.ndarray) -> np.ndarray:
        """The output with its largest value changed by one of 127 steps."""
        output = self.session.run_once(images).copy()
        output[0, output[0].argmax()] *= 1 + 1 / 127
        return output


def test_a_rounding_step_is_no_wrong_result_of_an_integer_file(files: dict[str, Path]) -> None:
    integers, floats = (Source(name, SHAPE, files[name]) for name in ("int8", "float"))
    assert 0 < check_numerics(OneStepOff(files["int8"]), integers, Device()) < 1e-3
    as_bytes = Source("int8", SHAPE, files["int8"].read_bytes())
    assert 0 < check_numerics(OneStepOff(files["int8"]), as_bytes, Device()) < 1e-3
    with pytest.raises(NumericsMismatch, match="off by"):
        check_numerics(OneStepOff(files["float"]), floats, Device())


def test_a_file_that_computes_something_else_is_reported_untimed(
    files: dict[str, Path], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = module.compare

    def compare(first: Contestant, second: Contestant, *args: Any, **kwargs: Any) -> Comparison:
        if second.model.name.startswith("int8"):
            raise NumericsMismatch("int8.onnx: has a cosine of 0.9")
        return timed(first, second, *args, **kwargs)

    monkeypatch.setattr(module, "compare", compare)
    artefacts = [Artefact(name, files[name], 1, 1) for name in ("float", "int8", "any")]
    base, wrong, right = before_after(artefacts, dataset, device=Device(), pairs=PairProtocol(6, 0.0, 20.0))
    assert (wrong.latency_ms, wrong.speed_up, wrong.untimed) == (None, None, "int8.onnx: has a cosine of 0.9")
    assert texts(wrong)[-2:] == ("not measured", "-")
    for row in (base, right):
        assert row.latency_ms is not None
        assert (row.speed_up is None, row.untimed) == (False, "")


def test_a_runtime_that_reads_no_onnx_measures_nothing(files: dict[str, Path], dataset: Dataset) -> None:
    [row] = before_after([Artefact("float", files["float"], 7, 8)], dataset, device=Device(runtime="torch"))
    assert dict(zip(COLUMNS, texts(row), strict=True)) | {"bytes": ""} == {
        "file": "float",
        "bytes": "",
        "params": "7",
        "MACs": "8",
        "top-1": f"{row.top1:.4f}",
        "95 %": f"{row.low:.4f} to {row.high:.4f}",
        "against first": f"+0.0000 ({row.difference_low:+.4f} to {row.difference_high:+.4f})",
        "agreement": "1.0000",
        "latency": "not measured",
        "speed-up": "-",
    }
