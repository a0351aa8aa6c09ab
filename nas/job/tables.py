"""The latency table of a task: the cached one, or one profiled now."""

from __future__ import annotations

from hardware.lookup import ConditionsChanged, LatencyTable, TableUnreadable
from hardware.profiling import profile_space
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
    try:
        table = find_table(task.space, task.device, task.input_shape, task.num_classes, spec=task.space_name)
    except (ConditionsChanged, TableUnreadable) as error:
        narrator.say(f"{error}")
        table = None
    if table is None or table.calibration.confidence != task.config.latency.confidence:
        table = profile(task, narrator)
    narrator.say(f"latency table: {table}")
    return table


def profile(task: Task, narrator: Silent) -> LatencyTable:
    """Measure blocks and a few networks of the space on the device, and keep the table."""
    seconds = task.config.latency.profile
    narrator.say(f"profiling {task.space_name} on {task.device}, about {seconds:.0f} s …")
    table = profile_space(
        task.space,
        task.device,
        task.input_shape,
        task.num_classes,
        seconds=seconds,
        seed=0,
        confidence=task.config.latency.confidence,
        spec=task.space_name,
        progress=narrator.update,
    )
    narrator.done()
    narrator.say(f"latency table kept in {save_table(table)}")
    return table
