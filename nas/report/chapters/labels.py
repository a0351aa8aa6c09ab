"""The networks that were trained to learn from, and the predictor that came of it."""

from __future__ import annotations

from nas.report.charts.labels import draw_labels
from nas.report.content import Figure, Note, Part, Section, Table
from nas.report.facts import Event, Facts
from nas.report.figures import NONE, count, percent
from nas.report.plot import both

TITLE = "Trained networks and predictor"


def labels(facts: Facts) -> Section:
    """Accuracy by round, and whether the predictor ranks better than a cost."""
    settings = facts.config.predictor
    if not facts.labels:
        return Section("labels", TITLE, "Left out: no network has been trained for the predictor yet.")
    sound = [event for event in facts.labels if event["top1"] is not None]
    failed = len(facts.labels) - len(sound)
    rounds = 1 + max(event["round"] for event in facts.labels)
    lead = (
        f"{count(len(facts.labels))} networks within the limits were trained for {settings.epochs} epochs each, in "
        f"{count(rounds)} rounds: the first far apart, the later ones where the predictor expected most. "
    )
    lead += f"{count(failed)} of them broke and taught nothing. " if failed else ""
    if facts.predictor is not None:
        lead += f"The predictor {facts.predictor['sentence']}."
    parts: list[Part] = []
    if sound:
        caption = "Validation accuracy of each trained network; a line is the best so far."
        parts.append(Figure(both(lambda w: draw_labels(sound, w)), caption))
    if facts.predictor is not None:
        parts.append(_predictor(facts.predictor))
    head = ("network", "round", "epochs", "top-1", "outcome")
    rows = tuple(_row(event, settings.epochs) for event in facts.labels)
    parts.append(Table("Trained networks as a table", head, rows, words=(0, 4)))
    if facts.predictor is not None and facts.predictor["gain"] is not None and facts.predictor["gain"]["low"] <= 0:
        parts.append(Note("The predictor is not proven to rank better than a cost alone; more labels would tell."))
    return Section("labels", TITLE, lead, tuple(parts))


def _predictor(found: Event) -> Table:
    def shown(name: str) -> str:
        e = found[name]
        return NONE if e is None else f"{e['value']:.2f} [{e['low']:.2f}, {e['high']:.2f}]"

    cost = found["baseline"] or "a cost"
    rows = [
        ("model", str(found["model"])),
        ("labels", f"{found['labels']}, {percent(found['low'])} to {percent(found['high'])}"),
        ("Kendall's tau, networks left out", shown("kendall")),
        (f"tau of {cost} alone", shown("baseline_kendall")),
        ("gain", shown("gain")),
    ]
    return Table("The predictor", ("", ""), tuple(rows), words=(0, 1), folded=False)


def _row(event: Event, epochs: int) -> tuple[str, ...]:
    outcome = f"failed: {event['failure']}" if event["failure"] else ""
    outcome = outcome or ("fell out" if event["epochs"] < epochs else "trained")
    top1 = percent(event["top1"], 2) if event["top1"] is not None else NONE
    return str(event["id"] + 1), str(event["round"] + 1), str(event["epochs"]), top1, outcome
