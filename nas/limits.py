"""A user's limits on networks and what they are held against, for commands that look at a space without a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hardware.latency_targets import find_target
from hardware.lookup import ConditionsChanged, TableUnreadable, profile_command
from hardware.table_cache import find_table
from nas.config import Config, InvalidConfig
from nas.gates import Gates
from nas.protocols import SearchSpace
from search_spaces.layers import Shape

CONFIDENCE = 0.9  # of the upper bound on a device elsewhere


def gates_of(  # noqa: PLR0913 - the task's facts, all named
    limits: Mapping[str, Any],
    *,
    space: SearchSpace,
    space_name: str,
    device: str,
    input_shape: Shape,
    num_classes: int,
    where: str,
) -> Gates:
    """The gates of a task.

    Args:
        limits: as in a configuration's ``constraints``: latency, params, macs, memory, depth; None for no limit.
        space: whose members pass the gates.
        space_name: how the user names it.
        device: RUNTIME[:threads=N,batch=N]; its cached latency table is used when there is one.
        input_shape: (channels, height, width).
        num_classes: of the classifier.
        where: how messages call the command.
    Raises: InvalidConfig: an impossible limit, or one on the latency without a table. ConditionsChanged,
        TableUnreadable: the table, when the latency is limited. InvalidDevice.
    """
    given = {name: value for name, value in limits.items() if value is not None}
    constraints = Config.from_dict({"constraints": given}, where).constraints.constraints()
    target = find_target(device)
    wanted = target.device
    if not target.here:
        elsewhere = target.table(space, input_shape, num_classes, confidence=CONFIDENCE, spec=space_name)
        return Gates(input_shape, num_classes, constraints, elsewhere)
    try:
        table = find_table(space, wanted, input_shape, num_classes, spec=space_name)
    except (ConditionsChanged, TableUnreadable):
        if "latency" in given:
            raise
        table = None
    if table is None and "latency" in given:
        raise InvalidConfig(
            f"{where}: no latency table of {space.name} for {device} at {input_shape[1]} pixels; make one: "
            f"{profile_command(space_name, wanted, input_shape)}"
        )
    return Gates(input_shape, num_classes, constraints, table)
