"""A folder that holds a trained detector in every form that a user may need, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nas.export.detector_card import render_detector_card
from nas.export.detector_onnx import BOXES, SCORES, write_detector_onnx
from nas.export.detector_program import PROGRAM
from nas.export.errors import ExportFailed, InvalidPretrained
from nas.export.parity import ParityReport, check_parity
from nas.export.place import (
    CARD,
    CONFIG,
    FORMAT,
    ONNX,
    WEIGHTS,
    prepare_place,
    put_in_place,
    staging_folder,
    writing,
)
from nas.export.pretrained import SCHEMA_VERSION, load_config, load_weights, write_weights
from nas.train.detection.average_precision import AveragePrecision
from nas.train.detection.network import Detector, DetectorDesign, InvalidDetector, build_detector
from nas.train.detection.predict import IOU_THRESHOLD, SCORE_THRESHOLD, decode
from nas.train.detection.targets import places
from nas.train.images import ImageTask
from nas.train.weights_file import sha256_of
from search_spaces.arch import Architecture, InvalidArchitecture

DETECTION = "detection"
PROGRAM_NAME = "detect.py"


@dataclass(frozen=True, slots=True)
class DetectorExport:
    """What was written.

    Attributes:
        directory: the folder.
        size_bytes: by file name.
        parity: of each output of the ONNX file with PyTorch.
    """

    directory: Path
    size_bytes: dict[str, int]
    parity: dict[str, ParityReport]


def save_detector(
    directory: Path,
    model: Detector,
    *,
    task: ImageTask,
    metrics: Mapping[str, AveragePrecision] | None = None,
    batch: int | None = 1,
) -> DetectorExport:
    """Write config.json, model.safetensors, model.onnx, detect.py and README.md, and check the ONNX file.

    Args:
        directory: of the export; must not exist, be empty, or hold an earlier export.
        model: the trained detector, on the CPU.
        task: classes, input shape and normalisation: ``dataset.task``.
        metrics: for the card, by the images they were measured on.
        batch: images per call of the ONNX file; None leaves it open.
    Raises: ExportFailed; ParityFailed.
    """
    if len(task.classes) != model.num_classes:
        raise ExportFailed(f"the detector has {model.num_classes} classes, the task {len(task.classes)}")
    prepare_place(directory)
    with writing(directory), staging_folder(directory) as staging:
        write_weights(staging / WEIGHTS, model)
        config = _config(model, task, sha256_of(staging / WEIGHTS))
        (staging / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (staging / PROGRAM_NAME).write_text(PROGRAM, encoding="utf-8")
        path = write_detector_onnx(model, staging / ONNX, task.input_shape, batch=batch)
        parity = {
            name: check_parity(_Decoded(model, at), path, task.input_shape, output=name)
            for at, name in enumerate((BOXES, SCORES))
        }
        card = render_detector_card(model, task, metrics or {}, parity)
        (staging / CARD).write_text(card, encoding="utf-8")
        sizes = {path.name: path.stat().st_size for path in sorted(staging.iterdir())}
        put_in_place(staging, directory)
    return DetectorExport(directory, sizes, parity)


def load_detector(directory: Path) -> Detector:
    """The detector of an exported folder, in evaluation mode on the CPU.

    Raises: InvalidPretrained: not such a folder, or damaged.
    """
    directory = Path(directory)
    config = load_config(directory, DETECTION)
    try:
        arch = Architecture.from_dict(config["architecture"])
        detector = config["detector"]
        design = DetectorDesign(tuple(detector["levels"]), detector["width"], detector["depth"])
        model = build_detector(
            arch, num_classes=config["num_classes"], design=design, in_channels=config["in_channels"], seed=0
        )
    except (InvalidArchitecture, InvalidDetector, KeyError, TypeError) as error:
        raise InvalidPretrained(f"{directory / CONFIG}: {error}") from None
    if arch.digest != config["digest"]:
        raise InvalidPretrained(
            f"{directory / CONFIG}: the architecture has digest {arch.digest}, the file states "
            f"{config['digest']}; it was changed after the export"
        )
    model.load_state_dict(load_weights(directory / WEIGHTS, config["weights_sha256"], model))
    return model.eval()


def _config(model: Detector, task: ImageTask, weights_sha256: str) -> dict[str, Any]:
    facts = asdict(task)
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "task": DETECTION,
        "architecture": model.arch.to_dict(),
        "digest": model.arch.digest,
        "detector": asdict(model.design),
        "dataset": facts.pop("name"),
        "num_classes": model.num_classes,
        "in_channels": model.backbone.in_channels,
        **facts,
        "score_threshold": SCORE_THRESHOLD,
        "iou_threshold": IOU_THRESHOLD,
        "weights_sha256": weights_sha256,
        "extra_files": [PROGRAM_NAME],
    }


class _Decoded(nn.Module):
    """One of the two decoded outputs, for comparison."""

    def __init__(self, model: Detector, at: int) -> None:
        super().__init__()
        self.model, self.at = model, at

    def forward(self, x: Tensor) -> Tensor:
        shape = (x.shape[2], x.shape[3])
        return decode(self.model(x), places(shape, self.model.strides), shape)[self.at]
