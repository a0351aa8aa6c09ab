"""What every runtime keeps: it loads a network for a device and runs it, or says why not.

A runtime module has ``version() -> str`` and ``load(source, device) -> Runnable``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hardware.device import Device
from hardware.runtimes import PROFILERS, RUNTIMES, missing
from search_spaces.layers import Layer, Shape

Images = NDArray[np.float32]


class RuntimeRefused(ValueError):
    """A runtime cannot load a model; the message says why."""


class NumericsMismatch(RuntimeError):
    """The runtime's output is not the network's output, so its timing means nothing."""


@dataclass(frozen=True)
class Source:
    """A network as runtimes receive it.

    Attributes:
        name: for messages.
        input_shape: (channels, height, width) of one image.
        onnx: a file, or the bytes of one.
        layers: what the ONNX model was written from; empty for a file of unknown origin.
        weights: tensors named as in a state dict; empty for a file of unknown origin.
    """

    name: str
    input_shape: Shape
    onnx: Path | bytes
    layers: Sequence[Layer] = ()
    weights: dict[str, Images] | None = None


class Runnable(Protocol):
    """A loaded network with its input already in place."""

    def run(self) -> None:
        """One inference on the allocated input; returns when the result is there."""
        ...

    def run_once(self, images: Images) -> Images:
        """The output, (batch, ...) float32, for images (batch, C, H, W) float32."""
        ...


@runtime_checkable
class SelfTimed(Protocol):
    """A loaded network that something else runs and times, out of our sight."""

    def latency_ms(self) -> float:
        """Milliseconds of one call, as it reports them."""
        ...


@dataclass(frozen=True, slots=True)
class Profile:
    """Times inside one network, the profiler's own cost included.

    Attributes:
        layers_ms: milliseconds by layer name; layers that others absorbed are absent.
        nodes: how many operations of the runtime ran for each of them.
        runs: how many runs the means are over.
    """

    layers_ms: dict[str, float]
    nodes: dict[str, int]
    runs: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"layers_ms": self.layers_ms, "nodes": self.nodes, "runs": self.runs}


class ProfiledRunnable(Runnable, Protocol):
    """A loaded network that notes its times with every run."""

    def finish(self) -> Profile:
        """The times, once; the network cannot run any more."""
        ...


class Runtime(Protocol):
    """What a runtime module offers."""

    def version(self) -> str:
        """Version of the library."""
        ...

    def load(self, source: Source, device: Device) -> Runnable | SelfTimed:
        """Prepare the network to run on the device."""
        ...


def check_installed(name: str) -> None:
    """Raise RuntimeRefused, naming what to install, for a key of ``RUNTIMES`` that cannot be used here."""
    if reason := missing(name):
        raise RuntimeRefused(reason)


def import_runtime(name: str) -> Runtime:
    """The runtime module of that name, a key of ``RUNTIMES``.

    Raises: RuntimeRefused: it is not installed, or its library does not load.
    """
    check_installed(name)
    try:
        return cast("Runtime", importlib.import_module(RUNTIMES[name].module))
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise RuntimeRefused(f"runtime {name} is installed, but does not load: {lines[0]}") from None


def import_profiler(name: str) -> Callable[[Source, Device], ProfiledRunnable]:
    """What loads a network with its times noted. Raises RuntimeRefused: the runtime tells none."""
    if name not in PROFILERS:
        raise RuntimeRefused(f"runtime {name}: tells no times inside a network; {', '.join(PROFILERS)} does")
    load: Callable[[Source, Device], ProfiledRunnable] = importlib.import_module(PROFILERS[name]).load
    return load
