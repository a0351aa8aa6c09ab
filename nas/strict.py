"""What all settings have in common: unknown ones are refused, none changes."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    """Settings: frozen, without unknown names, defaults checked like what is given."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
