"""The latency table of a task: the cached one, or one profiled now."""

from __future__ import annotations

from hardware.latency_targets import LatencyTarget
from hardware.lookup import LatencyTable
from nas.job.task import Task
from nas.narrator import Silent
from nas.runners.measuring import TableWanted


def latency_tables(task: Task, narrator: Silent) -> tuple[LatencyTable | None, tuple[LatencyTable, ...]]:
    """The tables that the task's latency budgets are held against: of its device, None without a budget, and of others.

    Raises: MeasurementFailed, RuntimeRefused, InvalidTable.
    """
    if task.latency_budget_ms is None:
        return None, ()
    table = table_of(task, task.target, narrator)
    return table, tuple(table_of(task, further.target, narrator) for further in task.further)


def table_of(task: Task, target: LatencyTarget, narrator: Silent) -> LatencyTable:
    """The table of a device, here or elsewhere.

    A cached table whose conditions changed is refused and made anew, in so many words.
    """
    confidence = task.config.latency.confidence
    if not target.here:
        table = target.table(
            task.space, task.input_shape, task.num_classes, confidence=confidence, spec=task.space_name
        )
        narrator.say(f"latency table of {target}, which is not here: {table}")
        for fact in _doubts(task, target):
            narrator.say(f"{target}: {fact}")
        return table
    wanted = TableWanted(
        task.space_name,
        target.device,
        target.text,
        task.input_shape,
        task.num_classes,
        task.config.latency.profile,
        confidence,
    )
    table = task.place.table(wanted, narrator)
    narrator.say(f"latency table: {table}")
    return table


def _doubts(task: Task, target: LatencyTarget) -> list[str]:
    """What makes predictions for a device elsewhere less sure."""
    found = [f"measured under other conditions ({'; '.join(target.changed)})"] * bool(target.changed)
    if target.analytic is not None:
        found.append(f"known from its data sheet: {target.analytic.error}")
    missing = target.uncovered(task.space, task.input_shape, task.num_classes)
    if missing:
        found.append(f"no row of {', '.join(missing)}: predicted at the cost of an average kernel of their size")
    return found
