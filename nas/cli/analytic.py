"""Named devices on the command line: ``v100:precision=fp16,batch=64``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hardware.analytic_devices import AnalyticDevice

GRAMMAR = "NAME[:precision=fp32|fp16|int8,batch=N]"


def parse_analytic(text: str) -> tuple[AnalyticDevice, int]:
    """The named device and the images per call. Raises UnknownAnalyticDevice."""
    from hardware.analytic_devices import UnknownAnalyticDevice, analytic_device

    name, _, rest = text.strip().partition(":")
    choices = {"precision": "fp32", "batch": "1"}
    for item in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or key not in choices:
            raise UnknownAnalyticDevice(f"device {text!r}: cannot read {item!r}, expected {GRAMMAR}")
        choices[key] = value
    if not choices["batch"].isdecimal() or int(choices["batch"]) < 1:
        raise UnknownAnalyticDevice(f"device {text!r}: batch={choices['batch']!r}, expected a whole number from 1")
    return analytic_device(name.strip(), choices["precision"]), int(choices["batch"])


def is_analytic(text: str) -> bool:
    """Whether the text names a device of a data sheet."""
    from hardware.analytic_devices import ANALYTIC_DEVICES

    return text.partition(":")[0].strip() in ANALYTIC_DEVICES
