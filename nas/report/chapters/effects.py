"""The supernet, what every choice adds in it, and how well the sum of effects ranks."""

from __future__ import annotations

from nas.one_shot.choice_rows import Contribution, part_rows
from nas.one_shot.effects_json import effects_from_dict
from nas.one_shot.structure import structure_of
from nas.report.charts.bars import Bar, draw_bars
from nas.report.content import Figure, Note, Part, Section, Table
from nas.report.facts import Facts
from nas.report.figures import count, percent
from nas.report.plot import both
from search_spaces import load_space

TITLE = "What every choice adds"
FEW = 0.5  # Kendall's tau below which a reader is warned


def effects(facts: Facts) -> Section:
    """Effects by stage and part, with their standard errors; quality; supernet."""
    if facts.effects is None:
        return Section("effects", TITLE, "Left out: nothing has been measured in the supernet yet.")
    found = facts.effects
    judged = found["corrected_quality"] if found["corrected"] else found["measured_quality"]
    how = "corrected by whole networks, on networks left out" if found["corrected"] else "as measured"
    lead = (
        "Every choice was compared with its alternatives inside the same random networks of the supernet. The sum of "
        f"effects, {how}, ranks {count(judged['networks'])} networks with Kendall's tau {judged['kendall']:.2f}. "
        "Effects are on the negative validation loss, in nats."
    )
    if facts.input_shape is None:
        return Section("effects", TITLE, "Left out: the run file does not say what images it is for.")
    view = structure_of(load_space(facts.config.space_name(facts.input_shape[1])))
    estimator = effects_from_dict(found["effects"])
    rows = part_rows(view, estimator)
    parts: list[Part] = []
    for stage in dict.fromkeys(row.stage for row in rows):
        of_stage = [row for row in rows if row.stage == stage]
        bars = [_bar(row) for row in of_stage]
        words = f"Effects of the choices of {stage}"
        caption = f"{stage}: dots are effects against the mean of the alternatives, lines two standard errors."
        parts.append(Figure(both(lambda w, b=bars, s=words: draw_bars(b, "effect, nats", s, w)), caption))  # type: ignore[misc]
    head = ("stage", "part", "choice", "effect", "standard error")
    table = tuple((r.stage, r.part, r.choice, f"{r.effect:+.4f}", f"{r.error:.4f}") for r in rows)
    parts.append(Table("Effects as a table", head, table, words=(0, 1, 2)))
    if facts.supernet is not None:
        last = facts.supernet["curve"][-1] if facts.supernet["curve"] else None
        if last is not None:
            told = (
                ("epochs", str(len(facts.supernet["curve"]))),
                ("validation top-1, largest network", percent(last["largest_top1"], 1)),
                ("validation top-1, smallest network", percent(last["smallest_top1"], 1)),
            )
            parts.append(Table("The supernet", ("", ""), told, words=(0, 1), folded=False))
    if judged["kendall"] < FEW:
        parts.append(Note("The effects rank networks poorly; train the supernet longer, or measure more paths."))
    return Section("effects", TITLE, lead, tuple(parts))


def _bar(row: Contribution) -> Bar:
    low, high = row.effect - 2 * row.error, row.effect + 2 * row.error
    return Bar(f"{row.part}: {row.choice}", row.effect, low, high, f"{row.effect:+.4f} ± {row.error:.4f}", low > 0)
