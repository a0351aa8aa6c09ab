"""What a fit can choose from, with the first sentence of each."""

from __future__ import annotations

import inspect
from typing import Any

from predictors import PREDICTORS, load_predictor
from predictors.encoders import ENCODERS
from predictors.labels import LABEL_MAPS


def listing() -> dict[str, list[dict[str, str]]]:
    """Predictors, encoders and label maps: {"name", "what"} each."""
    return {
        "predictors": [{"name": name, "what": sentence(load_predictor(name))} for name in PREDICTORS],
        "encoders": [{"name": name, "what": sentence(kind)} for name, kind in ENCODERS.items()],
        "label_maps": [{"name": name, "what": sentence(kind)} for name, kind in LABEL_MAPS.items()],
    }


def sentence(thing: Any) -> str:
    """The first paragraph of a docstring as one line."""
    paragraph = (inspect.getdoc(thing) or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).rstrip(".")
