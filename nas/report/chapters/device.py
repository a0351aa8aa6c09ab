"""The measurement of the exported file, with everything that it depends on."""

from __future__ import annotations

from hardware.measure import Measurement
from nas.report.chapters.headline import interval
from nas.report.charts.verdict import draw_bursts
from nas.report.content import Figure, Note, Part, Section, Table
from nas.report.facts import Facts
from nas.report.figures import count, ms, percent, size
from nas.report.plot import both

_MODES = {
    "fifo": "wall time at real-time priority",
    "nice": "wall time at raised priority",
    "cpu-time": "CPU time",
    "wall": "wall time",
}


def verdict(facts: Facts) -> Section:
    """Bursts against the budget, conditions, and how far predictions can be trusted."""
    title, measurement = "Measured verdict", facts.exported
    table = _table_errors(facts)
    if facts.verified is not None and measurement is None:
        told = str(facts.verified["sentence"])
        return Section("verdict", title, f"{told[:1].upper()}{told[1:]}.", tuple(table))
    if measurement is None or facts.verified is None:
        why = "nothing was exported, so no exported file could be measured"
        return Section("verdict", title, f"Left out: {why}.", tuple(table))
    sentence = str(facts.verified["sentence"])
    parts: list[Part] = [
        Figure(
            both(lambda w: draw_bursts(measurement, facts.budget_ms, w)),
            "Short bursts spread over time, a dot per burst median; the shaded band is the 95 % interval.",
        )
    ]
    if measurement.verdict != "ok":
        parts.append(Note(f"The measurement is {measurement.verdict}: {measurement.reason}.", grave=True))
    parts += [_figures(measurement, facts), _conditions(measurement), *table]
    return Section("verdict", title, f"{sentence[:1].upper()}{sentence[1:]}.", tuple(parts))


def _figures(m: Measurement, facts: Facts) -> Table:
    assert facts.verified is not None
    rows = [
        ("latency of one call", interval(m)),
        ("median and 95th percentile of all runs", f"{ms(m.p50_ms)}, {ms(m.p95_ms)}"),
        ("runs and bursts", f"{count(m.runs)} in {len(m.bursts_ms)} bursts"),
        ("clock", _MODES.get(m.mode, m.mode)),
        ("timing verdict", f"{m.verdict}{': ' + m.reason if m.reason else ''}"),
    ]
    parity, files = facts.verified.get("parity"), facts.verified.get("files")
    if parity:
        agree = f"logits within {parity['max_abs_error']:.1e}, same class on {percent(parity['agree_top1'], 0)}"
        rows.append(("exported file against PyTorch", f"{agree} of {parity['n']} images"))
    if files:
        rows.append(("files", ", ".join(f"{name} ({size(bytes_)})" for name, bytes_ in sorted(files.items()))))
    return Table("Measurement", ("", ""), tuple(rows), words=(0, 1), folded=False)


def _conditions(m: Measurement) -> Table:
    c = m.conditions
    rows = (
        ("processor", f"{c.cpu_model}, {c.logical_cores} logical cores"),
        ("device", c.device),
        ("input", "×".join(map(str, c.input_shape)) if c.input_shape else "several sizes"),
        (
            "software",
            f"Python {c.python_version}, torch {c.torch_version}, onnxruntime {c.onnxruntime_version}",
        ),
        ("load, withheld CPU time", f"{c.load:g} processes, {percent(c.steal)}"),
        ("date", c.date),
    )
    return Table("Conditions", ("", ""), rows, words=(0, 1), folded=False)


def _table_errors(facts: Facts) -> list[Part]:
    if facts.table is None:
        return []
    calibration = facts.table.calibration
    errors = calibration.held_out
    if not errors.networks:
        said = f"{calibration.upper_factor:.3f} × prediction, an assumption at any confidence"
        unknown = (
            ("device", facts.table.conditions.cpu_model),
            ("networks measured whole", "none"),
            ("upper bound", said),
        )
        return [Table("Latency table: predicted, not measured", ("", ""), unknown, words=(0, 1), folded=False)]
    rows = (
        ("networks measured whole", str(errors.networks)),
        ("mean absolute error, held out", percent(errors.mape)),
        ("predictions within 10 %", percent(errors.within_10, 0)),
        ("rank correlation (Spearman)", f"{errors.spearman:.3f}"),
        (
            "upper bound",
            f"{calibration.upper_factor:.3f} × prediction, {percent(calibration.confidence, 0)} confidence",
        ),
        ("profiled", facts.table.conditions.date),
    )
    return [Table("Latency table: errors on networks it had not seen", ("", ""), rows, words=(0, 1), folded=False)]
