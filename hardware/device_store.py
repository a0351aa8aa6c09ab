"""Device tables on disk by name, each one file, written whole or not at all."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tempfile
from pathlib import Path

import platformdirs

from hardware.device import FP32, Device
from hardware.device_table import DeviceTable, InvalidTable
from hardware.runtimes import RUNTIMES

CACHE_VARIABLE = "NETWRIGHT_CACHE"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SUFFIX = ".json"


class UnknownDevice(ValueError):
    """No device table of that name is stored; the message lists those that are."""


def cache_root() -> Path:
    """The folder of everything that can be measured again: $NETWRIGHT_CACHE, or the user's cache folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("netwright"))


def devices_dir() -> Path:
    """The folder of device tables."""
    return cache_root() / "devices"


def device_name(device: Device) -> str:
    """The name under which a device that is measured here is stored unless the user gives one: ``onnxruntime-t2``."""
    parts = [device.runtime]
    parts += [device.name] * (device.name != "cpu")
    parts += [f"t{device.threads}"] * (device.threads > 1) + [f"b{device.batch}"] * (device.batch > 1)
    parts += [device.precision] * (device.precision != FP32)
    parts += [hashlib.sha256(device.run.encode()).hexdigest()[:8]] * bool(device.run)
    return "-".join(parts)


def check_name(name: str) -> str:
    """The name, if a table can have it. Raises InvalidTable."""
    if not _NAME.fullmatch(name):
        raise InvalidTable(f"device name {name!r}: expected letters, digits, '.', '_' and '-', up to 100")
    return name


def foreign_name(name: str) -> str:
    """The name, if a device that is not measured here may be stored under it.

    Raises: InvalidTable: a runtime has it, or a device whose rows were measured.
    """
    if check_name(name) in RUNTIMES:
        raise InvalidTable(f"device name {name!r} is a runtime's, expected another one")
    if device_path(name).is_file() and load_device(name).device:
        raise InvalidTable(
            f"device {name}: its rows were measured, not read; give another --name, or forget them: "
            f"netwright device rm {name}"
        )
    return name


def stored_devices() -> list[str]:
    """Names of all stored device tables."""
    return sorted(path.name.removesuffix(_SUFFIX) for path in devices_dir().glob(f"*{_SUFFIX}"))


def device_path(name: str) -> Path:
    """Where the table of that name belongs. Raises InvalidTable."""
    return devices_dir() / f"{check_name(name)}{_SUFFIX}"


def save_device(table: DeviceTable) -> Path:
    """Store a table under its name; a crash leaves the old file or the new one. Raises InvalidTable."""
    path = device_path(table.name)
    write_whole(path, table.to_json())
    return path


def load_device(name: str) -> DeviceTable:
    """The stored table of that name.

    Raises: UnknownDevice: none has it. InvalidTable: the file is damaged.
    """
    path = device_path(name)
    if not path.is_file():
        known = stored_devices()
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"stored: {', '.join(known) or 'none'}"
        raise UnknownDevice(f"device {name!r}: no table of that name; {hint}")
    try:
        return DeviceTable.from_json(path.read_text())
    except InvalidTable as error:
        raise InvalidTable(f"{path}: {error}") from None


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(draft, path)
    except BaseException:  # an interrupt too: no draft is left behind
        Path(draft).unlink(missing_ok=True)
        raise
