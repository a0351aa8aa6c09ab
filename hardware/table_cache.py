"""Latency tables on disk, one file per space, device and input shape, written whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import platformdirs

from hardware.device import Device
from hardware.lookup import LatencyTable, TableUnreadable, profile_command
from search_spaces.layers import Shape

CACHE_VARIABLE = "NETWRIGHT_CACHE"


def cache_dir() -> Path:
    """The folder of tables: under $NETWRIGHT_CACHE, or the user's cache folder."""
    root = os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("netwright")
    return Path(root) / "latency"


def table_path(space: str, device: Device, input_shape: Shape) -> Path:
    """Where the table of this space, device and input shape belongs."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", space)
    where = f"{device.runtime}-{device.name}-t{device.threads}-b{device.batch}"
    return cache_dir() / f"{plain}-{where}-{'x'.join(map(str, input_shape))}.json"


def save_table(table: LatencyTable, path: Path | None = None) -> Path:
    """Write a table, by default where ``find_table`` looks; a crash leaves the old file or the new one."""
    path = path or table_path(table.space, table.device, table.input_shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(table.to_json())
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return path


def find_table(space: str, device: Device, input_shape: Shape, num_classes: int) -> LatencyTable | None:
    """The stored table, fitted with a classifier of that size; None where nobody has profiled yet.

    Raises: ConditionsChanged: it was made under other conditions. TableUnreadable: the file is damaged.
    """
    path = table_path(space, device, input_shape)
    if not path.exists():
        return None
    try:
        table = LatencyTable.from_json(path.read_text())
    except TableUnreadable as error:
        command = profile_command(space, device, input_shape)
        raise TableUnreadable(f"{path}: {error}. Renew it: {command}") from None
    table.check_conditions(space, device, input_shape)
    return replace(table, num_classes=num_classes)
