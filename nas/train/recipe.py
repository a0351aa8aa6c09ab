"""How a network is trained: plain data, checked when it is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, cast

from nas.typed_fields import check_types

OPTIMISERS = ("auto", "sgd", "adamw")
AUGMENTATIONS = ("auto", "none", "shift", "flip_crop", "flip_crop_cutout")


class InvalidRecipe(ValueError):
    """A training setting is out of its range or unknown."""


class PlainSettings:
    """What all recipes share: they are plain data, back and forth."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; given as arguments it makes the same recipe."""
        return asdict(cast(Any, self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote; raises InvalidRecipe for an unknown or ill-typed setting."""
        return cls(**checked_settings(cls, data))


@dataclass(frozen=True, slots=True)
class Recipe(PlainSettings):
    """Settings of one training. The defaults suit small networks on small images.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step; the last, smaller batch of an epoch is dropped unless it is the only one.
        learning_rate: peak, reached after the warm-up; it falls to 0 along a half cosine. A linear layer that reads
            n > 128 features takes 128 / n of it.
            AdamW takes a hundredth of all that.
        momentum: of Nesterov's SGD; beta1 of AdamW.
        weight_decay: on weights of convolutions and linear layers; never on norms, biases and position tables. AdamW
            takes a hundred times that.
        warmup_epochs: linear rise of the learning rate, at most half of the training.
        label_smoothing: share of the target spread over all classes, 0..1.
        ema_decay: of the weight average that is evaluated and returned; 0 returns the last weights.
        optimiser: one of ``OPTIMISERS``; "auto" is AdamW for networks with attention and SGD for all others.
        augment: one of ``AUGMENTATIONS``; "auto" fits the data.
        augment_strength: factor on the size of shifts and of the hole; 1 is as usual, 0 leaves mirroring only.
        mixed_precision: on CUDA; the CPU always computes in float32.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.1
    ema_decay: float = 0.99
    optimiser: str = "auto"
    augment: str = "auto"
    augment_strength: float = 1.0
    mixed_precision: bool = True

    def __post_init__(self) -> None:
        check_ranges(self, _RANGES)
        if self.learning_rate == 0:
            raise InvalidRecipe("recipe.learning_rate=0, expected more than 0")
        for name, known in (("optimiser", OPTIMISERS), ("augment", AUGMENTATIONS)):
            if getattr(self, name) not in known:
                raise InvalidRecipe(f"recipe.{name}={getattr(self, name)!r}, expected one of {', '.join(known)}")


def check_ranges(recipe: object, ranges: Iterable[tuple[str, float, float]]) -> None:
    """Raise InvalidRecipe unless all settings are of their types and every (name, at least, below) holds."""
    check_types(recipe, "recipe.", InvalidRecipe)
    for name, least, below in ranges:
        value = getattr(recipe, name)
        if not least <= value < below:
            raise InvalidRecipe(f"recipe.{name}={value}, expected at least {least:g} and below {below:g}")


def checked_settings(recipe: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a recipe from JSON or YAML; raises InvalidRecipe for an unknown or ill-typed setting."""
    types = {f.name: str(f.type) for f in fields(recipe)}
    for name, value in data.items():
        if name not in types:
            raise InvalidRecipe(f"recipe.{name}: unknown setting, expected one of {', '.join(types)}")
        if type(value).__name__ not in _ACCEPTED[types[name]] or (types[name] == "int" and value != value // 1):
            raise InvalidRecipe(f"recipe.{name}={value!r}, expected a value of type {types[name]}")
    whole: dict[str, Any] = {name: int(value) for name, value in data.items() if types[name] == "int"}
    return {**data, **whole}


_ACCEPTED = {"int": ("int", "float"), "float": ("int", "float"), "str": ("str",), "bool": ("bool",)}  # 1e1 epochs
_INFINITY = float("inf")
_RANGES = (  # name, at least, below
    ("epochs", 1, _INFINITY),
    ("batch_size", 2, _INFINITY),
    ("learning_rate", 0, _INFINITY),
    ("momentum", 0, 1),
    ("weight_decay", 0, _INFINITY),
    ("warmup_epochs", 0, _INFINITY),
    ("label_smoothing", 0, 1),
    ("ema_decay", 0, 1),
    ("augment_strength", 0, 4),
)
