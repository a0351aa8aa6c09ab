"""Settings of a search with a supernet and BINAS's estimator."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from nas.strict import Positive, Strict
from nas.train.supernet.recipe import SupernetRecipe


def _known_supernet_recipe(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of ``nas.train.supernet.recipe.SupernetRecipe``; only what was given is kept."""
    recipe = SupernetRecipe.from_dict(settings).to_dict()
    return {name: recipe[name] for name in settings}


class SupernetSettings(Strict):
    """The supernet of ``search.score: binas``.

    Attributes:
        path: folder of a trained one, made by ``netwright supernet train``; None trains one for this run.
        recipe: how it is trained, settings of ``SupernetRecipe``.
        kernels, norms, classifier: what is shared how, see ``search_spaces.sharing.Sharing``.
    """

    path: str | None = None
    recipe: Annotated[dict[str, Any], AfterValidator(_known_supernet_recipe)] = Field(default_factory=dict)
    kernels: Literal["centre", "transform", "apart"] = "centre"
    norms: Literal["shared", "width"] = "shared"
    classifier: Literal["shared", "width"] = "shared"

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.path is not None and self.model_copy(update={"path": None}) != SupernetSettings():
            raise ValueError(f"path={self.path!r} together with settings of a training; expected one or the other")
        return self


class BinasSettings(Strict):
    """What is measured in the supernet, and how networks are proposed.

    Attributes:
        paths: random networks in which every choice of a block, or of a depth, is compared.
        images: validation images that every network is judged by, at most; None takes all.
        random: random networks that are scored to refit the estimator, and to say how well it ranks.
        proposals: best networks of a round, each different from all others in ``distance`` choices or more.
        distance: see above.
        rounds: of proposing, measuring and refitting, at most; ends earlier when a round brings nothing better.
        measured: of a round, measured on the device, where there is a latency budget and the device is here.
        kappa: standard errors that a choice's effect is lowered by, against the optimism of an optimum.
        fine_tuning: epochs of the winner, from the supernet's weights, with its largest network as teacher.
        distillation: weight of the teacher, 0..1.
    """

    paths: Annotated[int, Field(ge=4, le=10_000)] = 16
    images: Annotated[int, Field(ge=32)] | None = 512
    random: Annotated[int, Field(ge=16, le=10_000)] = 64
    proposals: Annotated[int, Field(ge=1, le=1_000)] = 8
    distance: Positive = 2
    rounds: Annotated[int, Field(ge=1, le=100)] = 4
    measured: Positive = 4
    kappa: Annotated[float, Field(ge=0, le=10)] = 0.5
    fine_tuning: Positive = 10
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
