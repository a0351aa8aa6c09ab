"""How good a supernet's networks are on common held-out images, each with statistics of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from nas.one_shot.judge import Judge, Norms
from nas.train.evaluate import Normaliser, to_tensors
from nas.train.images import Dataset, Split
from search_spaces.arch import Architecture
from search_spaces.supernet import Supernet

BATCH = 512


@dataclass(frozen=True, slots=True)
class SubnetScore:
    """What one network of a supernet does on n held-out images.

    Attributes:
        digest: of the design.
        loss: mean cross-entropy, nats; lower is better.
        loss_error: its standard error over images.
        top1: share of images that are right, 0..1.
        n: images.
    """

    digest: str
    loss: float
    loss_error: float
    top1: float
    n: int

    @property
    def score(self) -> float:
        """Negative loss: higher is better."""
        return -self.loss

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; ``SubnetScore(**data)`` is the same."""
        return asdict(self)


class Scores(Protocol):
    """Scores networks, in one process or many; the same networks get the same scores, bit for bit."""

    def scores(self, archs: Sequence[Architecture]) -> list[SubnetScore]:
        """In the order given."""


@dataclass(frozen=True, slots=True)
class ScoringSettings:
    """On what images, and by which statistics.

    Attributes:
        images: validation images, at most; None takes all.
        calibration: training images for statistics.
        norms: "recalibrated", statistics of the network from training images; "batch", of the held-out images
            themselves; "stored", what training left behind, of no network in particular.
        seed: of the choice of images.
    """

    images: int | None = None
    calibration: int = 512
    norms: Norms = "recalibrated"
    seed: int = 0


class SubnetScorer:
    """Scores the networks of one supernet in this process; all see the same images."""

    def __init__(
        self,
        supernet: Supernet,
        dataset: Dataset,
        settings: ScoringSettings | None = None,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        """Load the images.

        Args:
            supernet: trained; it is put on the device.
            dataset: ``validation`` is judged by, ``train`` calibrates; ``test`` is not read.
            settings: which images and statistics.
            device: where to compute.
        """
        self.settings = settings or ScoringSettings()
        self.supernet = supernet.to(device).eval()
        normalise = Normaliser(dataset, device)
        held_out = _part(dataset.validation, self.settings.images, self.settings.seed)
        images, labels = to_tensors(held_out, device)
        self._labels = torch.split(labels, BATCH)
        calibration = _part(dataset.train, self.settings.calibration, self.settings.seed + 1)
        statistics = torch.split(normalise(to_tensors(calibration, device)[0]), BATCH)
        parts = torch.split(normalise(images), BATCH)
        self._judged = Judge(self.supernet, statistics, parts, self.settings.norms)
        self._known: dict[str, SubnetScore] = {}

    def scores(self, archs: Sequence[Architecture]) -> list[SubnetScore]:
        """In the order given; known ones are not computed again."""
        return [self.score(arch) for arch in archs]

    def score(self, arch: Architecture) -> SubnetScore:
        """Of one network; raises InvalidArchitecture."""
        if arch.digest not in self._known:
            losses, right = self._judge(arch)
            n = len(losses)
            error = float(losses.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
            self._known[arch.digest] = SubnetScore(arch.digest, float(losses.mean()), error, right / n, n)
        return self._known[arch.digest]

    def per_image_losses(self, arch: Architecture) -> NDArray[np.float64]:
        """(n,) cross-entropy on every image, for comparing two networks image by image."""
        return self._judge(arch)[0]

    def _judge(self, arch: Architecture) -> tuple[NDArray[np.float64], int]:
        losses, right = [], 0
        with torch.inference_mode():
            for logits, labels in zip(self._judged.logits(arch), self._labels, strict=True):
                losses.append(F.cross_entropy(logits.float(), labels, reduction="none").double())
                right += int((logits.argmax(1) == labels).sum())
        return torch.cat(losses).cpu().numpy(), right


def _part(split: Split, count: int | None, seed: int) -> Split:
    """So many images, the same ones for the same seed, of each class in proportion on average."""
    if count is None or count >= len(split):
        return split
    chosen = np.sort(np.random.default_rng((seed, 0x1A6)).permutation(len(split))[:count])
    return Split(split.images[chosen], split.labels[chosen])
