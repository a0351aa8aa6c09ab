"""A folder that holds a trained network in every form that a user may need, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nas.export.card import CardFacts, LatencyEvidence, render_card
from nas.export.errors import ExportFailed, InvalidPretrained
from nas.export.onnx import write_onnx
from nas.export.parity import ParityReport, check_parity
from nas.export.place import (
    CARD,
    CONFIG,
    FILES,
    FORMAT,
    ONNX,
    PROGRAM,
    WEIGHTS,
    prepare_place,
    put_in_place,
    staging_folder,
    writing,
)
from nas.export.standalone import render_program
from nas.train.images import ImageTask
from nas.train.weights_file import (
    WeightsDamaged,
    WeightsNotFinite,
    read_weights_file,
    sha256_of,
    shapes_of,
    write_weights_file,
)
from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.build import ANY_SIZE, MAX_WEIGHTS, Network, build
from search_spaces.layers import Layer
from search_spaces.layers_json import layers_from_json, layers_to_json
from search_spaces.resized import at_size

SCHEMA_VERSION = 1
CLASSIFICATION = "classification"  # what an export is for when its configuration does not say


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written.

    Attributes:
        directory: the folder.
        size_bytes: by file name.
        parity: of the ONNX file with PyTorch.
        latency: measured on the ONNX file; None when not asked for.
    """

    directory: Path
    size_bytes: dict[str, int]
    parity: ParityReport
    latency: LatencyEvidence | None


def save_pretrained(  # noqa: PLR0913 - the facts of an export, all named
    directory: Path,
    model: Network,
    *,
    task: ImageTask,
    facts: CardFacts | None = None,
    measure: Callable[[Path], LatencyEvidence] | None = None,
    batch: int | None = 1,
    extra_files: Mapping[str, bytes] | None = None,
) -> ExportReport:
    """Write config.json, model.safetensors, model.onnx, network.py and README.md, and check the ONNX file.

    Equal input gives equal files, byte for byte. The folder appears complete or not at all; an earlier
    export in the same place is replaced; a folder that holds anything else is refused and left as it is.

    Args:
        directory: of the export; must not exist, be empty, or hold an earlier export.
        model: the trained network.
        task: what ``dataset.task`` says about the images.
        facts: metrics, licence and origin for the card.
        measure: times the ONNX file that was just written; its result goes into the card.
        batch: images per call of the ONNX file; None leaves it open.
        extra_files: further files by name.
    Raises: ExportFailed: naming the file that is in the way, too; ParityFailed.
    """
    directory = Path(directory)
    _check_fits(model, task)
    prepare_place(directory)
    extra = {_plain_name(name): content for name, content in (extra_files or {}).items()}
    with writing(directory), staging_folder(directory) as staging:
        _write_network(staging, model, task, sorted(extra))
        onnx_path = write_onnx(model, staging / ONNX, task.input_shape, batch=batch)
        parity = check_parity(_on_cpu(model), onnx_path, task.input_shape)
        latency = None if measure is None else measure(onnx_path)
        layers = model.layers_at(task.input_shape)
        card = render_card(model.arch, task, facts or CardFacts(), parity, latency, layers)
        (staging / CARD).write_text(card, encoding="utf-8")
        for name, content in extra.items():
            (staging / name).write_bytes(content)
        sizes = {path.name: path.stat().st_size for path in sorted(staging.iterdir())}
        put_in_place(staging, directory)
    return ExportReport(directory, sizes, parity, latency)


def from_pretrained(directory: Path) -> Network:
    """The network of an exported folder, in evaluation mode on the CPU.

    Raises: InvalidPretrained: not such a folder, or damaged.
    """
    directory = Path(directory)
    config = load_config(directory)
    try:
        arch = Architecture.from_dict(config["architecture"])
        network = _built(arch, config)
    except (InvalidArchitecture, TypeError, ValueError, RuntimeError) as error:
        raise InvalidPretrained(f"{directory / CONFIG}: {error}") from None
    if arch.digest != config["digest"]:
        raise InvalidPretrained(
            f"{directory / CONFIG}: the architecture has digest {arch.digest}, the file states "
            f"{config['digest']}; it was changed after the export"
        )
    network.load_state_dict(load_weights(directory / WEIGHTS, config["weights_sha256"], network))
    return network.eval()


def _built(arch: Architecture, config: Mapping[str, Any]) -> Network:
    """The network that a configuration describes: of its architecture, or of the layers that compression left."""
    classes, channels = config["num_classes"], config["in_channels"]
    if "layers" not in config:
        return build(arch, num_classes=classes, in_channels=channels)
    layers = layers_from_json(config["layers"], "layers")
    if sum(layer.weight_count for layer in layers) > MAX_WEIGHTS:
        raise InvalidArchitecture(f"layers: more than {MAX_WEIGHTS:,} weights")
    if (layers[0].in_channels, layers[-1].channels) != (channels, classes):
        raise InvalidArchitecture(f"layers: expected to read {channels} channel(s) and to end in {classes} outputs")
    return Network(at_size(layers, ANY_SIZE), arch, classes, channels)


def exported_layers(directory: Path) -> tuple[Layer, ...]:
    """Layers of an exported network at its input shape; raises InvalidPretrained."""
    network = from_pretrained(directory)
    channels, height, width = load_config(directory)["input_shape"]
    return network.layers_at((channels, height, width))


def load_config(directory: Path, task: str = CLASSIFICATION) -> dict[str, Any]:
    """The checked content of config.json of an export for this task; raises InvalidPretrained."""
    path = Path(directory) / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidPretrained(f"{path}: cannot be read ({error.strerror}); expected a folder of an export") from None
    except (ValueError, RecursionError) as error:
        raise InvalidPretrained(f"{path}: not JSON ({error})") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise InvalidPretrained(f"{path}: not a configuration of {FORMAT}")
    if config.get("schema_version") != SCHEMA_VERSION:
        raise InvalidPretrained(
            f"{path}: schema version {config.get('schema_version')!r}, this release reads {SCHEMA_VERSION}"
        )
    if (found := config.get("task", CLASSIFICATION)) != task:
        raise InvalidPretrained(f"{path}: the export is for {found}, expected one for {task}")
    for name, kind in _CONFIG_TYPES.items():
        if type(config.get(name)) is not kind:
            raise InvalidPretrained(f"{path}: {name}={config.get(name)!r}, expected a value of type {kind.__name__}")
    _check_task(path, config)
    return config


def _check_task(path: Path, config: dict[str, Any]) -> None:
    """What the configuration says about the images must fit together."""
    shape, channels, classes = config["input_shape"], config["in_channels"], config["num_classes"]
    if len(shape) != 3 or any(type(n) is not int or n < 1 for n in shape) or shape[0] != channels:
        raise InvalidPretrained(f"{path}: input_shape={shape}, expected [{channels}, height, width]")
    if len(config["classes"]) != classes or any(not isinstance(name, str) for name in config["classes"]):
        raise InvalidPretrained(f"{path}: classes: expected the names of the {classes} classes")
    for name in ("mean", "std"):
        if len(config[name]) != channels or any(type(value) is not float for value in config[name]):
            raise InvalidPretrained(
                f"{path}: {name}={config[name]}, expected one number for each of {channels} channel(s)"
            )


def load_task(directory: Path, task: str = CLASSIFICATION) -> ImageTask:
    """Classes, input shape and normalisation of an exported folder; raises InvalidPretrained."""
    config = load_config(directory, task)
    channels, height, width = config["input_shape"]
    return ImageTask(
        config["dataset"],
        tuple(config["classes"]),
        (channels, height, width),
        config["pixel_scale"],
        tuple(config["mean"]),
        tuple(config["std"]),
    )


_CONFIG_TYPES: dict[str, type] = {
    "architecture": dict,
    "digest": str,
    "dataset": str,
    "num_classes": int,
    "in_channels": int,
    "input_shape": list,
    "classes": list,
    "pixel_scale": float,
    "mean": list,
    "std": list,
    "weights_sha256": str,
}


def _check_fits(model: Network, task: ImageTask) -> None:
    if len(task.classes) != model.num_classes:
        raise ExportFailed(f"the network has {model.num_classes} outputs, the task {len(task.classes)} classes")
    if task.input_shape[0] != model.in_channels:
        raise ExportFailed(f"the network takes {model.in_channels} channel(s), the task has {task.input_shape[0]}")


def _write_network(staging: Path, model: Network, task: ImageTask, extra_files: list[str]) -> None:
    write_weights(staging / WEIGHTS, model)
    facts = asdict(task)
    config = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "architecture": model.arch.to_dict(),
        "digest": model.arch.digest,
        **({} if model.follows_architecture else {"layers": layers_to_json(model.layers)}),
        "dataset": facts.pop("name"),
        "num_classes": model.num_classes,
        "in_channels": model.in_channels,
        **facts,
        "weights_sha256": sha256_of(staging / WEIGHTS),
        **({"extra_files": extra_files} if extra_files else {}),
    }
    (staging / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (staging / PROGRAM).write_text(
        render_program(model.arch, task, model.layers_at(task.input_shape)), encoding="utf-8"
    )


def write_weights(path: Path, model: torch.nn.Module) -> None:
    """All tensors as safetensors; raises ExportFailed for NaN."""
    try:
        write_weights_file(path, model.state_dict())
    except WeightsNotFinite as error:
        raise ExportFailed(f"weights: {error}") from None


def load_weights(path: Path, sha256: str, network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The checked tensors of an export for this network; raises InvalidPretrained."""
    expected = shapes_of(network.state_dict())
    try:
        return read_weights_file(path, sha256, expected, stated="the configuration", asked="the architecture")
    except WeightsDamaged as error:
        raise InvalidPretrained(str(error)) from None


def _on_cpu(model: Network) -> Network:
    """The network itself, or a copy when it lives on another device."""
    if next(model.parameters()).device.type == "cpu":
        return model
    copy = Network(model.layers, model.arch, model.num_classes, model.in_channels)
    copy.load_state_dict({name: tensor.cpu() for name, tensor in model.state_dict().items()})
    return copy


def _plain_name(name: str) -> str:
    if Path(name).name != name or name in FILES:
        raise ExportFailed(f"extra file {name!r}: expected a plain name that the export does not use itself")
    return name
