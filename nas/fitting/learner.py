"""How to learn from rows of a schema: let ``AutoPredictor`` choose, or take one predictor on one encoding."""

from __future__ import annotations

import inspect
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictors import PREDICTORS, load_predictor
from predictors.auto.member import Member, Recipe
from predictors.encoders import ENCODERS
from predictors.evaluation import repeated_folds
from predictors.labels import LABEL_MAPS
from predictors.novelty import Novelty
from predictors.rank import kendall
from predictors.regressor import Floats
from predictors.schema import Schema

AUTO = "auto"
SCORING_FOLDS = 5  # whose errors set the width of intervals


class InvalidModel(ValueError):
    """A model or encoder of unknown name, or one that the table is not for; the message says which there are."""


@dataclass(frozen=True)
class Learner:
    """A recipe of how to learn.

    Attributes:
        model: key of ``PREDICTORS``; "auto" chooses encoder, label map and model.
        encoder: key of ``ENCODERS`` for a named model; None is one-hot.
        time_limit: seconds for each choice of "auto".
        seed: of folds and models.
    """

    model: str = AUTO
    encoder: str | None = None
    time_limit: float = 8.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.model not in PREDICTORS:
            raise InvalidModel(f"model {self.model!r}: unknown, expected one of {', '.join(PREDICTORS)}")
        if self.encoder is not None and self.encoder not in ENCODERS:
            raise InvalidModel(f"encoder {self.encoder!r}: unknown, expected one of {', '.join(ENCODERS)}")
        if self.encoder is not None and self.model == AUTO:
            raise InvalidModel(f"encoder {self.encoder!r}: the model auto chooses its own; name a model, too")

    def learn(self, schema: Schema, raw: Floats, labels: Floats, weights: Floats) -> Any:
        """A fitted ``AutoPredictor``.

        Args:
            schema: of the columns.
            raw: (n, columns) as ``predictors.reading.read`` gives them.
            labels: (n,) finite, not all equal.
            weights: (n,) above 0.
        """
        found: Any = load_predictor(AUTO)(time_limit=self.time_limit, random_state=self.seed)
        found.schema_ = found._base_ = schema
        found.extras_ = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            if self.model == AUTO:
                found._fit(raw, labels, weights)
            else:
                self._take_named(found, raw, labels, weights)
        return found

    def _take_named(self, found: Any, raw: Floats, labels: Floats, weights: Floats) -> None:
        """Put one named model where ``AutoPredictor`` puts those that it has chosen."""
        started = time.perf_counter()
        encoder = self.encoder or "one-hot"
        if not ENCODERS[encoder].applies(found.schema_) and self.encoder is not None:
            raise InvalidModel(f"encoder {encoder!r}: the table has no columns that it is for; leave --encoder out")
        recipe = Recipe(self.model, encoder)
        predicted, deviations = np.empty(len(labels)), np.empty(len(labels))
        for train, test in repeated_folds(len(labels), min(SCORING_FOLDS, len(labels)), 1, self.seed):
            member = self._member(recipe, found.schema_, raw[train], labels[train], weights[train])
            predicted[test], deviations[test] = member.estimate_with_std(raw[test])
        tau = float(np.nan_to_num(kendall(predicted, labels), nan=0.0))
        found.recipe_, found.cv_kendall_ = recipe, tau
        found.scores_ = (labels - predicted) / np.maximum(deviations, 1e-300)
        found.members_ = [self._member(recipe, found.schema_, raw, labels, weights)]
        found._seen = found.members_[0].encoder
        points = np.unique(found._seen.transform(raw), axis=0)
        found._novelty = Novelty().fit(points) if len(points) > 1 else None
        seconds = time.perf_counter() - started
        found.leaderboard_ = [{"recipe": recipe.name, "kendall": tau, "seconds": seconds}]

    def _member(self, recipe: Recipe, schema: Schema, raw: Floats, labels: Floats, weights: Floats) -> Member:
        member = Member(recipe, schema, self.seed)
        member.encoder = ENCODERS[recipe.encoder]().fit(raw, schema)
        member.label_map = LABEL_MAPS["identity"]().fit(labels)
        kind = load_predictor(recipe.model)
        seeded = "random_state" in inspect.signature(kind).parameters
        member.model = kind(random_state=self.seed) if seeded else kind()
        member.model.fit(member.encoder.transform(raw), labels, weights)
        return member
