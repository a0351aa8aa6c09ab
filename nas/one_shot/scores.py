"""How good a supernet's networks are on common held-out images, each with statistics of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from nas.train.evaluate import Normaliser, to_tensors
from nas.train.images import Dataset, Split
from nas.train.supernet.judge import Judge, Norms, SubnetScore, image_losses
from search_spaces.arch import Architecture
from search_spaces.supernet import Supernet

BATCH = 512


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
        self._judge = Judge(self.supernet, statistics, parts, self.settings.norms)
        self._known: dict[str, SubnetScore] = {}

    def scores(self, archs: Sequence[Architecture]) -> list[SubnetScore]:
        """In the order given; known ones are not computed again."""
        return [self.score(arch) for arch in archs]

    def score(self, arch: Architecture) -> SubnetScore:
        """Of one network; raises InvalidArchitecture."""
        if arch.digest not in self._known:
            self._known[arch.digest] = SubnetScore.of(arch, self._judge.logits(arch), self._labels)
        return self._known[arch.digest]

    def per_image_losses(self, arch: Architecture) -> NDArray[np.float64]:
        """(n,) cross-entropy on every image, for comparing two networks image by image."""
        return image_losses(self._judge.logits(arch), self._labels)


def _part(split: Split, count: int | None, seed: int) -> Split:
    """So many images, the same ones for the same seed, of each class in proportion on average."""
    if count is None or count >= len(split):
        return split
    chosen = np.sort(np.random.default_rng((seed, 0x1A6)).permutation(len(split))[:count])
    return Split(split.images[chosen], split.labels[chosen])
