"""Latency tables on disk, one file per space, device and input shape, written whole or not at all."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

from hardware.device import FP32, Device
from hardware.device_store import cache_root, write_whole
from hardware.device_table import DeviceTable
from hardware.lookup import LatencyTable, TableUnreadable, profile_command
from hardware.spaces import Space, space_digest, space_name
from search_spaces import SPACES
from search_spaces.layers import Shape


def cache_dir() -> Path:
    """The folder of tables: under $NETWRIGHT_CACHE, or the user's cache folder."""
    return cache_root() / "latency"


def table_path(space: str, device: Device, input_shape: Shape) -> Path:
    """Where the table of this space, device and input shape belongs."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", space)
    where = f"{device.runtime}-{device.name}-t{device.threads}-b{device.batch}"
    where += f"-{device.precision}" * (device.precision != FP32)
    if device.run:
        where += f"-{hashlib.sha256(device.run.encode()).hexdigest()[:8]}"
    return cache_dir() / f"{plain}-{where}-{'x'.join(map(str, input_shape))}.json"


def save_table(table: LatencyTable, path: Path | None = None) -> Path:
    """Write a table, by default where ``find_table`` looks; a crash leaves the old file or the new one."""
    path = path or table_path(table.space, table.device, table.input_shape)
    write_whole(path, table.to_json())
    return path


def find_table(
    space: Space | str, device: Device, input_shape: Shape, num_classes: int, *, spec: str = ""
) -> LatencyTable | None:
    """The stored table, fitted with a classifier of that size; None where nobody has profiled yet.

    Args:
        space: the space; of one that is given by name and is not in ``SPACES`` the choices are not compared.
        device: where latencies are wanted.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier.
        spec: how ``load_space`` names the space, for the command in messages; "" means as when the table was made.
    Raises: ConditionsChanged: it was made under other conditions. TableUnreadable: the file is damaged, or of an
        older release.
    """
    name = space if isinstance(space, str) else space_name(space)
    path = table_path(name, device, input_shape)
    if not path.exists():
        return None
    try:
        table = LatencyTable.from_json(path.read_text())
    except TableUnreadable as error:
        command = profile_command(spec or name, device, input_shape)
        raise TableUnreadable(f"{path}: {error}. Renew it: {command}") from None
    known = SPACES.get(name) if isinstance(space, str) else space
    digest = "" if known is None else space_digest(known)
    table.check_conditions(name, device, input_shape, space_digest=digest, spec=spec)
    return replace(table, num_classes=num_classes)


def tables_of(rows: DeviceTable) -> list[LatencyTable]:
    """All stored tables made of a device's rows: of the same device under the same conditions.

    Damaged tables and those of older releases are skipped.
    """
    if not rows.device or rows.conditions is None:
        return []
    wanted = rows.conditions.machine_identity()
    found = []
    for path in sorted(cache_dir().glob("*.json")):
        try:
            table = LatencyTable.from_json(path.read_text())
        except TableUnreadable:
            continue
        if str(table.device) == rows.device and table.conditions.machine_identity() == wanted:
            found.append(table)
    return found
