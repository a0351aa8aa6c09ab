"""The card: facts through the chapters into one HTML text that needs nothing from outside."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas.fitting.card.chapters import headline, sections


def render(facts: dict[str, Any], plots: dict[str, Any]) -> str:
    """The card as HTML."""
    title = f"predictor of {facts['target']}"
    said = [f"table {Path(facts['table']).name}"] if facts["table"] else []
    said.append(f"{facts['rows']} rows")
    return (
        _environment()
        .get_template("report.html")
        .render(title=title, said=said, headline=headline(facts), sections=sections(facts, plots), style=_style())
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loaders = [PackageLoader("nas.fitting.card", "templates"), PackageLoader("nas.report", "templates")]
    return Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _style() -> Markup:
    """Our own style sheets, which hold nothing from the table: that of all reports, and what the card adds."""
    environment = _environment()
    assert environment.loader is not None
    return Markup("".join(environment.loader.get_source(environment, name)[0] for name in ("report.css", "card.css")))
