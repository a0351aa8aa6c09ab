"""Whether stored rows were measured on this machine as it is now."""

from __future__ import annotations

from hardware.conditions import Surroundings
from hardware.device import Device
from hardware.device_table import DeviceTable


def changed_since(rows: DeviceTable) -> list[str]:
    """What differs between the machine that measured the rows of a device and this one, in words; none: it is here.

    Args:
        rows: of a device that is measured, not read from somebody's file.
    """
    if rows.conditions is None:
        return ["its table says nothing of the conditions"]
    then = rows.conditions.machine_identity()
    now = Surroundings().conditions(Device.parse(rows.device), None).machine_identity()
    return [f"{fact} was {then[fact] or 'none'}, now {now[fact] or 'none'}" for fact in now if then[fact] != now[fact]]
