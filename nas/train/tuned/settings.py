"""Settings of a tuning; without torch, as configurations hold them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from nas.strict import Positive, Strict
from nas.train.tuned.bounds import read_bounds


def _known_bounds(bounds: dict[str, Any]) -> dict[str, Any]:
    read_bounds(bounds)
    return bounds


class TuneSettings(Strict):
    """How a recipe is tuned; in a search for its winner, before that is trained.

    Attributes:
        trials: recipes that are tried, the given one among them; 0 tunes nothing.
        epochs: of each trial; None takes the recipe's.
        repeats: seeds in which the best recipe and the given one are trained again, each seed for both.
        drop: stop trials that show little at a rung.
        eta: one of so many goes on at a rung.
        lookahead: a proposal knows the outcomes of all trials but the last ``lookahead - 1``: so many can be trained
            side by side. The outcome depends on it, and not on the number of workers.
        bounds: what may vary and how far; {} takes bounds around the given recipe.
    """

    trials: Annotated[int, Field(ge=0, le=10_000)] = 0
    epochs: Positive | None = None
    repeats: Annotated[int, Field(ge=1, le=100)] = 4
    drop: bool = True
    eta: Annotated[int, Field(ge=2, le=100)] = 3
    lookahead: Annotated[int, Field(ge=1, le=1000)] = 4
    bounds: Annotated[dict[str, Any], AfterValidator(_known_bounds)] = Field(default_factory=dict)
