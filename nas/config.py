"""The one configuration of a run: a YAML file, flags or a dict, checked in one place, stored resolved."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from nas.binas_settings import BinasSettings, SupernetSettings
from nas.callbacks.choice import Choice, check_choices
from nas.engine_settings import EngineSettings
from nas.records import Constraint, check_objectives
from nas.strict import Positive, Strict
from nas.train.recipe import Recipe
from nas.train.tuned.settings import TuneSettings
from nas.units import parse_bytes, parse_count, parse_latency_ms, parse_seconds
from search_spaces import default_elastic_space, default_space

Milliseconds = Annotated[float, BeforeValidator(parse_latency_ms), PlainSerializer(lambda v: f"{v!r}ms")]
Seconds = Annotated[float, BeforeValidator(parse_seconds)]
Count = Annotated[float, BeforeValidator(parse_count)]
Bytes = Annotated[float, BeforeValidator(parse_bytes)]
Model = TypeVar("Model", bound=BaseModel)


class InvalidConfig(ValueError):
    """A setting is unknown, missing or out of range; the message names it.

    Attributes:
        field: the setting, for example "search.evaluations"; None where it is not one setting.
        value: as it was given.
    """

    def __init__(self, message: str, field: str | None = None, value: Any = None) -> None:
        super().__init__(message)
        self.field, self.value = field, value


class Limits(Strict):
    """Upper limits on the network; any combination."""

    latency: Milliseconds | None = None
    params: Count | None = None
    macs: Count | None = None
    memory: Bytes | None = None
    depth: Positive | None = None

    def constraints(self) -> tuple[Constraint, ...]:
        """The limits that are set, by metric name."""
        names = {"latency": "latency_ms", "memory": "peak_memory_bytes"}
        return tuple(Constraint(names.get(field, field), float(value)) for field, value in self if value is not None)


class SearchSettings(Strict):
    """How candidates are proposed and scored.

    Attributes:
        niches: "depth" keeps the best of every depth, for scores that grow with depth by definition; the default for
            all scores but the predictor.
        score: name of a score, ``package.module:function``, ``ensemble``, ``predictor``: the accuracy that a
            predictor expects, learnt from networks that the run trains first; or ``binas``: the run trains a supernet,
            measures in it what every choice adds, and solves for the best networks exactly.
        ensemble: file of a rank ensemble (a trust report, or its folder), for ``score: ensemble``.
        objectives: of nsga2 and optuna-nsga2; None takes the score against the latency, or MACs without such a budget.
    """

    algorithm: Literal["evolution", "regularized", "local", "nsga2", "tpe", "optuna-nsga2", "random"] = "evolution"
    niches: Literal["none", "depth"] = "depth"
    score: str = "zen"
    ensemble: str | None = None
    evaluations: Positive = 20_000
    seconds: Seconds | None = None
    population: Positive = 256
    objectives: Annotated[tuple[str, ...], AfterValidator(check_objectives)] | None = None
    lookahead: Positive = 256

    @model_validator(mode="before")
    @classmethod
    def _niches_suit(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("score") in ("predictor", "binas"):
            return {"niches": "none", **data}
        return data

    @model_validator(mode="after")
    def _ensemble_is_named(self) -> Self:
        if (self.score == "ensemble") != (self.ensemble is not None):
            raise ValueError(
                f"score={self.score!r} and ensemble={self.ensemble!r}; score: ensemble needs ensemble: FILE, made with "
                "`netwright proxies trust`, and other scores take none (or write score: ensemble:FILE)"
            )
        return self


class PredictorSettings(Strict):
    """The networks that are trained for ``search.score: predictor``, and how they are chosen.

    Attributes:
        labels: networks trained, at most; a network whose training breaks counts as one.
        initial: of these, trained first, chosen far apart.
        batch: chosen and trained together later, each time by a predictor fitted to all labels so far.
        epochs: of each training.
        proposals: networks that the predictor looks at for a batch.
        acquisition: what a batch is chosen by: "ei", expected improvement; "ucb" or "lcb", the predicted accuracy plus
            or less ``kappa`` standard deviations.
        kappa: standard deviations, also of the score that the search maximises: prediction less ``kappa`` of them.
        explore: share of later networks that are the most uncertain ones that may still be the best; "ei" weighs that
            up by itself.
        dropping: stop the weaker two thirds of a round early and estimate what they would have reached. Off, as what
            is saved in rounds so small costs the predictor the lower half of its labels, on which trends are learnt.
    """

    labels: Annotated[int, Field(ge=8, le=2_000)] = 32
    initial: Annotated[int, Field(ge=4)] = 12
    batch: Positive = 5
    epochs: Positive = 4
    proposals: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    acquisition: Literal["ei", "lcb", "ucb"] = "ei"
    kappa: Annotated[float, Field(ge=0, le=10)] = 1.0
    explore: Annotated[float, Field(ge=0, le=1)] = 0.0
    dropping: bool = False

    @model_validator(mode="after")
    def _labels_suffice(self) -> Self:
        if self.initial > self.labels:
            raise ValueError(
                f"labels={self.labels} and initial={self.initial}; expected at least as many labels as initial ones"
            )
        return self


class LatencySettings(Strict):
    """How the device's latency table is made when none is cached, how sure a prediction must be, how long is measured.

    A measurement ends when its figures agree; on a busy machine only when ``measure`` is over, with a wider interval.
    """

    profile: Seconds = 60.0
    measure: Annotated[Seconds, Field(ge=1.0)] = 60.0
    confidence: Annotated[float, Field(ge=0.5, le=0.99)] = 0.9


class FurtherDevice(Strict):
    """A further device that the network has to suit, with its own limit."""

    device: str
    latency: Milliseconds


class FinalistSettings(Strict):
    """How many of the best are measured and trained."""

    measured: Positive = 12
    trained: Positive = 4
    epochs: Positive = 6


class GuardSettings(Strict):
    """The baselines of equal latency that are trained beside the winner; 0 seeds turns them off."""

    seeds: Annotated[int, Field(ge=0)] = 2


def _known_recipe(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of ``nas.train.recipe.Recipe``, whole numbers as such; only what was given is kept."""
    recipe = Recipe.from_dict(settings).to_dict()
    return {name: recipe[name] for name in settings}


class Config(Strict):
    """Everything that a run depends on."""

    version: Literal[1] = 1
    data: str = "digits"
    space: str = "auto"
    device: str = "onnxruntime"
    constraints: Limits = Limits()
    also: tuple[FurtherDevice, ...] = ()
    search: SearchSettings = SearchSettings()
    predictor: PredictorSettings = PredictorSettings()
    supernet: SupernetSettings = SupernetSettings()
    binas: BinasSettings = BinasSettings()
    latency: LatencySettings = LatencySettings()
    finalists: FinalistSettings = FinalistSettings()
    recipe: Annotated[dict[str, Any], AfterValidator(_known_recipe)] = Field(default_factory=dict)
    tune: TuneSettings = TuneSettings()
    guard: GuardSettings = GuardSettings()
    engine: EngineSettings = EngineSettings()
    callbacks: Annotated[tuple[Choice, ...], BeforeValidator(check_choices)] = ()
    train: bool = True
    train_device: str = "cpu"
    train_threads: Annotated[int, Field(ge=1, le=1024)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    store: str | None = None

    @model_validator(mode="after")
    def _store_is_an_address(self) -> Self:
        """Checked here and not with its field, whose errors repeat the value: it may hold a password."""
        if self.store is not None:
            from nas.store import check_url

            check_url(self.store)
        return self

    @model_validator(mode="after")
    def _devices_differ(self) -> Self:
        names = [self.device, *(further.device for further in self.also)]
        if len(set(names)) != len(names):
            raise ValueError(f"also: {names} names a device twice; expected different ones")
        if self.also and self.constraints.latency is None:
            raise ValueError("also: further devices need a latency budget of the first; give constraints.latency")
        return self

    @model_validator(mode="after")
    def _predictor_is_wanted(self) -> Self:
        if self.search.score != "predictor" and self.predictor != PredictorSettings():
            raise ValueError(f"predictor: has settings, but search.score={self.search.score!r}; give score: predictor")
        return self

    @model_validator(mode="after")
    def _supernet_is_wanted(self) -> Self:
        settings = {"supernet": self.supernet != SupernetSettings(), "binas": self.binas != BinasSettings()}
        if self.search.score != "binas" and any(settings.values()):
            name = next(name for name, given in settings.items() if given)
            raise ValueError(f"{name}: has settings, but search.score={self.search.score!r}; give score: binas")
        return self

    @model_validator(mode="after")
    def _tuning_has_its_place(self) -> Self:
        if self.tune.trials == 1 or (self.tune.trials and (self.search.score == "binas" or not self.train)):
            raise ValueError(
                f"tune.trials={self.tune.trials}: expected 0 or at least 2, in a run that trains its winner from "
                f"random weights (here score={self.search.score!r}, train={self.train})"
            )
        return self

    @model_validator(mode="after")
    def _search_is_exact(self) -> Self:
        """With binas nothing evolves: settings of that would be without effect."""
        if self.search.score == "binas":
            usual = SearchSettings(score="binas")
            for name in ("algorithm", "niches", "evaluations", "seconds", "population", "objectives", "lookahead"):
                if getattr(self.search, name) != getattr(usual, name):
                    raise ValueError(
                        f"search.{name}={getattr(self.search, name)!r} has no effect with score: binas, which solves "
                        "for networks; give binas.rounds, binas.proposals or binas.paths instead"
                    )
        return self

    @model_validator(mode="after")
    def _latency_is_known(self) -> Self:
        wanted = [name for name in self.search.objectives or () if name.startswith("latency")]
        if wanted and self.constraints.latency is None:
            raise ValueError(
                f"search.objectives has {wanted[0]}, which needs a latency budget; give constraints.latency"
            )
        return self

    def space_name(self, side: int) -> str:
        """Of the space; "auto" becomes one that suits square images of this side and the score."""
        if self.space != "auto":
            return self.space
        return default_elastic_space(side) if self.search.score == "binas" else default_space(side)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "config") -> Self:
        """Check a mapping; raises InvalidConfig with the first offending setting and the nearest known name."""
        return checked(cls, data, where)

    @classmethod
    def from_yaml(cls, path: Path, overrides: Mapping[str, Any] | None = None) -> Self:
        """Read a YAML file, with ``overrides`` (nested) on top; raises InvalidConfig."""
        try:
            data = read_yaml(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InvalidConfig(f"config {path}: no such file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidConfig(f"config {path}: cannot be read ({error})") from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            place = f", line {mark.line + 1} column {mark.column + 1}" if mark else ""
            raise InvalidConfig(f"config {path}{place}: not YAML ({_problem(error)})") from None
        if data is not None and not isinstance(data, dict):
            raise InvalidConfig(f"config {path}: holds {type(data).__name__}, expected settings such as `data: digits`")
        return cls.from_dict(merge(data or {}, overrides or {}), f"config {path}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; ``from_dict`` reads it back."""
        return self.model_dump(mode="json")


def _problem(error: Exception) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, with the numbers of YAML 1.2: ``5e-4`` is one, not a text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+"),
    list("-+.0123456789"),
)


def read_yaml(text: str) -> Any:
    """Plain data from YAML; ``5e-4`` is a number. Raises yaml.YAMLError, ValueError or RecursionError."""
    return yaml.load(text, _Loader)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over``, mappings merged key by key."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def parse_setting(text: str) -> dict[str, Any]:
    """``search.evaluations=5000`` -> {"search": {"evaluations": 5000}}; raises InvalidConfig."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise InvalidConfig(f"--set {text!r}: expected name=value, for example search.evaluations=5000")
    try:
        setting: Any = read_yaml(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        setting = value
    for name in reversed(path.strip().split(".")):
        setting = {name: setting}
    return dict(setting)


def with_settings(base: Mapping[str, Any], texts: Iterable[str]) -> dict[str, Any]:
    """Settings with those of --set on top, the last one of a name counts; raises InvalidConfig."""
    merged = dict(base)
    for text in texts:
        merged = merge(merged, parse_setting(text))
    return merged


def checked(model: type[Model], data: Mapping[str, Any], where: str) -> Model:
    """Settings of a kind; raises InvalidConfig with the first offending setting and the nearest known name."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first, reason = error.errors()[0], _explain(model, error)
        field = ".".join(str(part) for part in first["loc"]) or None
        if field is not None and (inner := re.match(rf"{re.escape(field)}\.[\w.]+", reason)):  # a recipe's, say
            field = inner[0]
        raise InvalidConfig(f"{where}: {reason}", field, first.get("input")) from None


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    name = ".".join(path)
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return f"unknown setting {name!r}; {hint}"
    message = str(first["msg"]).removeprefix("Value error, ")
    if message.startswith(f"{name}."):  # of a recipe: it names the setting itself
        return message
    return f"{name}={first.get('input')!r}: {message}" if name else message


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
