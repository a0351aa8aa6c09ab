"""From a trained network to a folder with what is really smaller, and the report that says so."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hardware.device import Device
from hardware.pairs import PairProtocol
from nas.compress.before_after import COLUMNS, Artefact, Row, before_after, texts
from nas.compress.groups import Coupling
from nas.compress.masks import Masks
from nas.compress.onnx_file import write_onnx, write_quantised_onnx
from nas.compress.packed import write_packed
from nas.compress.pipeline.integers import in_integers, packed_bytes
from nas.compress.pipeline.recipe import Compression
from nas.compress.pipeline.stages import Shaped, same_start, shaped
from nas.compress.pipeline.work import Work
from nas.compress.quantise import Quantised
from nas.compress.quantise.fold import folded
from nas.compress.sliced_cost import SlicedCost
from nas.train.images import Dataset
from search_spaces.layers import Shape

ORIGINAL, SMALL, INTEGERS = "original", "compressed", "integers"


@dataclass(frozen=True, slots=True, eq=False)
class Compressed:
    """A compressed network before its test images are looked at.

    Attributes:
        original: as it came.
        shaped: in floating point, fewer channels, cheaper convolutions, pruned weights.
        quantised: in integers, if the recipe asks for them.
        steps: what was done, a sentence each.
        dataset: images that it was made with.
        recipe: that made it.
    """

    original: nn.Module
    shaped: Shaped
    quantised: Quantised | None
    steps: tuple[str, ...]
    dataset: Dataset
    recipe: Compression

    @property
    def last(self) -> str:
        """Name of the file that is the result."""
        return SMALL if self.quantised is None else INTEGERS

    def files(self, batch: int | None = 1) -> dict[str, bytes]:
        """ONNX files by name: the original, the small one in floating point, and that in integers."""
        shape = self.dataset.input_shape
        found = {ORIGINAL: _float_file(self.original, shape, batch)}
        found[SMALL] = _float_file(self.shaped.network, shape, batch)
        if self.quantised is not None:
            found[INTEGERS] = bytes(write_quantised_onnx(self.quantised, batch=batch).SerializeToString())
        return found


def compress(
    model: nn.Module, dataset: Dataset, recipe: Compression | Mapping[str, Any], work: Work | None = None
) -> Compressed:
    """Run a recipe on a trained network.

    Args:
        model: (N, C, H, W) float32 -> logits (N, dataset.num_classes), with trained weights; not changed.
        dataset: its training images are learned from, its validation images watched; its test images are not read.
        recipe: what to do.
        work: where checkpoints lie, on which device trainings run, who is told.
    Raises: CannotCompress and its kinds, TrainingDiverged, InvalidCheckpoint.
    """
    recipe = recipe if isinstance(recipe, Compression) else Compression.from_dict(recipe)
    work = (work or Work()).within(same_start(model, dataset, recipe))
    small = shaped(model, dataset, recipe, work)
    for step in small.steps:
        work.narrator.say(step)
    quantised, steps = None, small.steps
    if recipe.quantise is not None:
        quantised, said = in_integers(small.network, dataset, recipe.quantise, recipe.seed, work)
        work.narrator.say(said)
        steps = (*steps, said)
    work.narrator.done()
    return Compressed(model, small, quantised, steps, dataset, recipe)


def report(
    found: Compressed,
    folder: Path,
    *,
    device: Device | None,
    pairs: PairProtocol | None = None,
    work: Work | None = None,
) -> list[Row]:
    """Write the ONNX files into a folder and hold them against each other; the test images are looked at here.

    Args:
        found: of ``compress``.
        folder: exists; the files are called original.onnx, compressed.onnx and integers.onnx.
        device: where latency is measured; None measures none.
        pairs: how many interleaved pairs of bursts, over how long.
        work: who is told.
    Raises: CannotCompress, MeasurementFailed, RuntimeRefused, NumericsMismatch.
    """
    batch = 1 if device is None else device.batch
    artefacts = []
    for name, content in found.files(batch).items():
        path = folder / f"{name}.onnx"
        path.write_bytes(content)
        network = found.original if name == ORIGINAL else found.shaped.network
        params, macs = size_of(network, found.dataset.input_shape)
        artefacts.append(Artefact(name, path, params, macs, _packed(found, name)))
    narrator = (work or Work()).narrator
    return before_after(artefacts, found.dataset, device=device, pairs=pairs or PairProtocol(), narrator=narrator)


def size_of(network: nn.Module, input_shape: Shape) -> tuple[int, int]:
    """Parameters, and multiply-accumulates of one image."""
    cost = SlicedCost(network, Coupling({}, {}, input_shape))
    return cost.params({}), cost.macs({})


def validation_top1(found: Compressed) -> float:
    """Share of validation images that the result, run in ONNX Runtime, gets right."""
    from nas.compress.before_after import predictions

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.onnx"
        path.write_bytes(found.files(None)[found.last])
        labels = found.dataset.validation.labels
        return float((predictions(path, found.dataset, found.dataset.validation) == labels).mean())


def _float_file(network: nn.Module, shape: Shape, batch: int | None) -> bytes:
    return bytes(write_onnx(folded(network, shape), shape, batch=batch).SerializeToString())


def _packed(found: Compressed, name: str) -> int | None:
    masks: Masks | None = found.shaped.masks
    if name == SMALL and masks is not None:
        with tempfile.TemporaryDirectory() as folder:
            return write_packed(Path(folder) / "packed.safetensors", found.shaped.network, masks).file
    if name == INTEGERS and found.quantised is not None and any(c.bits < 8 for c in found.quantised.weights.values()):
        return packed_bytes(found.quantised)
    return None


def markdown(title: str, rows: Sequence[Row], steps: Sequence[str], notes: Sequence[str] = ()) -> str:
    """The report for a person."""
    lines = [f"# {title}", "", "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(texts(row)) + " |" for row in rows]
    lines += ["", "Accuracy is of ONNX Runtime on the test images; latency and speed-up are of the files, measured",
              "interleaved in pairs of bursts against the first.", ""]  # fmt: skip
    lines += ["## What was done", "", *(f"{at}. {step}" for at, step in enumerate(steps, 1)), ""]
    floating = [node for row in rows for node in row.floating]
    if floating:
        lines += ["## Left in floating point", ""]
        lines += [f"- {node.weight or node.name} ({node.operation}): {node.reason}" for node in floating] + [""]
    if notes:
        lines += ["## Notes", "", *(f"- {note}" for note in notes), ""]
    return "\n".join(lines)


def facts(found: Compressed, rows: Sequence[Row], notes: Sequence[str] = ()) -> str:
    """The report for a program, as JSON."""
    return json.dumps(
        {
            "version": 1,
            "recipe": found.recipe.to_dict(),
            "steps": list(found.steps),
            "rows": [asdict(row) for row in rows],
            "notes": list(notes),
        },
        indent=2,
    )
