"""The folder that a compression leaves: what is smaller, its weights, and the report; complete or not there at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from nas.compress.packed import write_packed
from nas.compress.pipeline.compress import INTEGERS, ORIGINAL, SMALL, Compressed
from nas.export.card import CardFacts
from nas.export.place import CARD, CONFIG, FORMAT, ONNX, WEIGHTS, put_in_place, staging_folder, writing
from nas.export.pretrained import save_pretrained, write_weights
from nas.train.images import ImageTask
from nas.train.weights_file import sha256_of
from search_spaces.build import Network

INTEGER_ONNX, ORIGINAL_ONNX = "integers.onnx", "original.onnx"
REPORT_TEXT, REPORT_DATA, PACKED, PROGRAM = "COMPRESSION.md", "compression.json", "packed.safetensors", "network.pt2"
MODULE_TASK = "module"  # an export that only ONNX and PyTorch's own program read back


def deliver(
    out: Path, found: Compressed, files: Mapping[str, bytes], *, text: str, data: str, origin: str
) -> dict[str, int]:
    """Write the folder.

    A network of ours is an export as `train` writes it (config.json, weights, network.py, model.onnx, card), which
    `export`, `verify` and `measure` read; of any other module there are its weights, model.onnx and a program that
    ``torch.export.load`` reads without the module's code.

    Args:
        out: the folder; an earlier export or compression there is replaced.
        found: of ``compress``.
        files: of ``Compressed.files``.
        text: the report for a person.
        data: the report as JSON.
        origin: what was compressed, for the card.
    Returns: bytes by file name.
    Raises: ExportFailed, ParityFailed.
    """
    extra = {REPORT_TEXT: text.encode(), REPORT_DATA: data.encode(), ORIGINAL_ONNX: files[ORIGINAL]}
    if INTEGERS in files:
        extra[INTEGER_ONNX] = files[INTEGERS]
    if found.shaped.masks is not None:
        extra[PACKED] = _packed(found, out)
    network = found.shaped.network
    if isinstance(network, Network):
        steps = {f"compressed, step {at}": step for at, step in enumerate(found.steps, 1)}
        facts = CardFacts(search={"compressed from": origin, **steps})
        return save_pretrained(out, network, task=found.dataset.task, facts=facts, extra_files=extra).size_bytes
    return _deliver_module(out, network, found.dataset.task, {**extra, ONNX: files[SMALL], CARD: text.encode()})


def _packed(found: Compressed, out: Path) -> bytes:
    assert found.shaped.masks is not None
    with writing(out), staging_folder(out) as staging:
        write_packed(staging / ".tmp-packed", found.shaped.network, found.shaped.masks)
        return (staging / ".tmp-packed").read_bytes()


def _deliver_module(out: Path, network: nn.Module, task: ImageTask, extra: Mapping[str, bytes]) -> dict[str, int]:
    with writing(out), staging_folder(out) as staging:
        write_weights(staging / WEIGHTS, network)
        _write_program(staging / PROGRAM, network, task)
        names = sorted({*extra, PROGRAM} - {ONNX, CARD})
        config = {
            "format": FORMAT,
            "schema_version": 1,
            "task": MODULE_TASK,
            "dataset": task.name,
            "classes": list(task.classes),
            "input_shape": list(task.input_shape),
            "pixel_scale": task.pixel_scale,
            "mean": list(task.mean),
            "std": list(task.std),
            "weights_sha256": sha256_of(staging / WEIGHTS),
            "extra_files": names,
        }
        (staging / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        for name, content in extra.items():
            (staging / name).write_bytes(content)
        sizes = {path.name: path.stat().st_size for path in sorted(staging.iterdir())}
        put_in_place(staging, out)
    return sizes


def _write_program(path: Path, network: nn.Module, task: ImageTask) -> None:
    example = torch.zeros(2, *task.input_shape)
    dynamic = ({0: torch.export.Dim("batch")},)
    with torch.no_grad():
        program = torch.export.export(network.eval(), (example,), dynamic_shapes=dynamic, strict=False)
    torch.export.save(program, path)
