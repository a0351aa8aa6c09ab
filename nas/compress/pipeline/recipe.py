"""What a compression does, as a YAML file or a dict: one section for each stage, checked in one place.

The order of the stages is fixed, because each needs what comes before it: train, channels (by training with masks, then
slicing), group approximation, recalibration, fine-tuning or pruning of single weights, folding, quantisation, export.
A teacher counts in every training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from nas.compress.errors import CannotCompress
from nas.strict import Positive, Strict
from nas.train.recipe import Recipe

Settings = TypeVar("Settings")


class InvalidCompression(CannotCompress):
    """A setting of the recipe is unknown, missing or out of range; the message names it."""


def _not_twice(section: str, settings: Mapping[str, Any], owned: tuple[str, ...]) -> None:
    """A setting that the section itself has must not stand in its ``settings`` too."""
    for name in owned:
        if name in settings:
            raise ValueError(f"settings.{name}: write it as {section}.{name}")


def _training(value: Any) -> dict[str, Any]:
    """The settings of a training, checked."""
    if not isinstance(value, Mapping):
        raise ValueError("expected settings of a training, for example {epochs: 10}")
    Recipe.from_dict(value)
    return dict(value)


class Distil(Strict):
    """A teacher of all trainings.

    Attributes:
        teacher: "self", the network as it came, or the folder of an exported one.
        weight: of the teacher's labels, 0 to 1.
        temperature: of both softmaxes.
    """

    teacher: str = "self"
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    temperature: Annotated[float, Field(gt=0)] = 4.0


class Channels(Strict):
    """Which channels stay.

    Attributes:
        method: "chex" explores channels while it trains; "uniform" gives each group the same share by the size of its
            filters and trains what is left.
        macs: share of the multiply-accumulates that remains.
        settings: of ``nas.compress.chex.ChexSettings``, without its budget.
        train: settings of the training.
    """

    method: Literal["chex", "uniform"] = "chex"
    macs: Annotated[float, Field(gt=0, lt=1)] = 0.5
    settings: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=lambda: {"epochs": 20, "learning_rate": 0.1})

    _checked = field_validator("train")(_training)

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        _not_twice("channels", self.settings, ("macs", "latency_ms"))
        if self.method == "chex":
            from nas.compress.chex import ChexSettings

            settings_from(ChexSettings, {**self.settings, "macs": self.macs}, "channels.settings")
        elif self.settings:
            raise ValueError(f"channels.settings: uniform takes none, got {', '.join(self.settings)}")
        return self


class Approximate(Strict):
    """Convolutions replaced by two cheaper ones.

    Attributes:
        method: "groups", a grouped convolution and one of 1x1; "low-rank", fewer filters and one of 1x1.
        macs: share of the multiply-accumulates that remains, of what the channels left.
    """

    method: Literal["groups", "low-rank"] = "groups"
    macs: Annotated[float, Field(gt=0, lt=1)] = 0.6


class Prune(Strict):
    """Single weights set to 0: the file of packed weights gets smaller, no CPU gets faster.

    Attributes:
        method: "gap", "gradual" (magnitude) or "one-shot" (magnitude).
        sparsity: share of weights that go, of the layers between the first and the last.
        settings: further settings of the method.
        train: settings of its trainings.
    """

    method: Literal["gap", "gradual", "one-shot"] = "gradual"
    sparsity: Annotated[float, Field(gt=0, lt=1)] = 0.8
    settings: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=lambda: {"epochs": 10, "learning_rate": 0.05})

    _checked = field_validator("train")(_training)

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        _not_twice("prune", self.settings, ("sparsity",))
        self.method_settings()
        return self

    def method_settings(self) -> Any:
        """Settings of the method, as it takes them."""
        from nas.compress.gap import GapSettings
        from nas.compress.magnitude import GradualSettings, OneShotSettings

        epochs = Recipe.from_dict(self.train).epochs
        kinds: dict[str, tuple[type[Any], dict[str, Any]]] = {  # with the defaults for a trained network
            "gap": (GapSettings, {"epochs_per_step": 2, "rounds": 2, "fine_tune_epochs": epochs}),
            "gradual": (GradualSettings, {"epochs": epochs}),
            "one-shot": (OneShotSettings, {"train_epochs": 0, "fine_tune_epochs": epochs}),
        }
        kind, usual = kinds[self.method]
        return settings_from(kind, {**usual, **self.settings, "sparsity": self.sparsity}, "prune.settings")


class Quantise(Strict):
    """Integers instead of floating point.

    Attributes:
        weight_bits: 2 to 8, or "auto": 8, or 7 where this CPU's kernel of 8-bit weights saturates.
        activation_bits: 2 to 8.
        method: "unit", "layer", "nearest" or "minmax".
        images: of the training split, without their labels.
        size_bytes: if given, bits of each layer are chosen such that the codes of all weights take no more, with
            ``bits`` to choose from.
        bits: of weights, for ``size_bytes``.
        settings: further settings of ``nas.compress.quantise.QuantiseSettings``.
    """

    weight_bits: int | Literal["auto"] = "auto"
    activation_bits: Annotated[int, Field(ge=2, le=8)] = 8
    method: Literal["unit", "layer", "nearest", "minmax"] = "unit"
    images: Annotated[int, Field(ge=8)] = 512
    size_bytes: Positive | None = None
    bits: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8)
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        from nas.compress.quantise import QuantiseSettings

        _not_twice("quantise", self.settings, ("weight_bits", "activation_bits", "method"))
        bits = 8 if self.weight_bits == "auto" else self.weight_bits
        given = {"weight_bits": bits, "activation_bits": self.activation_bits, "method": self.method}
        settings_from(QuantiseSettings, {**self.settings, **given}, "quantise.settings")
        return self


class Compression(Strict):
    """The whole recipe; sections that are left out are not done.

    Attributes:
        seed: of all trainings and of the calibration.
        train: trains the network first, from the weights that it has.
        distil, channels, approximate, prune, quantise: see there.
        fine_tune: settings of the training after channels and approximation; with ``prune``, that method's training
            takes its place.
    """

    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    train: dict[str, Any] | None = None
    distil: Distil | None = None
    channels: Channels | None = None
    approximate: Approximate | None = None
    prune: Prune | None = None
    fine_tune: dict[str, Any] | None = None
    quantise: Quantise | None = None

    @field_validator("train", "fine_tune")
    @classmethod
    def _checked(cls, value: Any) -> Any:
        return value if value is None else _training(value)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "recipe") -> Self:
        """Read sections; raises InvalidCompression, naming the setting."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise InvalidCompression(_first(error, where, cls)) from None

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a YAML file; raises InvalidCompression."""
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InvalidCompression(f"{path}: cannot be read ({reason}); expected a YAML file") from None
        except yaml.YAMLError as error:
            raise InvalidCompression(f"{path}: not YAML ({' '.join(str(error).split())[:200]})") from None
        if not isinstance(data, dict):
            raise InvalidCompression(f"{path}: expected sections such as channels and quantise, got {data!r:.80}")
        return cls.from_dict(data, str(path))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return self.model_dump(mode="json")


_SECTIONS = {
    "distil": Distil,
    "channels": Channels,
    "approximate": Approximate,
    "prune": Prune,
    "quantise": Quantise,
}
DEFAULT: dict[str, Any] = {
    "distil": {},
    "channels": {},
    "fine_tune": {"epochs": 10, "learning_rate": 0.02},
    "quantise": {},
}


def settings_from(kind: type[Settings], data: Mapping[str, Any], where: str) -> Settings:
    """Settings of a method from plain data; raises InvalidCompression for unknown, ill-typed and impossible ones."""
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in data:
        if name not in known:
            raise InvalidCompression(f"{where}.{name}: unknown setting, expected one of {', '.join(known)}")
    try:
        return TypeAdapter(kind).validate_python(dict(data))
    except ValidationError as error:
        raise InvalidCompression(_first(error, where)) from None


def _first(error: ValidationError, where: str, model: type[Strict] | None = None) -> str:
    """The first of pydantic's complaints in one line."""
    found = error.errors()[0]
    place = ".".join([where, *(str(part) for part in found["loc"])])
    said = str(found["msg"]).removeprefix("Value error, ")
    if found["type"] == "extra_forbidden":
        section: Any = model if len(found["loc"]) == 1 else _SECTIONS.get(str(found["loc"][0]))
        names = f", expected one of {', '.join(section.model_fields)}" if section is not None else ""
        return f"{place}: unknown setting{names}"
    got = found["input"]
    shown = "" if isinstance(got, dict) or found["type"] == "value_error" else f" (got {got!r:.60})"
    return f"{place}: {said[:1].lower()}{said[1:]}{shown}"
