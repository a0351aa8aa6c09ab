"""The finalists, measured and raced, and the winner's training."""

from __future__ import annotations

from nas.report.charts.finalists import draw_race, draw_shifts
from nas.report.charts.training import draw_training
from nas.report.content import Figure, Part, Section, Table
from nas.report.facts import Facts, Finalist
from nas.report.figures import NONE, digits, ms, percent, seconds
from nas.report.plot import both


def finalists(facts: Facts) -> Section:
    """Predicted against measured, and the short trainings."""
    title = "Finalists"
    if not facts.finalists:
        why = (
            "no finalist has been measured or trained yet"
            if not facts.finished
            else "no finalist was measured or raced"
        )
        return Section("finalists", title, f"Left out: {why}.")
    winner = facts.chosen.id if facts.chosen and facts.chosen.final else None
    measured = [f for f in facts.finalists if f.measurement]
    raced = [f for f in facts.finalists if f.curve]
    parts: list[Part] = []
    if measured:
        chart = both(lambda w: draw_shifts(facts.finalists, winner, facts.budget_ms, w))
        parts.append(
            Figure(
                chart,
                "The candidates with the best scores, measured whole before any training; ◆ the winner.",
            )
        )
    if raced:
        parts.append(
            Figure(both(lambda w: draw_race(facts.finalists, winner, w)), "Short trainings; the weaker fall out.")
        )
    order = [i for i, f in enumerate(facts.finalists) if f.id == winner]
    head = (
        "candidate",
        "score",
        "predicted",
        "measured",
        "interval",
        "timing",
        "in budget",
        "epochs",
        "top-1",
        "outcome",
    )
    rows = tuple(_row(f, winner) for f in facts.finalists)
    parts.append(Table("Finalists as a table", head, rows, words=(0, 5, 6, 9), strong=order[0] if order else None))
    return Section("finalists", title, _lead(measured, raced), tuple(parts))


def _lead(measured: list[Finalist], raced: list[Finalist]) -> str:
    said = []
    if measured:
        within = sum(f.within for f in measured)
        ratios = sorted(f.measurement.latency_ms / f.predicted_ms for f in measured if f.measurement and f.predicted_ms)
        said.append(f"{within} of {len(measured)} measured networks keep the budget.")
        if ratios:
            said.append(f"Their measured latency is {digits(ratios[len(ratios) // 2])} times the predicted (median).")
    if raced:
        said.append(f"{len(raced)} were trained side by side.")
    return " ".join(said)


def _row(f: Finalist, winner: int | None) -> tuple[str, ...]:
    m = f.measurement
    outcome = "winner" if f.id == winner else _fate(f)
    return (
        str(f.id),
        digits(f.score, 5),
        ms(f.predicted_ms),
        ms(m.latency_ms) if m else NONE,
        f"{digits(m.low_ms)} to {digits(m.high_ms)}" if m else NONE,
        m.verdict if m else NONE,
        ("yes" if f.within else "no") if m else NONE,
        str(len(f.curve)) if f.curve else NONE,
        percent(f.curve[-1], 2) if f.curve else NONE,
        outcome,
    )


def _fate(f: Finalist) -> str:
    if f.failure:
        return f"failed: {f.failure}"
    if not f.curve:
        return "not trained"
    return f"fell out after epoch {len(f.curve)}" if f.stopped_early else "finished"


def training(facts: Facts) -> Section:
    """The winner's learning curves."""
    title = "Training of the winner"
    if not facts.epochs:
        why = "the run was told not to train" if not facts.config.train else "the winner has not been trained yet"
        return Section("training", title, f"Left out: {why}.")
    took = sum(float(e["seconds"]) for e in facts.epochs)
    last = facts.epochs[-1]
    reached = percent(last["validation_top1"], 2)
    start = "From the weights of the supernet: " if facts.config.search.score == "binas" else ""
    lead = f"{start}{len(facts.epochs)} epochs in {seconds(took)}; validation top-1 ends at {reached}."
    if facts.test:
        error = percent(facts.test["standard_error"], 2)
        lead += f" On the held-out test images: {percent(facts.test['top1'], 2)} ± {error}."
    head = ("epoch", "train loss", "validation loss", "validation top-1", "learning rate", "seconds")
    rows = tuple(
        (
            str(e["epoch"]),
            digits(e["train_loss"], 4),
            digits(e["validation_loss"], 4),
            percent(e["validation_top1"], 2),
            f"{e['learning_rate']:.4g}",
            digits(e["seconds"]),
        )
        for e in facts.epochs
    )
    chart = Figure(
        both(lambda w: draw_training(facts.epochs, w)),
        "The train loss includes label smoothing and augmentation, so it can lie above the validation loss.",
    )
    return Section("training", title, lead, (chart, Table("Epochs as a table", head, rows)))
