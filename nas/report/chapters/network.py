"""The network itself, and where its latency, weights and memory go."""

from __future__ import annotations

from nas.report.blocks import BlockRow, block_rows
from nas.report.charts.architecture import draw_architecture
from nas.report.charts.waterfall import draw_waterfall
from nas.report.content import Code, Figure, Note, Section, Table
from nas.report.facts import Facts
from nas.report.figures import count, digits, ms, si, size
from nas.report.plot import both
from search_spaces.arch import Architecture
from search_spaces.formats import write_published

ARCHITECTURE, COST = "Architecture", "Cost of every block"


def network(facts: Facts) -> tuple[Section, Section]:
    """The drawing with its text form, and the waterfall."""
    chosen, shape, classes = facts.chosen, facts.input_shape, facts.num_classes
    if chosen is None:
        why = "Left out: the run has no network to show yet."
        return Section("architecture", ARCHITECTURE, why), Section("waterfall", COST, why)
    text = structure_text(chosen.arch, 3 if shape is None else shape[0])
    if shape is None or classes is None:
        why = "Left out: the run file does not say how large its images are."
        return Section("architecture", ARCHITECTURE, why, (text,)), Section("waterfall", COST, why)
    rows = block_rows(chosen.arch, shape, classes, facts.table)
    who = "The winner" if chosen.final else "The best candidate so far"
    lead = (
        f"{who} is candidate {chosen.id}. One slab per sub-layer: as wide as its channels, "
        "as thick as the height of its maps; a new stage begins where the resolution changes."
    )
    drawing = Figure(both(lambda w: draw_architecture(rows, shape, w)))
    return Section("architecture", ARCHITECTURE, lead, (drawing, text)), _waterfall(facts, rows)


def structure_text(arch: Architecture, in_channels: int) -> Code:
    """Its published text, or JSON for a network that has none."""
    text = write_published(arch, in_channels)
    return Code("Architecture as JSON" if text == arch.to_json() else "Structure", text)


def _waterfall(facts: Facts, rows: list[BlockRow]) -> Section:
    chart = Figure(both(lambda w: draw_waterfall(rows, w)))
    head = ["block", "kind", "choices", "output", "parameters", "MACs", "peak memory"]
    timed = rows[0].latency_ms is not None
    lines = []
    for i, row in enumerate(rows):
        cells = [
            str(i + 1) if i + 1 < len(rows) else "",
            row.name,
            row.detail,
            "×".join(map(str, row.shape)),
            count(row.params),
            count(row.macs),
            size(row.peak_memory_bytes),
        ]
        lines.append((*cells, *([ms(row.latency_ms)] if timed else [])))
    table = Table("Blocks as a table", (*head, *(["latency"] if timed else [])), tuple(lines), words=(0, 1, 2, 3))
    total = sum(row.latency_ms or 0.0 for row in rows)
    lead = (
        f"The latency table predicts {digits(total)} ms; the classifier's bar includes what belongs to no block, "
        "such as the overhead of a call. "
        if timed
        else "Without a latency table there are no milliseconds to share out. "
    )
    heaviest = max(rows, key=lambda row: row.params)
    at = f"block {rows.index(heaviest) + 1}" if heaviest is not rows[-1] else "the classifier"
    lead += f"Most parameters sit in {at} ({si(heaviest.params)})."
    problem = (Note(f"{facts.table_problem}."),) if facts.table_problem else ()
    return Section("waterfall", COST, lead, (*problem, chart, table))
