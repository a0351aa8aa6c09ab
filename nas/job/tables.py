"""The latency table of a task: the cached one, or one profiled now."""

from __future__ import annotations

from dataclasses import replace

from hardware.device_store import stored_devices
from hardware.latency_targets import LatencyTarget
from hardware.lookup import ConditionsChanged, LatencyTable, TableUnreadable
from hardware.profiling import profile_stored
from hardware.table_cache import find_table, save_table
from nas.job.task import Task
from nas.narrator import Silent


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
    found: LatencyTable | None = None
    try:
        found = find_table(task.space, target.device, task.input_shape, task.num_classes, spec=task.space_name)
        found = found and at_confidence(found, confidence)
    except (ConditionsChanged, TableUnreadable) as error:
        narrator.say(f"{error}")
        found = None
    table = found or profile(task, target, narrator)
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


def at_confidence(table: LatencyTable, confidence: float) -> LatencyTable:
    """The table with the upper bound of a confidence. Raises TableUnreadable: a table of an earlier release."""
    try:
        return replace(table, calibration=table.calibration.at_confidence(confidence))
    except ValueError as error:
        raise TableUnreadable(f"{error}; it is made anew") from None


def profile(task: Task, target: LatencyTarget, narrator: Silent) -> LatencyTable:
    """Measure kernels or sub-layers and networks of the space on the device, and keep rows and table."""
    seconds = task.config.latency.profile
    narrator.say(f"profiling {task.space_name} on {target}, about {seconds:.0f} s …")
    table = profile_stored(
        task.space,
        target.device,
        task.input_shape,
        task.num_classes,
        seconds=seconds,
        seed=0,
        name=target.text if target.text in stored_devices() else "",
        confidence=task.config.latency.confidence,
        spec=task.space_name,
        progress=narrator.update,
    )
    narrator.done()
    narrator.say(f"latency table kept in {save_table(table)}")
    return table
