"""Where and how a network runs: the thing that a latency belongs to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from hardware.runtimes import RUNTIMES

NAMES = ("cpu", "cuda")
_GRAMMAR = 'RUNTIME[:key=value,...], for example "onnxruntime:threads=2,batch=4" or "torch"'


class InvalidDevice(ValueError):
    """The text or data does not describe a device; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Device:
    """One deployment target. Another runtime, thread count or batch is another device with its own ranking.

    Attributes:
        name: "cpu", or "cuda" (PyTorch only).
        runtime: key into ``hardware.runtimes.RUNTIMES``.
        threads: threads of one call, >= 1.
        batch: images per call, >= 1.
    """

    name: str = "cpu"
    runtime: str = "onnxruntime"
    threads: int = 1
    batch: int = 1

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise InvalidDevice(f"device: unknown runtime {self.runtime!r}, expected one of {', '.join(RUNTIMES)}")
        if self.name not in NAMES:
            raise InvalidDevice(f"device: name={self.name!r}, expected one of {', '.join(NAMES)}")
        if self.name == "cuda" and self.runtime != "torch":
            raise InvalidDevice(f"device: {self.runtime} runs on the cpu here; for cuda use runtime torch")
        for field in ("threads", "batch"):
            value = getattr(self, field)
            if type(value) is not int or value < 1:
                raise InvalidDevice(f"device: {field}={value!r}, expected a whole number of at least 1")

    def __str__(self) -> str:
        return f"{self.runtime}:name={self.name},threads={self.threads},batch={self.batch}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read RUNTIME[:key=value,...]; keys are name, threads and batch. ``str(device)`` is such a text."""
        runtime, _, rest = text.strip().partition(":")
        choices: dict[str, Any] = {"runtime": runtime.strip()}
        for item in filter(None, (part.strip() for part in rest.split(","))):
            key, equals, value = (part.strip() for part in item.partition("="))
            if not equals or key not in ("name", "threads", "batch"):
                raise InvalidDevice(f"device {text!r}: cannot read {item!r}, expected {_GRAMMAR}")
            if key != "name" and not value.isdecimal():
                raise InvalidDevice(f"device {text!r}: {key}={value!r}, expected a whole number of at least 1")
            choices[key] = value if key == "name" else int(value)
        return cls(**choices)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    def to_json(self) -> str:
        """Canonical text."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Read what ``to_dict`` wrote. Raises InvalidDevice."""
        if not isinstance(data, dict) or set(data) - {"name", "runtime", "threads", "batch"}:
            raise InvalidDevice(f"device: got {data!r}, expected an object with name, runtime, threads and batch")
        return cls(**data)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote. Raises InvalidDevice."""
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise InvalidDevice(f"device JSON, line {error.lineno} column {error.colno}: {error.msg}") from None
