"""What the search found, and how it went."""

from __future__ import annotations

from nas.report.charts.pareto import ParetoField, draw_pareto
from nas.report.charts.progress import draw_best, draw_outcomes, draw_reasons
from nas.report.content import Figure, Part, Section, Table
from nas.report.facts import OUTCOMES, Facts
from nas.report.figures import count, digits, ms, percent, si
from nas.report.plot import both

SHOWN_FRONT = 40
SHOWN_REASONS = 6


def pareto(facts: Facts) -> Section:
    """Score against cost."""
    c = facts.candidates
    title = "Score against latency" if c.cost_name == "latency_ms" else "Score against MACs"
    if not len(c.front):
        return Section("pareto", title, "Left out: no candidate has a score yet.")
    winner = facts.chosen.id if facts.chosen and facts.chosen.final else None
    field = ParetoField(c, facts.config.search.score, facts.finalists, winner, facts.budget_ms)
    lead = (
        f"{count(c.counts()['scored'])} candidates kept every limit and were scored; none beats the "
        f"{count(len(c.front))} on the line in both score and cost. {_meaning(facts)}"
    )
    moved = any(f.measurement for f in facts.finalists) and field.timed
    caption = "The stronger the shade, the more candidates. " if c.counts()["scored"] > 600 else ""
    caption += "Grey strokes lead from a finalist's predicted to its measured latency." if moved else ""
    return Section("pareto", title, lead, (Figure(both(lambda w: draw_pareto(field, w)), caption), _front_table(facts)))


def _meaning(facts: Facts) -> str:
    settings, score = facts.config.predictor, facts.config.search.score
    if score == "binas":
        return "The score is the negative validation loss of the network with the supernet's weights."
    if score != "predictor":
        return "The score is computed without training: it ranks networks, it is no accuracy."
    return (
        f"The score is the validation accuracy that a predictor expects after {settings.epochs} epochs, less "
        f"{settings.kappa:g} of its standard deviations."
    )


def _front_table(facts: Facts) -> Table:
    c = facts.candidates
    best = c.front[::-1][:SHOWN_FRONT]
    show = ms if c.cost_name == "latency_ms" else si
    rows = tuple(
        (str(i), digits(score, 5), show(cost))
        for i, score, cost in zip(c.ids[best].tolist(), c.score[best].tolist(), c.cost[best].tolist(), strict=True)
    )
    more = f", the best {SHOWN_FRONT} of {len(c.front)}" if len(c.front) > SHOWN_FRONT else ""
    cost_head = "predicted latency" if c.cost_name == "latency_ms" else "MACs"
    return Table(f"Pareto front as a table{more}", ("candidate", "score", cost_head), rows)


def progress(facts: Facts) -> Section:
    """Best score so far, outcomes, reasons of rejection."""
    c = facts.candidates
    if not len(c):
        return Section("progress", "Search progress", "Left out: the search has not looked at any candidate yet.")
    name = facts.config.search.score
    parts: list[Part] = []
    if len(c.front):
        parts.append(Figure(both(lambda w: draw_best(c, name, w))))
    parts.append(Figure(both(lambda w: draw_outcomes(c, w))))
    reasons = _reasons(facts)
    if reasons:
        caption = "Candidates over a limit, by limit; one candidate can exceed several."
        parts.append(Figure(both(lambda w: draw_reasons(reasons, len(c), w)), caption))
    parts += _tables(facts, reasons)
    lead = f"{_how(facts)} over {count(len(c))} candidates, seed {facts.config.seed}."
    return Section("progress", "Search progress", lead, tuple(parts))


def _how(facts: Facts) -> str:
    if facts.config.search.score == "binas":
        return f"Random networks, then {count(facts.rounds)} rounds of the exact program's best,"
    return facts.config.search.algorithm.capitalize()


def _reasons(facts: Facts) -> list[tuple[str, int]]:
    words = {
        "latency_ms": "latency",
        "macs": "MACs",
        "params": "parameters",
        "peak_memory_bytes": "peak memory",
    }
    return [(words.get(name, name)[:24], n) for name, n in facts.candidates.limits[:SHOWN_REASONS]]


def _tables(facts: Facts, reasons: list[tuple[str, int]]) -> list[Part]:
    c = facts.candidates
    counts = c.counts()
    rows = [(name, count(counts[name]), percent(counts[name] / len(c))) for name in OUTCOMES if counts[name]]
    rows += [(f"over the limit on {name}", count(n), percent(n / len(c))) for name, n in reasons]
    tables: list[Part] = [Table("Outcomes as a table", ("outcome", "candidates", "share"), tuple(rows))]
    if c.failures:
        failed = tuple((message[:300], count(n)) for message, n in c.failures[:SHOWN_REASONS])
        tables.append(Table("Evaluations that failed", ("message", "candidates"), failed, folded=False))
    return tables
