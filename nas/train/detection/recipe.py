"""How a detector is trained: plain data, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass

from nas.train.detection.augment import AUGMENTATIONS
from nas.train.recipe import InvalidRecipe, PlainSettings, check_ranges

_INFINITY = float("inf")
_RANGES = (  # name, at least, below
    ("epochs", 1, _INFINITY),
    ("batch_size", 1, _INFINITY),
    ("learning_rate", 1e-12, _INFINITY),
    ("momentum", 0, 1),
    ("weight_decay", 0, _INFINITY),
    ("warmup_epochs", 0, _INFINITY),
    ("ema_decay", 0, 1),
    ("clip_norm", 1e-6, _INFINITY),
    ("evaluate_every", 1, _INFINITY),
)


@dataclass(frozen=True, slots=True)
class DetectionRecipe(PlainSettings):
    """Settings of one training. The defaults suit small detectors trained from scratch on few images.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step; the last, smaller batch of an epoch is dropped unless it is the only one.
        learning_rate: peak, reached after the warm-up; it falls to 0 along a half cosine.
        momentum: of Nesterov's SGD.
        weight_decay: on weights of convolutions; never on norms and biases.
        warmup_epochs: linear rise of the learning rate, at most half of the training.
        ema_decay: of the weight average that is evaluated and returned; 0 returns the last weights.
        clip_norm: largest length of the gradient.
        augment: one of ``AUGMENTATIONS``.
        evaluate_every: epochs between looks at the held-out images; the last epoch always looks.
    """

    epochs: int = 100
    batch_size: int = 8
    learning_rate: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_epochs: float = 2.0
    ema_decay: float = 0.99
    clip_norm: float = 5.0
    augment: str = "flip_scale"
    evaluate_every: int = 10

    def __post_init__(self) -> None:
        check_ranges(self, _RANGES)
        if self.augment not in AUGMENTATIONS:
            raise InvalidRecipe(f"recipe.augment={self.augment!r}, expected one of {', '.join(AUGMENTATIONS)}")
