"""The page: facts of a run through the chapters into one HTML text that needs nothing from outside."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from nas.report.chapters.device import verdict
from nas.report.chapters.effects import effects
from nas.report.chapters.guard import guard
from nas.report.chapters.headline import headline
from nas.report.chapters.labels import labels
from nas.report.chapters.network import network
from nas.report.chapters.reproduce import reproduce
from nas.report.chapters.search import pareto, progress
from nas.report.chapters.training import finalists, training
from nas.report.facts import gather
from nas.run import Run


def render(run: Run) -> str:
    """The report as HTML; raises RunFileError."""
    facts = gather(run)
    architecture, waterfall = network(facts)
    sections = (
        *([labels(facts)] if facts.config.search.score == "predictor" else []),
        *([effects(facts)] if facts.config.search.score == "binas" else []),
        pareto(facts),
        progress(facts),
        architecture,
        waterfall,
        finalists(facts),
        training(facts),
        verdict(facts),
        guard(facts),
        reproduce(facts),
    )
    name = Path(facts.directory).name or facts.directory
    return _template().render(
        title=name,
        said=[f"data {facts.config.data}", f"device {facts.config.device}"],
        headline=headline(facts),
        sections=sections,
        style=_style(),
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("nas.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _template() -> Template:
    return _environment().get_template("report.html")


def _style() -> Markup:
    """Our own style sheet, which holds nothing from the run."""
    environment = _environment()
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, "report.css")[0])
