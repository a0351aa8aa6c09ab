"""What clients post."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]


class Posted(BaseModel):
    """A body without unknown fields and without infinities."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Launch(Posted):
    """A search to start: its name, which becomes its folder, and its settings as in a configuration file."""

    name: Name | None = None
    config: dict[str, Any]


class Estimate(Posted):
    """A search to look at before it starts."""

    config: dict[str, Any]


class Predict(Posted):
    """Networks to predict.

    Attributes:
        archs: architectures as JSON objects, or published structure texts.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs.
        space: whose latency table is used; needed with a device that is here.
        device: whose latency is predicted; none without.
        predictor: name of a predictor in the folder ``predictors`` of the server's root; no accuracy without.
        coverage: how often intervals are to hold.
    """

    archs: Annotated[
        list[dict[str, Any] | Annotated[str, Field(max_length=20_000)]], Field(min_length=1, max_length=512)
    ]
    input_shape: tuple[
        Annotated[int, Field(ge=1, le=64)], Annotated[int, Field(ge=1, le=1024)], Annotated[int, Field(ge=1, le=1024)]
    ] = (3, 32, 32)
    num_classes: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 10
    space: Annotated[str, Field(max_length=200)] | None = None
    device: Annotated[str, Field(max_length=200)] | None = None
    predictor: Name | None = None
    coverage: Annotated[float, Field(gt=0, lt=1)] = 0.9
