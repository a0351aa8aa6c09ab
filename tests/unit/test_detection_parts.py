"""Boxes, suppression, losses, targets, augmentation and average precision against known values and brute force."""

import math

import numpy as np
import pytest
import torch

from nas.train.detection.augment import augment, flip, zoom
from nas.train.detection.average_precision import average_precision
from nas.train.detection.boxes import generalised_iou, pairwise_iou, suppress
from nas.train.detection.dataset import DetectionSplit
from nas.train.detection.losses import box_around, detection_losses, focal_loss
from nas.train.detection.network import DetectorDesign, InvalidDetector, Predictions, build_detector
from nas.train.detection.predict import Detections, decode, select
from nas.train.detection.targets import BACKGROUND, Places, assign, centreness, places, size_ranges
from search_spaces.arch import Architecture, Block

ARCH = Architecture(tuple(Block("conv", 4 * i, stride=2) for i in range(1, 6)))
SMALL = DetectorDesign(width=8, depth=1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_boxes(n, seed=0, side=40):
    """Whole numbers, so that counting pixels gives exact areas."""
    corners = torch.randint(0, side, (n, 2, 2), generator=generator(seed)).sort(1).values
    corners[:, 1] += 1
    return corners.reshape(n, 4).float()


def pixels(box, side=64):
    mask = np.zeros((side, side), dtype=bool)
    x1, y1, x2, y2 = (int(v) for v in box)
    mask[y1:y2, x1:x2] = True
    return mask


def test_overlaps_equal_those_counted_pixel_by_pixel():
    a, b = random_boxes(30, 1), random_boxes(30, 2)
    iou, giou = pairwise_iou(a, b), generalised_iou(a, b)
    for i in range(30):
        one = pixels(a[i])
        for j in range(30):
            other = pixels(b[j])
            assert iou[i, j].item() == pytest.approx((one & other).sum() / (one | other).sum(), abs=1e-6)
        other = pixels(b[i])
        around = pixels((*torch.minimum(a[i, :2], b[i, :2]), *torch.maximum(a[i, 2:], b[i, 2:])))
        union = (one | other).sum()
        expected = (one & other).sum() / union - (around.sum() - union) / around.sum()
        assert giou[i].item() == pytest.approx(expected, abs=1e-6)


def test_giou_of_far_boxes_falls_towards_minus_one_and_has_a_gradient():
    a = torch.tensor([[0.0, 0.0, 1.0, 1.0]], requires_grad=True)
    value = generalised_iou(a, torch.tensor([[99.0, 0.0, 100.0, 1.0]]))
    assert value.item() == pytest.approx(2 / 100 - 1)
    value.sum().backward()
    assert a.grad.abs().sum() > 0


def brute_suppression(boxes, scores, labels, threshold):
    left, kept = sorted(range(len(boxes)), key=lambda i: (-scores[i].item(), i)), []
    while left:
        best = left.pop(0)
        kept.append(best)
        overlap = pairwise_iou(boxes[best : best + 1], boxes)[0]
        left = [i for i in left if labels[i] != labels[best] or overlap[i] <= threshold]
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_suppression_equals_brute_force_ties_included(seed):
    boxes = random_boxes(80, seed, side=12)
    scores = torch.randint(0, 10, (80,), generator=generator(seed)).float() / 10
    labels = torch.randint(0, 3, (80,), generator=generator(seed + 1))
    kept = suppress(boxes, scores, labels, 0.4).tolist()
    assert kept == brute_suppression(boxes, scores, labels, 0.4)
    assert 3 < len(kept) < 80


def test_suppression_of_nothing_is_nothing():
    assert suppress(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long), 0.5).shape == (0,)


@pytest.mark.parametrize(("p", "target"), [(0.9, 1.0), (0.2, 1.0), (0.2, 0.0), (0.95, 0.0)])
def test_focal_loss_is_the_formula(p, target):
    p_t, alpha_t = (p, 0.25) if target else (1 - p, 0.75)
    got = focal_loss(torch.tensor(math.log(p / (1 - p)), dtype=torch.float64), torch.tensor(target).double())
    assert got.item() == pytest.approx(-alpha_t * (1 - p_t) ** 2 * math.log(p_t))


def test_size_ranges_are_those_of_fcos_at_1024_pixels():
    assert size_ranges(1024, 5) == ((0, 64), (64, 128), (128, 256), (256, 512), (512, math.inf))
    assert size_ranges(128, 3) == ((0, 32), (32, 64), (64, math.inf))
    assert size_ranges(128, 1) == ((0, math.inf),)


def test_places_lie_in_the_middle_of_their_cells_row_by_row():
    where = places((16, 32), (8, 16))
    assert where.points.tolist()[:5] == [[4, 4], [12, 4], [20, 4], [28, 4], [4, 12]]
    assert where.points.tolist()[8:] == [[8, 8], [24, 8]]
    assert where.strides.tolist() == [8] * 8 + [16] * 2


def brute_assignment(where, boxes, labels):
    rows = []
    for (x, y), stride, (low, high) in zip(
        where.points.tolist(), where.strides.tolist(), where.ranges.tolist(), strict=True
    ):
        best = (math.inf, BACKGROUND, None)
        for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels.tolist(), strict=True):
            sides = (x - x1, y - y1, x2 - x, y2 - y)
            near = max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) < 1.5 * stride
            area = (x2 - x1) * (y2 - y1)
            if label >= 0 and min(sides) > 0 and near and low <= max(sides) <= high and area < best[0]:
                best = (area, label, sides)
        rows.append(best)
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_targets_equal_brute_force(seed):
    where = places((64, 64), (8, 16, 32))
    boxes = torch.stack([random_boxes(7, seed, side=63), random_boxes(7, seed + 50, side=63)])
    labels = torch.randint(-1, 4, (2, 7), generator=generator(seed))
    targets = assign(where, boxes, labels)
    for image in range(2):
        for at, (_, label, sides) in enumerate(brute_assignment(where, boxes[image], labels[image])):
            assert targets.labels[image, at] == label
            if sides is None:
                assert targets.centreness[image, at] == 0
            else:
                left, top, right, bottom = sides
                expected = math.sqrt(
                    min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom)
                )  # equation 3
                assert targets.distances[image, at].tolist() == list(sides)
                assert targets.centreness[image, at].item() == pytest.approx(expected, abs=1e-6)
    assert (targets.labels >= 0).any()


def test_centreness_is_one_in_the_middle_and_zero_on_a_side():
    assert centreness(torch.tensor([[3.0, 5, 3, 5], [0, 5, 6, 5], [1, 2, 4, 2]])).tolist() == [1.0, 0.0, 0.5]


def test_perfect_outputs_cost_next_to_nothing_and_are_found_again():
    where = places((64, 64), (8, 16, 32))
    boxes = torch.tensor([[[4.0, 4, 24, 20], [10, 30, 60, 60], [0, 0, 0, 0]]])
    targets = assign(where, boxes, torch.tensor([[1, 0, -1]]))
    classes = torch.full((1, len(where.points), 2), -20.0)
    rows = torch.nonzero(targets.labels[0] >= 0)[:, 0]
    classes[0, rows, targets.labels[0, rows]] = 20.0
    centre = torch.logit(targets.centreness.clamp(1e-6, 1 - 1e-6))
    perfect = Predictions(classes, targets.distances.clamp(min=0.1), centre)
    losses = detection_losses(perfect, targets, where)
    assert losses.classes < 1e-6
    assert losses.boxes < 1e-5
    found = select(*(part[0] for part in decode(perfect, where, (64, 64))))
    assert found.labels.tolist() == [0, 1] or found.labels.tolist() == [1, 0]
    assert torch.allclose(found.boxes[found.labels.argsort()], boxes[0, [1, 0]], atol=1e-4)
    worse = perfect._replace(class_logits=-classes, distances=perfect.distances * 2)
    assert detection_losses(worse, targets, where).classes > 1
    assert detection_losses(worse, targets, where).boxes > 0.3


def test_losses_without_any_box_are_finite():
    where = places((32, 32), (8, 16, 32))
    detector = build_detector(ARCH, num_classes=2, design=SMALL, seed=0)
    targets = assign(where, torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.long))
    losses = detection_losses(detector(torch.randn(2, 3, 32, 32)), targets, where)
    assert all(bool(torch.isfinite(loss)) for loss in losses)
    assert losses.boxes == losses.centre == 0


def test_the_detector_gives_one_row_a_place_and_starts_with_scores_near_the_prior():
    detector = build_detector(ARCH, num_classes=3, design=SMALL, seed=0).eval()
    with torch.inference_mode():
        out = detector(torch.randn(2, 3, 64, 96))
    places_count = len(places((64, 96), detector.strides).points)
    assert out.class_logits.shape == (2, places_count, 3)
    assert out.distances.shape == (2, places_count, 4)
    assert out.centre_logits.shape == (2, places_count)
    assert (out.distances > 0).all()
    assert out.class_logits.sigmoid().mean().item() == pytest.approx(0.01, abs=0.003)


def test_equal_seeds_give_equal_detectors_and_other_seeds_do_not():
    a, b, c = (build_detector(ARCH, num_classes=2, design=SMALL, seed=s).neck.lateral[0].weight for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize("change", [{"width": 12}, {"width": 0}, {"depth": 0}, {"depth": 99}])
def test_an_impossible_design_is_refused(change):
    with pytest.raises(InvalidDetector, match=next(iter(change))):
        DetectorDesign(**change)


def framed(box, side=32):
    """A black image with one white rectangle."""
    image = torch.zeros(1, 3, side, side)
    x1, y1, x2, y2 = (int(v) for v in box)
    image[..., y1:y2, x1:x2] = 1
    return image


def extent(image):
    """The rectangle around what is bright."""
    rows, columns = torch.nonzero(image[0, 0] > 0.5, as_tuple=True)
    return torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()


def test_a_mirrored_box_is_around_the_mirrored_object():
    box = torch.tensor([[[3.0, 5, 10, 9]]])
    image, moved = flip(framed(box[0, 0]), box, torch.tensor([True]))
    assert moved.tolist() == [[[22, 5, 29, 9]]]
    assert extent(image).tolist() == moved[0, 0].tolist()


@pytest.mark.parametrize(
    ("factor", "shift"), [(1.3, (0.3, 0.6)), (0.6, (0.9, 0.2)), (1.0, (0.5, 0.5)), (2.0, (0.4, 0.4))]
)
def test_a_zoomed_box_is_around_the_zoomed_object(factor, shift):
    box = torch.tensor([[[10.0, 12, 20, 18]]])
    image, moved, labels = zoom(
        framed(box[0, 0]), box, torch.zeros(1, 1, dtype=torch.long), torch.tensor([factor]), torch.tensor([shift])
    )
    assert torch.allclose(extent(image), moved[0, 0], atol=1.0)
    assert labels.tolist() == [[0]]


def test_boxes_that_leave_the_image_are_no_longer_asked_for():
    box, label = torch.tensor([[[0.0, 0, 6, 6], [13, 13, 19, 19]]]), torch.zeros(1, 2, dtype=torch.long)
    _, moved, labels = zoom(torch.zeros(1, 3, 32, 32), box, label, torch.tensor([2.0]), torch.tensor([[0.5, 0.5]]))
    assert labels.tolist() == [[-1, 0]]
    assert moved.min() >= 0
    assert moved.max() <= 32


def test_augmentation_follows_from_its_generator():
    images, boxes, labels = torch.randn(4, 3, 32, 32), random_boxes(8, 0, 31).reshape(4, 2, 4), torch.zeros(4, 2).long()
    one, same, other = (augment("flip_scale", images, boxes, labels, generator(s))[0] for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert augment("none", images, boxes, labels, generator())[0] is images


def split(boxes, labels, crowd=None):
    boxes, labels = np.array(boxes, dtype=np.float32), np.array(labels)
    images = np.zeros((len(boxes), 3, 32, 32), dtype=np.uint8)
    return DetectionSplit(images, boxes, labels, np.zeros(labels.shape, bool) if crowd is None else np.array(crowd))


def detections(boxes, scores, labels):
    return Detections(torch.tensor(boxes).reshape(-1, 4).float(), torch.tensor(scores), torch.tensor(labels))


TRUTH = split([[[2, 2, 12, 12], [15, 15, 30, 30]], [[5, 5, 25, 25], [0, 0, 0, 0]]], [[0, 1], [0, -1]])


def test_average_precision_of_perfect_and_empty_answers(capfd):
    perfect = [
        detections([[2, 2, 12, 12], [15, 15, 30, 30]], [0.9, 0.8], [0, 1]),
        detections([[5, 5, 25, 25]], [0.7], [0]),
    ]
    result = average_precision(TRUTH, perfect)
    assert (result.ap, result.ap50, result.ap75, result.images, result.boxes) == (1.0, 1.0, 1.0, 2, 3)
    nothing = [detections([], [], [])] * 2
    assert average_precision(TRUTH, nothing).ap == 0
    assert average_precision(split([[[0, 0, 0, 0]]], [[-1]]), perfect[:1]).boxes == 0
    assert capfd.readouterr().out == ""


def test_average_precision_by_hand():
    """One box of class 0 shifted so that IoU = 8/12 passes 0.5 .. 0.65, that is 4 of 10 thresholds; class 1 missed."""
    found = [detections([[4, 2, 14, 12]], [0.9], [0]), detections([], [], [])]
    truth = split([[[2, 2, 12, 12], [15, 15, 30, 30]], [[0, 0, 0, 0], [0, 0, 0, 0]]], [[0, 1], [-1, -1]])
    result = average_precision(truth, found)
    assert result.ap == pytest.approx(0.4 / 2)
    assert result.ap50 == pytest.approx(0.5)
    assert result.ap75 == 0


def test_a_find_inside_a_crowd_counts_neither_way():
    truth = split([[[2, 2, 12, 12], [0, 0, 32, 32]]], [[0, 0]], [[False, True]])
    found = [detections([[15, 15, 30, 30], [2, 2, 12, 12]], [0.99, 0.9], [0, 0])]
    assert average_precision(truth, found).ap == pytest.approx(1.0)
    assert average_precision(truth, found).boxes == 1


def test_box_around_undoes_distances():
    where = Places(torch.tensor([[8.0, 6.0]]), torch.tensor([8.0]), torch.tensor([[0.0, 9.0]]))
    assert box_around(where.points, torch.tensor([[1.0, 2, 3, 4]])).tolist() == [[7, 4, 11, 10]]
