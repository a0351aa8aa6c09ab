"""The whole way: networks of ours and a user's module, killed and resumed, under a budget, delivered and read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.utils.prune
from torch import Tensor, nn
from torch.nn import functional as F

from hardware.pairs import PairProtocol
from nas.compress.before_after import paired_difference, predictions, wilson
from nas.compress.errors import BudgetUnreachable, CannotCompress
from nas.compress.onnx_file import write_onnx
from nas.compress.packed import read_packed
from nas.compress.pipeline import Compression, Work, compress, report
from nas.compress.pipeline.budget import within_budget
from nas.compress.pipeline.compress import facts, markdown, validation_top1
from nas.compress.pipeline.deliver import deliver
from nas.compress.quantise.fold import folded
from nas.export.pretrained import from_pretrained
from nas.narrator import Silent
from nas.spec import load_spec
from nas.train.data import Dataset, load_dataset
from nas.train.distill import Distillation, InvalidDistillation
from nas.train.fit import fit
from nas.train.images import Split
from nas.train.recipe import Recipe
from search_spaces.build import Network, build

STRUCTURE = "SuperConvK3BNRELU(1,8,1,1)SuperResK3K3(8,16,2,8,1)SuperConvK1BNRELU(16,32,1,1)"
QUICK = {"epochs": 1, "batch_size": 32, "learning_rate": 0.05, "ema_decay": 0}
RECIPE = {
    "distil": {},
    "channels": {"method": "chex", "macs": 0.6, "train": {**QUICK, "epochs": 2}},
    "approximate": {"macs": 0.9},
    "fine_tune": QUICK,
    "quantise": {"images": 32, "settings": {"iterations": 5}},
}


class Own(nn.Module):
    """A user's module, with a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv1, self.conv2 = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.out = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(x + self.conv2(F.relu(self.conv1(x))))
        return self.out(x.mean((2, 3)))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    whole = load_dataset("digits")
    train = Split(whole.train.images[:256], whole.train.labels[:256])
    test = Split(whole.test.images[:100], whole.test.labels[:100])
    return Dataset("few digits", train, whole.validation, test, whole.classes)


@pytest.fixture(scope="module")
def own(digits: Dataset) -> nn.Module:
    torch.manual_seed(0)
    model = Own()
    fit(model, digits, Recipe(**{**QUICK, "epochs": 3}), seed=0)
    return model


@pytest.fixture(scope="module")
def ours(digits: Dataset) -> Network:
    network = build(load_spec(STRUCTURE).arch, num_classes=10, in_channels=1)
    torch.manual_seed(0)
    network.reset_parameters()
    fit(network, digits, Recipe(**{**QUICK, "epochs": 3}), seed=0)
    return network


def test_a_module_becomes_a_smaller_file_in_integers(own: nn.Module, digits: Dataset, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in own.state_dict().items()}
    found = compress(own, digits, RECIPE)
    assert all(torch.equal(before[name], value) for name, value in own.state_dict().items())
    rows = report(found, tmp_path, device=None)
    assert [row.name for row in rows] == ["original", "compressed", "integers"]
    assert rows[1].macs < 0.6 * rows[0].macs
    assert rows[2].bytes < rows[1].bytes < rows[0].bytes
    assert rows[2].floating == ()
    assert rows[0].agreement == 1
    assert rows[0].low < rows[0].top1 < rows[0].high
    text = markdown("own", rows, found.steps, ["a note"])
    assert "| integers |" in text
    assert "not measured" in text
    out = tmp_path / "out"
    sizes = deliver(out, found, found.files(), text=text, data=facts(found, rows), origin="own")
    assert {"model.onnx", "integers.onnx", "network.pt2", "model.safetensors", "COMPRESSION.md"} <= set(sizes)
    program = torch.export.load(out / "network.pt2").module()
    images = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(program(images), found.shaped.network(images))
    assert json.loads((out / "compression.json").read_text())["rows"][2]["name"] == "integers"
    deliver(out, found, found.files(), text=text, data=facts(found, rows), origin="own")  # in its own place again


def test_a_network_of_ours_is_exported_as_one(ours: Network, digits: Dataset, tmp_path: Path) -> None:
    prune = {"method": "one-shot", "sparsity": 0.5, "train": QUICK}
    recipe = {"channels": {"method": "uniform", "macs": 0.6, "train": QUICK}, "prune": prune}
    found = compress(ours, digits, recipe)
    assert found.quantised is None
    assert found.last == "compressed"
    rows = report(found, tmp_path, device=None)
    assert rows[1].packed_bytes is not None
    out = tmp_path / "out"
    deliver(out, found, found.files(), text=markdown("ours", rows, found.steps), data=facts(found, rows), origin="run")
    again = from_pretrained(out)
    images = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(again(images), found.shaped.network(images), rtol=0, atol=0)
    packed = read_packed(out / "packed.safetensors")
    for name, value in again.state_dict().items():
        assert torch.equal(packed.tensors[name], value)
    assert "compressed from" in (out / "README.md").read_text()


def test_killed_between_stages_it_ends_the_same(own: nn.Module, digits: Dataset, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Killer(Silent):
        def __init__(self, at: str) -> None:
            self.at = at

        def update(self, what: str, share: float | None = None) -> None:
            if what.startswith(self.at):
                raise Killed

    whole = compress(own, digits, RECIPE)
    work = tmp_path / "work"
    for at in ("channels: epoch 1", "channels: epoch 2", "fine-tune: epoch 1", "quantising"):
        with pytest.raises(Killed):
            compress(own, digits, RECIPE, Work(work, narrator=Killer(at)))
    resumed = compress(own, digits, RECIPE, Work(work))
    assert whole.steps == resumed.steps
    for name, value in whole.shaped.network.state_dict().items():
        assert torch.equal(value, resumed.shaped.network.state_dict()[name])
    assert whole.quantised is not None
    assert resumed.quantised is not None
    assert whole.quantised.activations == resumed.quantised.activations
    assert all(
        torch.equal(codes.codes, resumed.quantised.weights[name].codes)
        for name, codes in whole.quantised.weights.items()
    )


def test_budget_takes_the_largest_share_that_keeps_it(own: nn.Module, digits: Dataset) -> None:
    """With a timer that counts bytes: integers keep more of the network than floating point."""

    def kilobytes(path: Path) -> float:
        return path.stat().st_size / 1000

    whole = len(write_onnx(folded(own, (1, 8, 8)), (1, 8, 8)).SerializeToString()) / 1000
    base = Compression.from_dict(RECIPE)
    alone = within_budget(own, digits.input_shape, base, 1.1 * whole, kilobytes, Silent())
    assert [(recipe.channels, recipe.quantise) for recipe in alone] == [(None, None)]
    tight = within_budget(own, digits.input_shape, base, 0.7 * whole, kilobytes, Silent())
    assert [recipe.quantise is None for recipe in tight] == [False, True]
    assert tight[1].channels is not None
    assert 0.2 < tight[1].channels.macs < 1
    with pytest.raises(BudgetUnreachable, match=r"0.001 ms cannot be kept, the smallest network .* takes"):
        within_budget(own, digits.input_shape, base, 0.001, kilobytes, Silent())


def test_latency_is_measured_beside_the_original(own: nn.Module, digits: Dataset, tmp_path: Path) -> None:
    from hardware.device import Device

    found = compress(own, digits, {"quantise": {"method": "minmax", "images": 32}})
    device = Device.parse("onnxruntime:threads=1")
    rows = report(found, tmp_path, device=device, pairs=PairProtocol(pairs=6, span_s=0.5))
    assert rows[0].speed_up == 1
    for row in rows:
        assert row.latency_ms is not None
        assert row.latency_ms > 0
    assert 0 <= validation_top1(found) <= 1
    session = onnxruntime.InferenceSession(tmp_path / "integers.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, 1, 8, 8]


def test_intervals() -> None:
    low, high = wilson(90, 100)
    assert (round(low, 4), round(high, 4)) == (0.8256, 0.9448)  # Wilson's interval as published tables have it
    first = np.array([True] * 60 + [False] * 40)
    second = np.array([True] * 50 + [False] * 50)
    difference, down, up = paired_difference(first, second)
    assert difference == pytest.approx(0.1)
    assert 0 < down < 0.1 < up
    assert paired_difference(first, first)[0] == 0
    assert paired_difference(first, first)[1] < 0 < paired_difference(first, first)[2]


def test_a_budget_near_the_floors_of_channels_is_found(digits: Dataset) -> None:
    """Three narrow groups, of which 4 channels each must stay: the least share is large."""
    torch.manual_seed(0)
    narrow = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, 10),
    )  # fmt: skip
    sizes: list[float] = []

    def kilobytes(path: Path) -> float:
        sizes.append(path.stat().st_size / 1000)
        return sizes[-1]

    whole = len(write_onnx(folded(narrow, (1, 8, 8)), (1, 8, 8)).SerializeToString()) / 1000
    base = Compression.from_dict({"channels": {}})
    with pytest.raises(BudgetUnreachable):
        within_budget(narrow, digits.input_shape, base, 0.001, kilobytes, Silent())
    smallest = min(size for size in sizes if size < whole)
    found = within_budget(narrow, digits.input_shape, base, smallest / 0.95 + 0.001, kilobytes, Silent())
    assert found


def test_networks_teachers_and_modules_that_do_not_fit_are_named(own: nn.Module, digits: Dataset) -> None:
    seven = nn.Sequential(nn.Flatten(), nn.Linear(64, 7))
    with pytest.raises(CannotCompress, match=r"Sequential: gives \(2, 7\) for two images, expected \(2, 10\)"):
        compress(seven, digits, {"quantise": {}})
    with pytest.raises(InvalidDistillation, match=r"the teacher gives \(7,\) an image, the student \(10,\)"):
        fit(Own(), digits, Recipe(**QUICK), seed=0, distillation=Distillation(seven))
    with pytest.raises(InvalidDistillation, match="the teacher does not take images of 1x8x8"):
        fit(Own(), digits, Recipe(**QUICK), seed=0, distillation=Distillation(nn.Conv2d(3, 4, 1)))
    pruned = Own()
    torch.nn.utils.prune.l1_unstructured(pruned.conv1, "weight", 0.5)
    pruned(torch.zeros(1, 1, 8, 8)).sum().backward()
    with pytest.raises(CannotCompress, match=r"Own: cannot be copied .* torch.nn.utils.prune.remove"):
        compress(pruned, digits, {"quantise": {}})


def test_attention_of_pytorch_is_folded_and_quantised(digits: Dataset, tmp_path: Path) -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.out = nn.Conv2d(1, 16, 2, 2), nn.Linear(16, 10)
            self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.layer(self.stem(x).flatten(2).transpose(1, 2)).mean(1))

    torch.manual_seed(0)
    model = Attending().eval()
    images = torch.randn(8, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(folded(model, (1, 8, 8))(images), model(images), rtol=1e-4, atol=1e-5)
    rows = report(compress(model, digits, {"quantise": {"method": "minmax", "images": 32}}), tmp_path, device=None)
    assert rows[2].agreement > 0.9


def test_a_file_of_whole_batches_is_judged_on_any_number_of_images(
    own: nn.Module, digits: Dataset, tmp_path: Path
) -> None:
    for batch in (1, 8):
        file = write_onnx(folded(own, (1, 8, 8)), (1, 8, 8), batch=batch)
        (tmp_path / f"{batch}.onnx").write_bytes(file.SerializeToString())
    found = [predictions(tmp_path / f"{batch}.onnx", digits, digits.test) for batch in (1, 8)]
    assert len(found[1]) == 100
    assert (found[0] == found[1]).all()
