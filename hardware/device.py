"""Where and how a network runs: the thing that a latency belongs to."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from hardware.runtimes import RUNTIMES

NAMES = ("cpu", "cuda", "gpu")
FP32 = "fp32"
COMMAND = "command"
ONNX_PLACE = "{model}"
MODEL_PLACES = (ONNX_PLACE, "{tflite}", "{param}")  # what a command of the user's may ask for
_GRAMMAR = 'RUNTIME[:key=value,...], for example "onnxruntime:threads=2,batch=4" or "torch"'
_KEYS = ("name", "threads", "batch", "precision")
_MOST = {"threads": 1024, "batch": 65_536}
_DIGITS = 9
_OWN_COMMAND = re.compile(r"(?:^|,)\s*run\s*=\s*")


class InvalidDevice(ValueError):
    """The text or data does not describe a device; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Device:
    """One deployment target. Another runtime, precision, thread count or batch is another device with its own ranking.

    Attributes:
        name: "cpu", "cuda", or "gpu" for an integrated one, as far as the runtime runs there.
        runtime: key into ``hardware.runtimes.RUNTIMES``.
        threads: threads of one call, 1 to 1,024.
        batch: images per call, 1 to 65,536.
        precision: "fp32", or what else the runtime's row offers there: "fp16", "int8".
        run: the user's own benchmark command, of runtime "command" only; see ``hardware.runtimes.command``.
    """

    name: str = "cpu"
    runtime: str = "onnxruntime"
    threads: int = 1
    batch: int = 1
    precision: str = FP32
    run: str = ""

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise InvalidDevice(f"device: unknown runtime {self.runtime!r}, expected one of {', '.join(RUNTIMES)}")
        self._check_name_and_precision()
        for field, most in _MOST.items():
            value = getattr(self, field)
            if type(value) is not int or not 1 <= value <= most:
                raise InvalidDevice(f"device: {field}={value!r}, expected a whole number from 1 to {most}")
        if self.batch > 1 and not RUNTIMES[self.runtime].batches:
            raise InvalidDevice(f"device: {self.runtime} runs one image a call, batch={self.batch}; expected batch=1")
        names_model = any(place in self.run for place in MODEL_PLACES)
        if (self.runtime == COMMAND) != bool(self.run) or (self.run and not names_model):
            expected = "command:run=COMMAND {model}, which prints milliseconds"
            raise InvalidDevice(f"device: run={self.run!r} with runtime {self.runtime}; expected {expected}")

    def _check_name_and_precision(self) -> None:
        if self.name not in NAMES:
            raise InvalidDevice(f"device: name={self.name!r}, expected one of {', '.join(NAMES)}")
        offered = RUNTIMES[self.runtime].precisions
        if self.name not in offered:
            others = ", ".join(runtime for runtime, row in RUNTIMES.items() if self.name in row.precisions)
            raise InvalidDevice(
                f"device: {self.runtime} runs on {' and '.join(offered)} here; for {self.name} use runtime {others}"
            )
        if self.precision not in offered[self.name]:
            raise InvalidDevice(
                f"device: precision={self.precision!r}, {self.runtime} on {self.name} offers "
                f"{', '.join(offered[self.name])}"
            )

    @property
    def reads_onnx(self) -> bool:
        """Whether it runs ONNX files; else it takes layers and weights."""
        return RUNTIMES[self.runtime].reads_onnx and (not self.run or ONNX_PLACE in self.run)

    def __str__(self) -> str:
        text = f"{self.runtime}:name={self.name},threads={self.threads},batch={self.batch}"
        text += f",precision={self.precision}" * (self.precision != FP32)
        return text + f",run={self.run}" * bool(self.run)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read RUNTIME[:key=value,...]; ``str(device)`` is such a text.

        Keys are name, threads, batch and precision. ``run=`` stands last and takes the rest of the text as it is.
        A runtime that does not run on the CPU needs no name.
        """
        runtime, _, rest = text.strip().partition(":")
        choices: dict[str, Any] = {"runtime": runtime.strip()}
        rest, *own_command = _OWN_COMMAND.split(rest, maxsplit=1)
        for item in filter(None, (part.strip() for part in rest.split(","))):
            key, equals, value = (part.strip() for part in item.partition("="))
            if not equals or key not in _KEYS:
                raise InvalidDevice(f"device {text!r}: cannot read {item!r}, expected {_GRAMMAR}")
            if key in _MOST and not (value.isdecimal() and len(value) <= _DIGITS):
                raise InvalidDevice(f"device {text!r}: {key}={value!r}, expected a whole number from 1 to {_MOST[key]}")
            if key in choices:
                raise InvalidDevice(f"device {text!r}: {key} is given twice, expected once")
            choices[key] = int(value) if key in _MOST else value
        if own_command:
            choices["run"] = own_command[0].strip()
        if choices["runtime"] in RUNTIMES:
            choices.setdefault("name", next(iter(RUNTIMES[choices["runtime"]].precisions)))
        return cls(**choices)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; precision and command only where they are not those of every device of old."""
        return {key: value for key, value in asdict(self).items() if (key, value) not in _LEFT_OUT}

    def to_json(self) -> str:
        """Canonical text."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Read what ``to_dict`` wrote. Raises InvalidDevice."""
        known = [field.name for field in fields(cls)]
        if not isinstance(data, dict) or set(data) - set(known):
            raise InvalidDevice(f"device: got {data!r}, expected an object with {', '.join(known)}")
        return cls(**data)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote. Raises InvalidDevice."""
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise InvalidDevice(f"device JSON, line {error.lineno} column {error.colno}: {error.msg}") from None


_LEFT_OUT = (("precision", FP32), ("run", ""))
