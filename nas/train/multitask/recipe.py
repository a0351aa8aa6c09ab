"""How a network for several tasks is trained: plain data, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass

from nas.train.recipe import InvalidRecipe, PlainSettings, check_ranges

OPTIMISERS = ("sgd", "adamw")
_INFINITY = float("inf")
_RANGES = (  # name, at least, below
    ("epochs", 1, _INFINITY),
    ("batch_size", 2, _INFINITY),
    ("learning_rate", 1e-12, _INFINITY),
    ("momentum", 0, 1),
    ("weight_decay", 0, _INFINITY),
    ("warmup_epochs", 0, _INFINITY),
    ("ema_decay", 0, 1),
    ("clip_norm", 1e-6, _INFINITY),
    ("evaluate_every", 1, _INFINITY),
)


@dataclass(frozen=True, slots=True)
class MultitaskRecipe(PlainSettings):
    """Settings of one training.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step; the last, smaller batch of an epoch is dropped unless it is the only one.
        learning_rate: peak, reached after the warm-up; it falls to 0 along a half cosine. AdamW takes a hundredth.
        momentum: of Nesterov's SGD; beta1 of AdamW.
        weight_decay: on weights; never on norms and biases. AdamW takes a hundred times that.
        warmup_epochs: linear rise of the learning rate, at most half of the training.
        ema_decay: of the weight average that is evaluated and returned; 0 returns the last weights.
        clip_norm: largest length of the gradient of the weighted sum of losses.
        optimiser: one of ``OPTIMISERS``.
        evaluate_every: epochs between looks at the validation images; the last epoch always looks.
    """

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: float = 1.0
    ema_decay: float = 0.99
    clip_norm: float = 5.0
    optimiser: str = "sgd"
    evaluate_every: int = 1

    def __post_init__(self) -> None:
        check_ranges(self, _RANGES)
        if self.optimiser not in OPTIMISERS:
            raise InvalidRecipe(f"recipe.optimiser={self.optimiser!r}, expected one of {', '.join(OPTIMISERS)}")
