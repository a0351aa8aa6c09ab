"""Two recipes trained equally: what the paired differences allow to say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from nas.train.evaluate import Evaluation
from nas.train.trials.hits import unpack_hits
from nas.train.trials.trial import Outcome

NORMAL = 1.96  # of a 95 % interval


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two accuracies, the tuned recipe's less the given one's, 0..1; higher is better.

    Attributes:
        value: mean over seeds.
        low, high: its 95 % interval; see ``paired_difference``.
    """

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """In words."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no clear difference"


def paired_difference(tuned: Sequence[float], given: Sequence[float], image_error: float = 0.0) -> Difference:
    """The mean difference over seeds, with an interval for the chance of seeds and of images.

    Args:
        tuned: accuracies by seed.
        given: of the same seeds.
        image_error: standard error of the difference for a sample of images; both errors are added in squares. With a
            single seed nothing is known of the chance of seeds, and this is all.
    """
    differences = np.subtract(tuned, given)
    value, seed_part = float(differences.mean()), 0.0
    if len(differences) > 1:
        error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
        seed_part = float(stats.t.ppf(0.975, len(differences) - 1)) * error
    half = math.hypot(seed_part, NORMAL * image_error)
    return Difference(value, value - half, value + half)


def compare_on_test(tuned: Sequence[Outcome], given: Sequence[Outcome], images: int) -> Difference:
    """The difference on the test images, paired by seed and by image.

    Args:
        tuned: tested, by seed.
        given: of the same seeds.
        images: in the test split.
    """
    hits = [[_hits(outcome, images) for outcome in side] for side in (tuned, given)]
    by_seed = [[float(one.mean()) for one in side] for side in hits]
    per_image = np.mean(hits[0], axis=0) - np.mean(hits[1], axis=0)
    image_error = float(per_image.std(ddof=1)) / math.sqrt(images)
    return paired_difference(by_seed[0], by_seed[1], image_error)


def tested_top1(outcomes: Sequence[Outcome], images: int) -> list[float]:
    """Test accuracy of each, 0..1."""
    return [float(_hits(outcome, images).mean()) for outcome in outcomes]


def _hits(outcome: Outcome, images: int) -> Any:
    assert outcome.hits is not None
    return unpack_hits(outcome.hits, images).astype(float)


def interval_of(top1: float, images: int) -> tuple[float, float]:
    """The 95 % interval of one network's accuracy for a sample of so many images, within 0..1."""
    half = NORMAL * Evaluation(top1, 0.0, images).standard_error
    return max(0.0, top1 - half), min(1.0, top1 + half)
