"""The latency table of a task: the cached one, or one profiled now."""

from __future__ import annotations

from dataclasses import replace

from hardware.device_store import stored_devices
from hardware.lookup import ConditionsChanged, LatencyTable, TableUnreadable
from hardware.profiling import profile_stored
from hardware.table_cache import find_table, save_table
from nas.job.task import Task
from nas.narrator import Silent


def latency_table(task: Task, narrator: Silent) -> LatencyTable | None:
    """The table that the task's latency budget is held against; None when it has no latency budget.

    A cached table whose conditions changed is refused and made anew, in so many words.
    Raises: MeasurementFailed, RuntimeRefused.
    """
    if task.latency_budget_ms is None:
        return None
    if not task.target.here:
        predicted = elsewhere(task)
        narrator.say(f"latency table of {task.target}, which is not here: {predicted}")
        return predicted
    table: LatencyTable | None = None
    try:
        found = find_table(task.space, task.device, task.input_shape, task.num_classes, spec=task.space_name)
        table = found and at_confidence(found, task.config.latency.confidence)
    except (ConditionsChanged, TableUnreadable) as error:
        narrator.say(f"{error}")
    if table is None:
        table = profile(task, narrator)
    narrator.say(f"latency table: {table}")
    return table


def elsewhere(task: Task) -> LatencyTable:
    """The table of a device that is not here. Raises InvalidTable: its rows do not suffice."""
    return task.target.table(
        task.space,
        task.input_shape,
        task.num_classes,
        confidence=task.config.latency.confidence,
        spec=task.space_name,
    )


def at_confidence(table: LatencyTable, confidence: float) -> LatencyTable:
    """The table with the upper bound of a confidence. Raises TableUnreadable: a table of an earlier release."""
    try:
        return replace(table, calibration=table.calibration.at_confidence(confidence))
    except ValueError as error:
        raise TableUnreadable(f"{error}; it is made anew") from None


def profile(task: Task, narrator: Silent) -> LatencyTable:
    """Measure kernels or sub-layers and networks of the space on the device, and keep rows and table."""
    seconds = task.config.latency.profile
    narrator.say(f"profiling {task.space_name} on {task.device}, about {seconds:.0f} s …")
    table = profile_stored(
        task.space,
        task.device,
        task.input_shape,
        task.num_classes,
        seconds=seconds,
        seed=0,
        name=task.config.device if task.config.device in stored_devices() else "",
        confidence=task.config.latency.confidence,
        spec=task.space_name,
        progress=narrator.update,
    )
    narrator.done()
    narrator.say(f"latency table kept in {save_table(table)}")
    return table
