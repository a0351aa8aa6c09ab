"""Any other device: netwright writes the model, the user's own benchmark command times it and prints milliseconds.

``command:run=python3 bench.py {model}``. The command runs in a shell, in the folder where netwright was started.
Placeholders: {model} the path of an ONNX file, or {tflite} of a TFLite file, or {param} and {bin} of ncnn's two files;
{batch}, {threads}, {resolution} and {precision} of the device. The last number that the command prints on standard
output is the latency of one call, in milliseconds unless ``us``, ``ns`` or ``s`` follows it. Every call of the command
counts as one burst median of the timer's protocol. What the model computes there cannot be checked.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import IO, NamedTuple

from hardware.device import FP32, Device
from hardware.folded_network import UncoveredLayer
from hardware.ncnn_graph import ncnn_model
from hardware.runtimes.contract import RuntimeRefused, Source
from hardware.runtimes.onnx_input import check_image_input
from hardware.runtimes.onnx_precision import model_in_precision
from hardware.target import USERS_NAMES

LIMIT_S = 50.0  # for one call of the command; the timer counts a minute without an answer as hung
_PLACEHOLDER = re.compile(r"\{(model|tflite|param|bin|batch|threads|resolution|precision)\}")
_UNITS_MS = {"": 1.0, "ms": 1.0, "us": 1e-3, "µs": 1e-3, "ns": 1e-6, "s": 1e3}
_NUMBER = re.compile(
    r"(?<![\w.])([-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf(?:inity)?))\s*(ms|us|µs|ns|s)?(?![\w])",
    re.I,
)


def version() -> str:
    """None: nothing is known of what runs there."""
    return ""


def load(source: Source, device: Device) -> OwnCommand:
    """The command with the model written where it finds it, in the formats that it names.

    Raises: RuntimeRefused: the file is made for another size, or a format is asked for that cannot be written.
    """
    asked = set(_PLACEHOLDER.findall(device.run))
    folder = Path(tempfile.mkdtemp())
    values = {
        "batch": str(device.batch),
        "threads": str(device.threads),
        "resolution": str(source.input_shape[1]),
        "precision": device.precision,
    }
    for format_ in _FORMATS:
        if asked & set(format_.places):
            try:
                paths = format_.write(source, device, folder)
            except UncoveredLayer as error:
                raise RuntimeRefused(f"{source.name}: {error}") from None
            values |= {name: shlex.quote(str(path)) for name, path in zip(format_.places, paths, strict=True)}
    return OwnCommand(source.name, _PLACEHOLDER.sub(lambda found: values[found[1]], device.run))


def _write_onnx(source: Source, device: Device, folder: Path) -> list[Path]:
    check_image_input(source, device)
    model = model_in_precision(source, device)
    if isinstance(model, str):
        return [Path(model)]
    path = folder / "model.onnx"
    path.write_bytes(model)
    return [path]


def _write_tflite(source: Source, device: Device, folder: Path) -> list[Path]:
    _check_layers(source, device, "{tflite}")
    if find_spec("tflite") is None or find_spec("flatbuffers") is None:
        raise RuntimeRefused("device: {tflite} needs the packages of pip install 'netwright[litert]'")
    from hardware.tflite_graph import tflite_model

    path = folder / "model.tflite"
    path.write_bytes(tflite_model(source.layers, source.weights or {}, source.input_shape, batch=device.batch))
    return [path]


def _write_ncnn(source: Source, device: Device, folder: Path) -> list[Path]:
    _check_layers(source, device, "{param}")
    if device.batch > 1:
        raise RuntimeRefused(f"device: ncnn's files ({{param}}) hold one image a call, batch={device.batch}")
    model = ncnn_model(source.layers, source.weights or {}, source.input_shape)
    param, weights = folder / "model.param", folder / "model.bin"
    param.write_text(model.param)
    weights.write_bytes(model.weights)
    return [param, weights]


def _check_layers(source: Source, device: Device, place: str) -> None:
    if not source.layers:
        raise RuntimeRefused(f"{source.name}: {place} is written from an architecture, not from an ONNX file")
    if device.precision != FP32:
        raise RuntimeRefused(f"device: {place} is written in fp32 only, precision={device.precision}")


class _Format(NamedTuple):
    """What a command may ask for: its placeholders, and what writes a file for each."""

    places: tuple[str, ...]
    write: Callable[[Source, Device, Path], list[Path]]


_FORMATS = (
    _Format(("model",), _write_onnx),
    _Format(("tflite",), _write_tflite),
    _Format(("param", "bin"), _write_ncnn),
)


class OwnCommand:
    """A command that times one network itself."""

    def __init__(self, name: str, command: str) -> None:
        self._where = f"{name}: command {command!r}"
        self._command = command

    def latency_ms(self) -> float:
        """Run the command once; milliseconds as it reports them. Raises RuntimeRefused."""
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
            process = subprocess.Popen(
                self._command,
                shell=True,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=complained,
                env=_users_environment(),
            )
            try:
                code = process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise RuntimeRefused(f"{self._where} took longer than {LIMIT_S:g} s; time fewer runs") from None
            if code != 0:
                raise RuntimeRefused(f"{self._where} ended with exit code {code}: {_last_line(complained, said)}")
            return read_latency_ms(_text(said), self._where)


def read_latency_ms(text: str, where: str) -> float:
    """The last number of a text in milliseconds, with or without a unit.

    Raises: RuntimeRefused: there is none, or it is no latency.
    """
    numbers = _NUMBER.findall(text)
    if not numbers:
        last = (text.strip().splitlines() or ["nothing"])[-1][:80]
        raise RuntimeRefused(f"{where} printed no number but {last!r}; expected the latency in ms, last on stdout")
    number, unit = numbers[-1]
    latency_ms = float(number) * _UNITS_MS[unit.lower()]
    if not 0 < latency_ms < math.inf:
        raise RuntimeRefused(f"{where} printed {number!r}; expected a latency in ms above 0, last on stdout")
    return latency_ms


def _users_environment() -> dict[str, str]:
    """The environment that the user's shell would give it."""
    back = {ours: theirs for theirs, ours in USERS_NAMES.items()}
    return {back.get(name, name): value for name, value in os.environ.items() if name not in USERS_NAMES}


def _last_line(*files: IO[bytes]) -> str:
    lines = [line for file in files for line in _text(file).strip().splitlines()[-1:]]
    return lines[0][:200] if lines else "it printed nothing"


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
