"""Accuracy and loss of a network on images that it was not trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.train.images import Dataset, Images, ImageTask, Labels, Split

BATCH = 512


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a network does on n images.

    Attributes:
        top1: share of images whose largest logit is the label, 0..1; higher is better.
        loss: mean cross-entropy without smoothing, nats; lower is better.
        n: images.
    """

    top1: float
    loss: float
    n: int

    @property
    def standard_error(self) -> float:
        """Of ``top1``: sqrt(p (1 - p) / n) with Agresti and Coull's p and n (2 more of each), never 0."""
        p = (self.top1 * self.n + 2) / (self.n + 4)
        return math.sqrt(p * (1 - p) / (self.n + 4))


class Normaliser:
    """Raw pixels -> network input: scale, subtract the training mean, divide by the training deviation."""

    def __init__(self, dataset: Dataset | ImageTask, device: torch.device | str = "cpu") -> None:
        mean = torch.tensor(dataset.mean, dtype=torch.float64)
        std = torch.tensor(dataset.std, dtype=torch.float64)
        self.factor = (dataset.pixel_scale / std).float().to(device)[:, None, None]
        self.offset = (-mean / std).float().to(device)[:, None, None]

    def __call__(self, images: Tensor) -> Tensor:
        """(N, C, H, W) uint8 or float32 -> float32 with the strides of a fresh tensor.

        PyTorch 2.13 takes (N, 1, H, W) whose single channel has stride 1 for channels-last, and its oneDNN
        backward then writes out of bounds (seen as a crash); a fresh result cannot have such strides.
        """
        result = torch.empty(images.shape, device=images.device)
        return torch.addcmul(self.offset, images.float(), self.factor, out=result)


def evaluate(model: nn.Module, images: Tensor, labels: Tensor, *, normalise: Normaliser | None = None) -> Evaluation:
    """Evaluate in evaluation mode; the model's mode is put back.

    Args:
        model: takes (N, C, H, W) float32, on the device of the images.
        images: (N, C, H, W); normalised float32, or raw when ``normalise`` is given.
        labels: (N,) int64.
        normalise: applied batch by batch.
    """
    training = model.training
    model.eval()
    correct, loss = 0, 0.0
    with torch.inference_mode():
        for start in range(0, len(labels), BATCH):
            batch, target = images[start : start + BATCH], labels[start : start + BATCH]
            logits = model(normalise(batch) if normalise else batch).float()
            correct += int((logits.argmax(1) == target).sum())
            loss += float(F.cross_entropy(logits, target, reduction="sum"))
    model.train(training)
    return Evaluation(correct / len(labels), loss / len(labels), len(labels))


def evaluate_test(model: nn.Module, dataset: Dataset, *, device: torch.device | str = "cpu") -> Evaluation:
    """The one look at the held-out test images: call it once, for the network that is delivered."""
    images, labels = to_tensors(dataset.test, device)
    return evaluate(model.to(device), images, labels, normalise=Normaliser(dataset, device))


def to_tensors(split: Split, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Images and labels of a split as tensors on a device."""
    return _tensor(split.images).to(device), _tensor(split.labels).to(device)


def _tensor(array: Images | Labels) -> Tensor:
    return torch.from_numpy(array if array.flags.writeable else array.copy())
