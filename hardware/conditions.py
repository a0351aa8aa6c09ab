"""What a measurement depends on, written down: the machine, the software, the load of the moment."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any, Self

import psutil

from hardware.device import Device
from hardware.machine import Machine, cpu_info, machine
from hardware.runtimes import runtime_version


@dataclass(frozen=True)
class Conditions:
    """Facts beside every figure; ``identity`` holds those that must not change for a figure to stay valid.

    Attributes:
        device: text form of the device: runtime, name, threads, batch, precision where it is not fp32.
        input_shape: (channels, height, width) of one image; None if figures of several sizes stand together.
        cpu_model, cpu_flags: name, and digest of the instruction set flags; of this machine also where a command
            of the user's times another one.
        logical_cores: of the machine.
        runtime_version, torch_version, onnxruntime_version, python_version: "" where not installed.
        load: processes that ran or waited, average of the last minute, when measuring ended.
        steal: share of CPU time in 0..1 that the host withheld meanwhile.
        date: ISO 8601, UTC.
        threads: of one call.
        machine: instruction sets, caches, clocks and limits; None where an older release wrote.
    """

    device: str
    input_shape: tuple[int, int, int] | None
    cpu_model: str
    cpu_flags: str
    logical_cores: int
    runtime_version: str
    torch_version: str
    onnxruntime_version: str
    python_version: str
    load: float
    steal: float
    date: str
    threads: int | None = None
    machine: Machine | None = None

    def identity(self) -> dict[str, Any]:
        """What must be equal for a stored latency to hold."""
        names = ("device", "input_shape", "cpu_model", "cpu_flags", "logical_cores", "runtime_version")
        return {name: getattr(self, name) for name in names}

    def machine_identity(self) -> dict[str, Any]:
        """The same without the size of the images: what must be equal for rows to stand in one table."""
        return {fact: value for fact, value in self.identity().items() if fact != "input_shape"}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        known = {
            field.name: data[field.name] for field in fields(cls) if field.name not in _LATER or field.name in data
        }
        shape, facts = known["input_shape"], known.get("machine")
        known["machine"] = Machine.from_dict(facts) if facts else None
        return cls(**{**known, "input_shape": tuple(shape) if shape else None})


_LATER = ("threads", "machine")  # facts that older releases did not write


class Surroundings:
    """Notes the CPU times when made; ``conditions`` closes the period."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def conditions(self, device: Device, input_shape: tuple[int, int, int] | None) -> Conditions:
        """The facts now, with the load and the steal since this object was made."""
        model, flags = cpu_identity()
        return Conditions(
            device=str(device),
            input_shape=input_shape,
            cpu_model=model,
            cpu_flags=flags,
            logical_cores=os.cpu_count() or 1,
            runtime_version=runtime_version(device.runtime),
            torch_version=_version("torch"),
            onnxruntime_version=_version("onnxruntime"),
            python_version=platform.python_version(),
            load=round(psutil.getloadavg()[0], 2),
            steal=round(self._steal(), 4),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            threads=device.threads,
            machine=machine(),
        )

    def _steal(self) -> float:
        after = psutil.cpu_times()
        total = sum(after) - sum(self._before)
        withheld = getattr(after, "steal", 0.0) - getattr(self._before, "steal", 0.0)
        return float(withheld / total) if total > 0 else 0.0


@lru_cache(maxsize=1)
def cpu_identity() -> tuple[str, str]:
    """The CPU's name and a digest of its instruction set flags."""
    found = cpu_info()
    model = found.get("model name") or found.get("Model") or platform.processor() or platform.machine()
    flags = " ".join(sorted((found.get("flags") or found.get("Features") or "").split()))
    return model, hashlib.sha256(flags.encode()).hexdigest()[:12]


def _version(distribution: str) -> str:
    try:
        return installed_version(distribution)
    except PackageNotFoundError:
        return ""
