"""Photographs with boxes and masks: reading, meters, losses, and DiSparse on segmentation and detection."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.compress.disparse import DisparseResult, DisparseSettings, disparse
from nas.compress.disparse.tasks import Ownership, find_ownership
from nas.compress.disparse.training import SparseTraining
from nas.train.advance import advance
from nas.train.detection.network import DetectorDesign, Predictions
from nas.train.distill import Distillation, InvalidDistillation
from nas.train.images import InvalidDataset
from nas.train.multitask.meters import IGNORED, AveragePrecision50, MeanIoU, Top1
from nas.train.multitask.network import DETECTION, SEGMENTATION, MultitaskNetwork, build_scene_network
from nas.train.multitask.recipe import MultitaskRecipe
from nas.train.multitask.scenes import detection_task, load_scenes, mirror, pixel_loss
from nas.train.multitask.tasks import MultitaskData
from search_spaces.arch import Architecture, Block

DATA = Path(os.environ.get("NETWRIGHT_DATA") or Path(__file__).parents[4] / "shared" / "data")
COCO = DATA / "coco128_multitask" / "coco_train128.npz"
ARCH = Architecture(tuple(Block("conv", 8 * i, stride=2) for i in (1, 2, 3)))
DESIGN = DetectorDesign(levels=(2, 3), width=8, depth=1)
STRIDES = (4, 8)
SIDE = 32


def _archive(folder: Path, **changes: object) -> Path:
    """Ten images: a bright square on noise, with its box, and a mask on all but the last two."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (10, SIDE, SIDE, 3)).astype(np.uint8)
    masks, rows = np.full((10, SIDE, SIDE), 7, dtype=np.uint8), []
    for i in range(10):
        x, y = rng.integers(0, SIDE - 12, 2)
        images[i, y : y + 12, x : x + 12] = 220
        masks[i, y : y + 12, x : x + 12] = 3
        rows.append([i, 0, (x + 6) / SIDE, (y + 6) / SIDE, 12 / SIDE, 12 / SIDE])
    arrays = {"image": images, "mask": masks, "has_mask": np.arange(10) < 8, "boxes": np.array(rows)}
    path = folder / "squares.npz"
    np.savez(path, **{name: value for name, value in {**arrays, **changes}.items() if value is not None})
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> MultitaskData:
    return load_scenes(_archive(tmp_path_factory.mktemp("scenes")), size=SIDE, strides=STRIDES, regions=1)


def _network(seed: int = 0) -> MultitaskNetwork:
    return build_scene_network(ARCH, segmentation_classes=2, detection_classes=1, design=DESIGN, seed=seed)


@pytest.fixture(scope="module")
def ownership(data: MultitaskData) -> Ownership:
    return find_ownership(_network(), data)


def _train(training: SparseTraining, checkpoint: Path | None = None, epochs: int | None = None) -> DisparseResult:
    advance(training, epochs or training.recipe.epochs, checkpoint)
    return training.result()


def test_scenes_hold_boxes_and_masks_of_the_same_images(data: MultitaskData) -> None:
    assert (len(data.train), len(data.validation)) == (8, 2)
    masks, (boxes, labels, crowd) = data.train.targets[SEGMENTATION][0], data.train.targets[DETECTION]
    assert masks.shape == (8, SIDE, SIDE)
    assert not crowd.any()
    known = 0
    for image, mask, box, label in zip(data.train.images, masks, boxes, labels, strict=True):
        x1, y1, x2, y2 = box[0].round().int().tolist()
        assert label[0] == 0
        assert bool((image[:, y1:y2, x1:x2] == 220).all())
        if bool((mask != IGNORED).any()):
            known += 1
            assert bool((mask[y1:y2, x1:x2] == 1).all())  # class 7 covers more pixels and is the one region kept
            assert int((mask == 0).sum()) == SIDE**2 - 144
    assert 6 <= known <= 8


def test_masks_are_resized_without_mixing_labels(tmp_path: Path) -> None:
    small = load_scenes(_archive(tmp_path), size=16, strides=STRIDES, regions=1)
    masks = small.train.targets[SEGMENTATION][0]
    assert masks.shape[1:] == (16, 16)
    assert set(masks.unique().tolist()) <= {0, 1, IGNORED}


def test_archives_without_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="expected also mask and has_mask"):
        load_scenes(_archive(tmp_path, mask=None), size=SIDE, strides=STRIDES)
    with pytest.raises(InvalidDataset, match="no training image has a labelled pixel"):
        load_scenes(_archive(tmp_path, has_mask=np.zeros(10, bool)), size=SIDE, strides=STRIDES)
    with pytest.raises(InvalidDataset, match="mask is int64"):
        load_scenes(_archive(tmp_path, mask=np.zeros((10, 4, 4), np.int64)), size=SIDE, strides=STRIDES)


def test_mirrored_scenes_keep_boxes_and_masks_on_their_objects(data: MultitaskData) -> None:
    split = data.train
    images, targets = mirror(split.images, dict(split.targets), torch.Generator().manual_seed(0))
    turned = [bool((a != b).any()) for a, b in zip(images, split.images, strict=True)]
    assert any(turned)
    assert not all(turned)
    for image, box in zip(images, targets[DETECTION][0], strict=True):
        x1, y1, x2, y2 = box[0].round().int().tolist()
        assert bool((image[:, y1:y2, x1:x2] == 220).all())
    masks = targets[SEGMENTATION][0]
    same = [bool((image.amin(0)[mask == 1] == 220).all()) for image, mask in zip(images, masks, strict=True)]
    assert all(same)


def test_pixels_without_labels_count_for_nothing() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    labels = torch.full((2, 4, 4), IGNORED, dtype=torch.uint8)
    loss = pixel_loss(logits, (labels,))
    assert float(loss.detach()) == 0.0
    loss.backward()
    assert not bool(logits.grad.any())
    labels[0, 0, 0] = 2
    wanted = -torch.log_softmax(logits[0, :, 0, 0], 0)[2]
    torch.testing.assert_close(pixel_loss(logits, (labels,)), wanted)


def test_meters() -> None:
    top1 = Top1()
    top1.add(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), (torch.tensor([0, 1, 1]),))
    assert top1.value() == pytest.approx(2 / 3)
    iou = MeanIoU(3)
    logits = torch.zeros(1, 3, 1, 4)
    logits[0, [0, 0, 1, 1], 0, range(4)] = 1.0
    iou.add(logits, (torch.tensor([[[0, 1, 1, IGNORED]]], dtype=torch.uint8),))
    assert iou.value() == pytest.approx((1 / 2 + 1 / 2) / 2)  # class 2 neither occurs nor is predicted
    assert MeanIoU(2).value() == 0.0


def test_average_precision_of_the_truth_itself_is_one(data: MultitaskData) -> None:
    shape, meter = (SIDE, SIDE), AveragePrecision50((SIDE, SIDE), STRIDES)
    from nas.train.detection.targets import assign, places

    where, targets = places(shape, STRIDES), data.validation.targets[DETECTION]
    wanted = assign(where, targets[0], targets[1])
    positive = (wanted.labels >= 0).float()
    output = Predictions(positive[..., None] * 40 - 20, wanted.distances.clamp(min=0.1), positive * 40 - 20)
    meter.add(output, targets)
    assert meter.value() == pytest.approx(1.0)


def test_the_detection_loss_leaves_crowds_out(data: MultitaskData) -> None:
    boxes, labels, crowd = data.train.targets[DETECTION]
    task, network = detection_task((SIDE, SIDE), STRIDES), _network()
    output = network(data.train.images.float() / 255)[DETECTION]
    none = task.loss(output, (boxes, torch.full_like(labels, -1), crowd))
    torch.testing.assert_close(task.loss(output, (boxes, labels, torch.ones_like(crowd))), none)
    assert float(task.loss(output, (boxes, labels, crowd)).detach()) > float(none.detach())


def test_a_scene_network_has_one_backbone_and_two_heads(data: MultitaskData, ownership: Ownership) -> None:
    network = _network()
    outputs = network(torch.zeros(2, 3, SIDE, SIDE))
    assert outputs[SEGMENTATION].shape == (2, 2, SIDE, SIDE)
    assert outputs[DETECTION].class_logits.shape == (2, 64 + 16, 1)
    assert all(name.startswith("trunk.") for name in ownership.shared)
    for task in (SEGMENTATION, DETECTION):
        assert all(name.startswith(f"heads.{task}.") for name in ownership.private(task))
    convolutions = [name for name, p in network.named_parameters() if p.ndim == 4]
    assert set(ownership.users) == set(convolutions)


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_segmentation_and_detection_are_pruned_together(
    data: MultitaskData, ownership: Ownership, mode: str, tmp_path: Path
) -> None:
    recipe = MultitaskRecipe(epochs=2, batch_size=4, learning_rate=0.02, ema_decay=0.5)
    settings = DisparseSettings(mode=mode, density=0.2, batches=3, batch_size=4, interval=1)

    def training(network: MultitaskNetwork) -> SparseTraining:
        return SparseTraining(network, data, recipe, settings=settings, ownership=ownership, seed=0)

    whole = _train(training(_network()))
    assert abs(whole.masks.density - 0.2) <= 0.001
    assert whole.overlap is not None
    assert [layer.name for layer in whole.overlap.layers] == list(ownership.shared)
    path = tmp_path / "scenes.pt"
    _train(training(_network()), path, epochs=1)
    resumed = _train(training(_network()), path)
    assert whole.curve == resumed.curve
    pairs = zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_detector_has_no_logits_to_distil(data: MultitaskData, ownership: Ownership) -> None:
    recipe, settings = MultitaskRecipe(epochs=1, batch_size=4), DisparseSettings(batches=1, density=0.5)
    teacher = _network(3).eval()

    def training(task: str) -> SparseTraining:
        taught = {task: Distillation(lambda images: teacher(images)[task])}
        return SparseTraining(
            _network(), data, recipe, settings=settings, ownership=ownership, seed=0, distillation=taught
        )

    assert _train(training(SEGMENTATION)).curve
    with pytest.raises(InvalidDistillation, match="the output is Predictions"):
        _train(training(DETECTION))


@pytest.mark.skipif(not COCO.exists(), reason="set NETWRIGHT_DATA to the folder with coco128_multitask")
def test_coco128_trains_end_to_end() -> None:
    data = load_scenes(COCO, size=32, strides=STRIDES, regions=4)
    network = build_scene_network(ARCH, segmentation_classes=5, detection_classes=1, design=DESIGN, seed=0)
    recipe = MultitaskRecipe(epochs=3, batch_size=16, learning_rate=0.02, warmup_epochs=0.5, evaluate_every=3)
    settings = DisparseSettings(mode="static", density=0.3, batches=4)
    result = disparse(network, data, recipe, settings=settings, seed=0)
    first, last = result.curve[0].losses, result.curve[-1].losses
    assert all(last[task] < first[task] for task in (SEGMENTATION, DETECTION))
    assert result.curve[-1].scores is not None
    assert set(result.curve[-1].scores) == {SEGMENTATION, DETECTION}
    assert abs(result.masks.density - 0.3) <= 0.001
