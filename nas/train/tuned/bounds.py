"""What of a recipe may vary, and how far: plain data, from YAML or around a given recipe."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from nas.train.recipe import AUGMENTATIONS, InvalidRecipe, Recipe

FIXED = ("epochs", "mixed_precision")  # trials of other lengths cannot be compared
DIGITS = 4  # significant ones of a proposed number
_EXPECTED = "expected {low: 0.01, high: 0.5, log: true} or a list of values"


class InvalidBounds(ValueError):
    """Bounds of a setting are unknown, empty or not those of a recipe."""


@dataclass(frozen=True, slots=True)
class Knob:
    """A setting of a recipe that varies.

    Attributes:
        name: of the setting.
        low, high: its range, both included; 0 and 0 where there are choices.
        log: whether it varies by factors rather than by steps.
        whole: whether it takes whole numbers only.
        choices: its values, if they are listed.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()

    def holds(self, value: Any) -> bool:
        """Whether a value is among those it can take."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

    def tidy(self, value: Any) -> Any:
        """A proposed number with few digits."""
        if self.choices or self.whole:
            return value
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


def read_bounds(bounds: Mapping[str, Any]) -> tuple[Knob, ...]:
    """Knobs by the name of their setting.

    Args:
        bounds: name -> {low, high, log} or a list of values.
    Raises: InvalidBounds: the first one that is wrong, and how to mend it.
    """
    types = {f.name: str(f.type) for f in fields(Recipe) if f.name not in FIXED}
    return tuple(_read(name, value, types) for name, value in bounds.items())


def _read(name: str, value: Any, types: Mapping[str, str]) -> Knob:
    if name not in types:
        if name in FIXED:
            raise InvalidBounds(f"bounds.{name}: cannot be tuned, give --{'epochs' if name == 'epochs' else 'set'}")
        near = difflib.get_close_matches(str(name), types, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(types)}"
        raise InvalidBounds(f"bounds.{name}: unknown setting; {hint}")
    if isinstance(value, list | tuple):
        if len(value) < 2 or len({str(one) for one in value}) < len(value):
            raise InvalidBounds(f"bounds.{name}={list(value)!r}, expected at least two values, none of them twice")
        knob = Knob(name, choices=tuple(_checked(name, one) for one in value))
    elif types[name] == "str":
        raise InvalidBounds(f"bounds.{name}={value!r}, expected a list of values")
    else:
        knob = _range(name, value, whole=types[name] == "int")
    return knob


def _range(name: str, value: Any, *, whole: bool) -> Knob:
    if not isinstance(value, Mapping) or not {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        raise InvalidBounds(f"bounds.{name}={value!r}, {_EXPECTED}")
    low, high, log = value["low"], value["high"], value.get("log", False)
    for end, number in (("low", low), ("high", high)):
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise InvalidBounds(f"bounds.{name}.{end}={number!r}, expected a number")
    if not isinstance(log, bool):
        raise InvalidBounds(f"bounds.{name}.log={log!r}, expected true or false")
    if not low < high or (log and low <= 0):
        rule = "low above 0 and below high" if log else "low below high"
        raise InvalidBounds(f"bounds.{name}: low={low:g} and high={high:g}, expected {rule}")
    return Knob(name, _checked(name, low), _checked(name, high), log, whole)


def _checked(name: str, value: Any) -> Any:
    """The value as a recipe takes it."""
    try:
        return getattr(Recipe.from_dict({name: value}), name)
    except InvalidRecipe as error:
        raise InvalidBounds(f"bounds.{str(error).removeprefix('recipe.')}") from None


def bounds_around(recipe: Recipe, images: int, augment: str) -> dict[str, Any]:
    """Bounds that suit most networks: learning rate, decay, smoothing, batch size, augmentation and its strength.

    Args:
        recipe: what they lie around.
        images: that are trained on.
        augment: the augmentation that "auto" stands for on these images.
    """
    sizes = {max(2, recipe.batch_size // 2), recipe.batch_size, 2 * recipe.batch_size}
    sizes = {size for size in sizes if size == recipe.batch_size or size <= images // 4}
    kinds = [name for name in AUGMENTATIONS if name != "auto"] if "flip" in augment else ["none", "shift"]
    return {
        "learning_rate": {"low": recipe.learning_rate / 10, "high": 5 * recipe.learning_rate, "log": True},
        "weight_decay": {"low": 1e-5, "high": 1e-2, "log": True},
        "label_smoothing": {"low": 0.0, "high": 0.2},
        **({"batch_size": sorted(sizes)} if len(sizes) > 1 else {}),
        "augment": list(dict.fromkeys([*kinds, augment])),
        "augment_strength": {"low": 0.5, "high": 2.0},
    }
