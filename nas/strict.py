"""What all settings have in common: unknown ones are refused, none changes."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _no_truth(value: object) -> object:
    """Python takes true for 1."""
    if isinstance(value, bool):
        raise ValueError("expected a whole number")
    return value


Positive = Annotated[int, BeforeValidator(_no_truth), Field(ge=1)]


class Strict(BaseModel):
    """Settings: frozen, without unknown names, defaults checked like what is given."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
