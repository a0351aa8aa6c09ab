"""A compression as a job: choose the recipe, run it, hold the files against each other, deliver, verify the budget."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware.device import Device
from hardware.measure import MeasureProtocol, OnnxFile, measure
from hardware.pairs import PairProtocol
from nas.compress.before_after import Row
from nas.compress.onnx_file.saturation import saturation
from nas.compress.pipeline.budget import within_budget
from nas.compress.pipeline.compress import (
    INTEGERS,
    Compressed,
    compress,
    facts,
    markdown,
    report,
    validation_top1,
)
from nas.compress.pipeline.deliver import deliver
from nas.compress.pipeline.recipe import Compression
from nas.compress.pipeline.stages import calibration_images, same_start
from nas.compress.pipeline.work import Work
from nas.export.place import prepare_place
from nas.job.compression_source import Source
from nas.job.verification import verify
from nas.narrator import Silent
from nas.verdict import sentence

_WATCHED = 128  # training images on which overflow is looked for


@dataclass(frozen=True, slots=True)
class CompressionJob:
    """What a user asks for.

    Attributes:
        out: folder of the result.
        device: where latency is measured.
        latency_ms: budget of a call; None without one.
        train_device: of trainings: cpu, cuda, cuda:N.
        quick: time the files for a short while only.
    """

    out: Path
    device: Device
    latency_ms: float | None = None
    train_device: str = "cpu"
    quick: bool = False


def run_compression(
    source: Source, recipe: Compression, job: CompressionJob, narrator: Silent | None = None
) -> dict[str, Any]:
    """Compress, report and deliver; called again after an interruption it goes on from its checkpoints.

    Args:
        source: the trained network and its images.
        recipe: what to do; with a budget, channels and integers are chosen and the rest is as it says.
        job: where to, on which device, under which budget.
        narrator: is told what goes on.
    Returns: "directory", "files", "rows", "steps", "notes", and with a budget "verdict" and "sentence".
    Raises: CannotCompress and its kinds, ExportFailed, MeasurementFailed, RuntimeRefused, TrainingDiverged.
    """
    told = narrator or Silent()
    prepare_place(job.out)
    work = Work(job.out.with_name(f".{job.out.name}.work"), job.train_device, told)
    recipes = [recipe] if job.latency_ms is None else _remembered(source, recipe, job, work, told)
    found = _best([compress(source.model, source.dataset, each, work) for each in recipes], told)
    with tempfile.TemporaryDirectory() as folder:
        pairs = PairProtocol(pairs=8, span_s=2.0) if job.quick else PairProtocol()
        rows = report(found, Path(folder), device=job.device, pairs=pairs, work=work)
        result: dict[str, Any] = {}
        if job.latency_ms is not None:
            result = _held(Path(folder) / f"{found.last}.onnx", job, told)
        files = {path.stem: path.read_bytes() for path in Path(folder).glob("*.onnx")}
    notes = [*_notes(found, rows, files), *([result["sentence"]] if result else [])]
    for note in notes:
        told.say(note)
    title = f"{source.name}, compressed"
    sizes = deliver(
        job.out, found, files, text=markdown(title, rows, found.steps, notes), data=facts(found, rows, notes),
        origin=source.name,
    )  # fmt: skip
    work.forget()
    return {
        "directory": str(job.out),
        "files": sizes,
        "rows": [row.to_dict() for row in rows],
        "steps": list(found.steps),
        "notes": notes,
        **result,
    }


def _remembered(
    source: Source, recipe: Compression, job: CompressionJob, work: Work, told: Silent
) -> list[Compression]:
    """The candidates of an interrupted compression, so that it goes on with them; else measured."""
    asked = json.dumps([job.latency_ms, str(job.device), same_start(source.model, source.dataset, recipe)])
    assert work.folder is not None
    file = work.folder / f"candidates-{hashlib.sha256(asked.encode()).hexdigest()[:12]}.json"
    if file.is_file():
        return [Compression.from_dict(each) for each in json.loads(file.read_text(encoding="utf-8"))]
    found = _candidates(source, recipe, job, told)
    work.folder.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps([each.to_dict() for each in found]), encoding="utf-8")
    part.replace(file)
    return found


def _candidates(source: Source, recipe: Compression, job: CompressionJob, told: Silent) -> list[Compression]:
    def milliseconds(path: Path) -> float:
        [seen] = measure([OnnxFile(path)], job.device, MeasureProtocol.quick(), told.update)
        told.done()
        return seen.latency_ms

    assert job.latency_ms is not None
    return within_budget(source.model, source.dataset.input_shape, recipe, job.latency_ms, milliseconds, told)


def _best(found: Sequence[Compressed], told: Silent) -> Compressed:
    """The one that gets most validation images right; the first of equals."""
    if len(found) == 1:
        return found[0]
    reached = [validation_top1(each) for each in found]
    for each, top1 in zip(found, reached, strict=True):
        told.say(f"validation top-1 {top1:.4f}: {'; '.join(each.steps)}")
    return found[reached.index(max(reached))]


def _held(path: Path, job: CompressionJob, told: Silent) -> dict[str, Any]:
    """The file against the budget, measured by itself."""
    measurement, verdict = verify(OnnxFile(path), job.device, job.latency_ms, told)
    said = sentence(measurement, job.latency_ms, subject=f"the file of {path.stem}", reason=measurement.reason)
    return {"verdict": verdict, "sentence": said, "measurement": measurement.to_dict()}


def _notes(found: Compressed, rows: Sequence[Row], files: dict[str, bytes]) -> list[str]:
    """What a reader must know: overflow, no gain, operations in floating point."""
    notes = []
    if INTEGERS in files:
        import onnx

        images = calibration_images(found.dataset, _WATCHED, found.recipe.seed).numpy()
        model = onnx.load_from_string(files[INTEGERS])
        batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
        notes.append(saturation(model, images, batch).sentence)
    last = next(row for row in rows if row.name == found.last)
    if last.speed_up_high is not None and last.speed_up_high < 1:
        notes.append(f"{last.name} is slower than the original here: {last.speed_up:.2f}x")
    if found.shaped.masks is not None:
        notes.append("pruned single weights make the packed file smaller; no kernel here gets faster by them")
    return notes
