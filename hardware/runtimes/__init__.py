"""Runtimes by name; none is imported before it is used. Adding one is one file and one row.

What the modules must offer stands in ``hardware.runtimes.contract``.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version
from importlib.util import find_spec

from search_spaces.plugins import Offer, PluginBroken, Table

_FLOAT: dict[str, tuple[str, ...]] = {"cpu": ("fp32",)}
_OR_INTEGER: dict[str, tuple[str, ...]] = {"cpu": ("fp32", "int8")}
_ON_CUDA: dict[str, tuple[str, ...]] = {"cpu": ("fp32",), "cuda": ("fp32", "fp16")}
_COMPILING_S = 900.0


@dataclass(frozen=True, slots=True)
class RuntimeRow:
    """What is known of a runtime without importing it.

    Attributes:
        module: of ours, loaded when the runtime is used.
        precisions: by the name of the device it runs on, "cpu", "cuda" or "gpu", what it can compute in.
        packages: distributions that hold the library, any of which will do, with the name to import.
        extra: of netwright that installs it; "" where it comes with netwright.
        also: further modules that the extra installs, all needed.
        needs: a program that must be on the path.
        load_s: how long loading may take before it counts as hung, where that is longer than the timer allows.
        reads_onnx: it runs ONNX files; else it takes layers and weights.
        batches: it takes several images in one call.
    """

    module: str
    precisions: Mapping[str, tuple[str, ...]]
    packages: Mapping[str, str]
    extra: str = ""
    also: tuple[str, ...] = ()
    needs: str = ""
    load_s: float = 0.0
    reads_onnx: bool = True
    batches: bool = True


_OURS: dict[str, RuntimeRow] = {
    "onnxruntime": RuntimeRow(
        "hardware.runtimes.onnxruntime",
        _OR_INTEGER | {"cuda": ("fp32", "fp16")},
        {"onnxruntime": "onnxruntime", "onnxruntime-gpu": "onnxruntime"},
    ),
    "openvino": RuntimeRow(
        "hardware.runtimes.openvino",
        _OR_INTEGER | {"gpu": ("fp32", "fp16")},
        {"openvino": "openvino"},
        extra="openvino",
    ),
    "litert": RuntimeRow(
        "hardware.runtimes.litert",
        _FLOAT,
        {"ai-edge-litert": "ai_edge_litert"},
        extra="litert",
        also=("tflite", "flatbuffers"),
        reads_onnx=False,
    ),
    "ncnn": RuntimeRow(
        "hardware.runtimes.ncnn", _FLOAT, {"ncnn": "ncnn"}, extra="ncnn", reads_onnx=False, batches=False
    ),
    "mnn": RuntimeRow("hardware.runtimes.mnn", _FLOAT, {"MNN": "MNN"}, extra="mnn"),
    "torch": RuntimeRow("hardware.runtimes.torch_eager", _ON_CUDA, {"torch": "torch"}, reads_onnx=False),
    "torch-channels-last": RuntimeRow(
        "hardware.runtimes.torch_channels_last", _ON_CUDA, {"torch": "torch"}, reads_onnx=False
    ),
    "torch-compile": RuntimeRow(
        "hardware.runtimes.torch_compile",
        _ON_CUDA,
        {"torch": "torch"},
        needs="g++",
        reads_onnx=False,
        load_s=_COMPILING_S,
    ),
    "aotinductor": RuntimeRow(
        "hardware.runtimes.aotinductor",
        _ON_CUDA,
        {"torch": "torch"},
        needs="g++",
        reads_onnx=False,
        load_s=_COMPILING_S,
    ),
    "executorch": RuntimeRow(
        "hardware.runtimes.executorch",
        _FLOAT,
        {"executorch": "executorch"},
        extra="executorch",
        reads_onnx=False,
        load_s=_COMPILING_S,
    ),
    "tensorrt": RuntimeRow(
        "hardware.runtimes.tensorrt",
        {"cuda": ("fp32", "fp16")},
        {"tensorrt": "tensorrt", "tensorrt-cu12": "tensorrt", "tensorrt-cu13": "tensorrt"},
        extra="tensorrt",
        load_s=_COMPILING_S,
    ),
    "command": RuntimeRow("hardware.runtimes.command", {"cpu": ("fp32", "fp16", "int8")}, {}),
}


def _plugged(offer: Offer) -> RuntimeRow:
    """The row that an installed package offers; its module must not import the library."""
    row = offer.point.load()
    if not isinstance(row, RuntimeRow):
        raise PluginBroken(f"is a {type(row).__name__}, expected a hardware.runtimes.RuntimeRow")
    return row


RUNTIMES: Table[RuntimeRow] = Table(_OURS, "netwright.runtimes", _plugged)
"""Every runtime by name: ours, and those that installed packages add by the entry points ``netwright.runtimes``."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a runtime can be used here.

    Attributes:
        name: key into ``RUNTIMES``.
        available: its library is installed; a device of another name may still be absent.
        version: of the library; "" if there is none.
        reason: what is missing and how to get it; "" if nothing is.
        precisions: by the name of the device, what it can compute in.
    """

    name: str
    available: bool
    version: str
    reason: str
    precisions: Mapping[str, tuple[str, ...]]


def availability() -> list[Availability]:
    """Every runtime in the order of the table; nothing is imported."""
    return [
        Availability(name, not missing(name), runtime_version(name), missing(name), row.precisions)
        for name, row in RUNTIMES.items()
    ]


def missing(name: str) -> str:
    """What a runtime lacks here and how to get it, one line; "" if it can be used."""
    row = RUNTIMES[name]
    found = not row.packages or any(find_spec(module) for module in row.packages.values())
    if not (found and all(find_spec(module) for module in row.also)):
        get = f"pip install 'netwright[{row.extra}]'" if row.extra else f"pip install {next(iter(row.packages))}"
        return f"runtime {name} is not installed here; get it with: {get}"
    if row.needs and shutil.which(row.needs) is None:
        return f"runtime {name} needs the program {row.needs}, which is not on the path; install it"
    return ""


def runtime_version(name: str) -> str:
    """Version of the installed library; "" if there is none."""
    for distribution in RUNTIMES[name].packages:
        try:
            return distribution_version(distribution)
        except PackageNotFoundError:
            continue
    return ""


# Runtimes that tell how long each layer takes inside a network: ``load`` gives a ``contract.ProfiledRunnable``.
PROFILERS: dict[str, str] = {"onnxruntime": "hardware.runtimes.onnxruntime_profile"}
