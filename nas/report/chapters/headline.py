"""The sentence that matters, and the row of key figures."""

from __future__ import annotations

from typing import Literal

from hardware.measure import Measurement
from nas.report.content import Headline, KeyFigure
from nas.report.facts import Facts
from nas.report.figures import count, digits, exact_ms, percent, seconds, si, size

_WORDS: dict[str, tuple[Literal["kept", "missed", "open"], str]] = {
    "kept": ("kept", "Budget kept"),
    "missed": ("missed", "Budget missed"),
    "unclear": ("open", "Budget not proven"),
    "predicted": ("open", "Budget kept by prediction only"),
    "no budget": ("open", "Measured, no budget was set"),
}


def headline(facts: Facts) -> Headline:
    """What the run came to, or how far it is."""
    if facts.verified is not None:
        state, words = _WORDS[facts.verified["verdict"]]
    elif facts.chosen is None:
        state, words = "open", "Nothing feasible yet"
    elif facts.finished:
        state, words = "open", "Searched, not trained"
    else:
        state, words = "open", "Unfinished run"
    sentences = [_latency(facts), _accuracy(facts), _guard(facts)]
    return Headline(state, words, tuple(s for s in sentences if s), tuple(_figures(facts)))


def _latency(facts: Facts) -> str:
    if facts.verified is not None and facts.exported is None:
        return str(facts.verified["sentence"])[:1].upper() + str(facts.verified["sentence"])[1:] + "."
    measurement, what = facts.exported, "The exported file"
    if measurement is None:
        found = next((f for f in facts.finalists if facts.chosen and f.id == facts.chosen.id and f.measurement), None)
        measurement, what = (found.measurement if found else None), "The untrained network"
    if measurement is None:
        return _progress(facts)
    budget = facts.budget_ms
    against = f", against a budget of {exact_ms(budget)}" if budget is not None else ""
    doubt = f" The measurement is {measurement.verdict}: {measurement.reason}." if measurement.reason else ""
    return f"{what} takes {interval(measurement)} a call on {place(measurement)}{against}.{doubt}"


def interval(m: Measurement) -> str:
    """A measured latency with its interval."""
    return f"{digits(m.latency_ms)} ms (95 % interval {digits(m.low_ms)} to {digits(m.high_ms)} ms)"


def place(m: Measurement) -> str:
    """The machine and the software of a measurement."""
    c = m.conditions
    runtime, _, settings = c.device.partition(":")
    choices = dict(item.split("=") for item in settings.split(",") if "=" in item)
    threads = choices.get("threads", "1")
    return (
        f"{c.cpu_model}, {runtime} {c.runtime_version}, {threads} thread{'s' if threads != '1' else ''}, "
        f"batch {choices.get('batch', '1')}"
    )


def _progress(facts: Facts) -> str:
    seen, wanted = len(facts.candidates), facts.config.search.evaluations
    if facts.chosen is None:
        return f"None of the {count(seen)} candidates so far keeps all limits."
    if facts.chosen.final:
        return ""
    looked = f"The search has looked at {count(seen)} of {count(wanted)} candidates"
    return f"{looked}; the figures are those of the best so far."


def _accuracy(facts: Facts) -> str:
    if facts.test is None:
        return "It has not been trained to the end, so its accuracy is unknown." if facts.chosen else ""
    t = facts.test
    accuracy = f"{percent(t['top1'], 2)} ± {percent(t['standard_error'], 2)}"
    return f"Test accuracy {accuracy} (standard error, {t['n']:,} images never used before)."


def _guard(facts: Facts) -> str:
    return f"Baseline guard: {facts.guard['verdict']}." if facts.guard else ""


def _figures(facts: Facts) -> list[KeyFigure]:
    figures = []
    limits = facts.config.constraints
    if facts.chosen is not None:
        m = facts.chosen.metrics
        figures = [
            KeyFigure("Parameters", si(m.get("params")), _limit(limits.params, si(limits.params))),
            KeyFigure("MACs an image", si(m.get("macs")), _limit(limits.macs, si(limits.macs))),
            KeyFigure("Depth", f"{count(m.get('depth'))} sub-layers", _limit(limits.depth, count(limits.depth))),
            KeyFigure("Peak memory", size(m.get("peak_memory_bytes")), _limit(limits.memory, size(limits.memory))),
        ]
    took = sum(event["seconds"] for event in facts.searched)
    looked = sum(event["candidates"] for event in facts.searched)
    rate = f"{seconds(took)}, {looked / took:,.0f} a second" if took > 0 else ""
    scored = facts.candidates.counts()["scored"]
    return [
        *figures,
        KeyFigure("Candidates", count(len(facts.candidates)), rate or f"{scored:,} kept every limit"),
    ]


def _limit(limit: float | None, shown: str) -> str:
    return "" if limit is None else f"limit {shown}"
