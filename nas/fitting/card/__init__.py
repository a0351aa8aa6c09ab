"""The card of a predictor: one offline HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_card(facts: dict[str, Any], plots: dict[str, Any], path: Path) -> Path:
    """Write the card; the same facts always give the same bytes.

    Args:
        facts: of ``nas.fitting.fit.Fitted``.
        plots: likewise.
        path: of the HTML file; an older one there is replaced, whole or not at all.
    Returns: the path.
    """
    from nas.fitting.card.page import render

    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.part")
    half.write_text(render(facts, plots), encoding="utf-8")
    half.replace(path)
    return path
