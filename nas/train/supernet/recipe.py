"""How a supernet is trained: plain data, one switch for each ingredient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from nas.train.recipe import AUGMENTATIONS, InvalidRecipe, check_ranges, checked_settings

SAMPLERS = ("sandwich", "uniform", "fair", "fair-sandwich")
DISTILLATIONS = ("in-place", "fixed", "none")
PROGRESSIONS = ("none", "narrow", "shrinking")
PRIORS = ("none", "macs", "params", "zen")
_CHOICES = {
    "sampler": SAMPLERS,
    "distillation": DISTILLATIONS,
    "progressive": PROGRESSIONS,
    "prior": PRIORS,
    "augment": AUGMENTATIONS,
}


@dataclass(frozen=True, slots=True)
class SupernetRecipe:
    """Settings of one supernet training.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step; every network of a step sees the same ones.
        learning_rate: peak of SGD with Nesterov momentum (AdamW for networks with attention, a hundredth of it); it
            falls to 0 along a half cosine.
        momentum: of SGD; beta1 of AdamW.
        weight_decay: 0 is what ranks best (3rd place of track 1, CVPR 2021 challenge).
        warmup_epochs: linear rise of the learning rate.
        label_smoothing: of true labels.
        clip_norm: largest norm of a step's gradient; 0 turns it off.
        augment: as in ``Recipe``.
        mixed_precision: on CUDA.
        sampler: the networks of a step: "sandwich", largest, smallest and random ones; "uniform", random ones; "fair",
            every choice of a knob once before any a second time (FairNAS); "fair-sandwich", largest, smallest and fair
            ones.
        subnets: networks in a step; their gradients are summed, then the weights change once.
        distillation: what networks other than the largest learn from: "in-place", the outputs of the largest network
            of the same step; "fixed", those of the largest network, trained alone for ``teacher_epochs`` first;
            "none", the labels.
        teacher_epochs: see above, and the first phase of "shrinking".
        progressive: "narrow" begins with the largest choices and adds smaller ones over ``progressive_share`` of the
            training; "shrinking" is Once-for-all's order: largest network, kernels, depths, then widths.
        progressive_share: 0..1.
        prior: a cost or score that is declared to rank networks: pairs of a step that are out of its order are
            penalised by the difference of their losses. A ranking so trained contains the prior by intent.
        prior_weight: of that penalty; it rises from 0 over the first third of the training.
        zero_last: blocks begin as identities (BigNAS).
        resolutions: sides of images to train at, () for that of the data.
    """

    epochs: int = 16
    batch_size: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup_epochs: float = 2.0
    label_smoothing: float = 0.0
    clip_norm: float = 5.0
    augment: str = "auto"
    mixed_precision: bool = True
    sampler: str = "sandwich"
    subnets: int = 4
    distillation: str = "in-place"
    teacher_epochs: int = 4
    progressive: str = "none"
    progressive_share: float = 0.5
    prior: str = "none"
    prior_weight: float = 2.0
    zero_last: bool = False
    resolutions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_ranges(self, _RANGES)
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise InvalidRecipe(f"recipe.{name}={getattr(self, name)!r}, expected one of {', '.join(known)}")
        if self.learning_rate == 0:
            raise InvalidRecipe("recipe.learning_rate=0, expected more than 0")
        self._check_together()

    def _check_together(self) -> None:
        if self.distillation == "in-place" and not self.has_extremes:
            raise InvalidRecipe(
                f"recipe.distillation='in-place' with sampler={self.sampler!r}, which has no largest network; "
                "take sampler=sandwich or fair-sandwich, or distillation=none"
            )
        if self.has_extremes and self.subnets < 2:
            raise InvalidRecipe(f"recipe.subnets={self.subnets} with sampler={self.sampler!r}, expected at least 2")
        if any(not 4 <= side <= 8192 for side in self.resolutions):
            raise InvalidRecipe(f"recipe.resolutions={self.resolutions}, expected sides of 4 to 8192 pixels")
        if self.prior != "none" and self.subnets < 2:
            raise InvalidRecipe(
                f"recipe.prior={self.prior!r} with subnets={self.subnets}, expected at least 2 to compare"
            )
        if self.teacher_epochs >= self.epochs and (self.distillation == "fixed" or self.progressive == "shrinking"):
            raise InvalidRecipe(
                f"recipe.teacher_epochs={self.teacher_epochs} of epochs={self.epochs}, expected fewer: the largest "
                "network is trained first, and the rest needs epochs, too"
            )

    @property
    def has_extremes(self) -> bool:
        """Whether every step has the largest and the smallest network."""
        return self.sampler in ("sandwich", "fair-sandwich")

    @property
    def has_teacher_phase(self) -> bool:
        """Whether the largest network is trained alone first."""
        return self.distillation == "fixed" or self.progressive == "shrinking"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {**asdict(self), "resolutions": list(self.resolutions)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote; raises InvalidRecipe for an unknown or ill-typed setting."""
        given = dict(data)
        sides = given.pop("resolutions", ())
        if not isinstance(sides, list | tuple) or any(type(side) is not int for side in sides):
            raise InvalidRecipe(f"recipe.resolutions={sides!r}, expected a list of whole numbers")
        return cls(**checked_settings(cls, given), resolutions=tuple(sides))


_INFINITY = float("inf")
_RANGES = (  # name, at least, below
    ("epochs", 1, _INFINITY),
    ("batch_size", 2, _INFINITY),
    ("learning_rate", 0, _INFINITY),
    ("momentum", 0, 1),
    ("weight_decay", 0, _INFINITY),
    ("warmup_epochs", 0, _INFINITY),
    ("label_smoothing", 0, 1),
    ("clip_norm", 0, _INFINITY),
    ("subnets", 1, 1024),
    ("teacher_epochs", 1, _INFINITY),
    ("progressive_share", 0, 1),
    ("prior_weight", 0, _INFINITY),
)
