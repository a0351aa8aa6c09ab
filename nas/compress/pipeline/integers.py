"""The last stage: a network in floating point becomes one in integers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from torch import nn

from hardware.integer_kernels import weight_bits_here
from nas.compress.graph import tensor_name, tensor_of
from nas.compress.pipeline.recipe import Quantise, settings_from
from nas.compress.pipeline.stages import calibration_images
from nas.compress.pipeline.work import Work
from nas.compress.quantise import Quantised, QuantiseSettings, quantise_network
from nas.compress.quantise.reconstruct import UnitReport
from nas.train.images import Dataset

_PROBED = 128  # images on which the sensitivity of layers is measured


def in_integers(network: nn.Module, dataset: Dataset, stage: Quantise, seed: int, work: Work) -> tuple[Quantised, str]:
    """Quantise a network on training images without labels.

    Args:
        network: on the CPU; not changed.
        dataset: whose training images are drawn from.
        stage: of the recipe.
        seed: of the images and of the learned rounding.
        work: where the checkpoint lies and who is told.
    Returns: the network, and a sentence about it.
    Raises: CannotCompress and its kinds, InvalidCheckpoint.
    """
    settings, why = _settings(stage)
    images = calibration_images(dataset, stage.images, seed)
    if stage.size_bytes is not None:
        from nas.compress.quantise.mixed import bits_within

        chosen = bits_within(network, images[:_PROBED], weight_bytes=stage.size_bytes, choices=stage.bits)
        settings = replace(settings, layer_bits=chosen.layer_bits)

    def tell(report: UnitReport) -> None:
        work.narrator.update(f"quantising: {report.unit}")

    found = quantise_network(
        network, images, settings=settings, seed=seed, device=work.device, on_unit=tell,
        checkpoint=work.checkpoint(f"quantise-{_digest(settings, len(images), seed)}"),
    )  # fmt: skip
    widths = sorted({codes.bits for codes in found.weights.values()})
    bits_text = ", ".join(map(str, widths))
    return found, (
        f"quantised by {settings.method} on {len(images)} images: weights of {bits_text} bits, activations of "
        f"{settings.activation_bits}{why}"
    )


def _settings(stage: Quantise) -> tuple[QuantiseSettings, str]:
    found = weight_bits_here()
    bits, why = (found.bits, f" ({found.reason})") if stage.weight_bits == "auto" else (stage.weight_bits, "")
    given: dict[str, Any] = {"weight_bits": bits, "activation_bits": stage.activation_bits, "method": stage.method}
    if stage.weight_bits == "auto":
        given["edge_bits"] = bits
    return settings_from(QuantiseSettings, {**given, **stage.settings}, "quantise.settings"), why


def _digest(settings: QuantiseSettings, images: int, seed: int) -> str:
    from dataclasses import asdict

    return hashlib.sha256(json.dumps([asdict(settings), images, seed], sort_keys=True).encode()).hexdigest()[:8]


def packed_bytes(quantised: Quantised) -> int:
    """Bytes of weights stored in their bits, scales and biases in 32: what storage that packs them would take."""
    found = quantised.weights.values()
    weights = sum(codes.codes.numel() * codes.bits / 8 + 4 * codes.scale.numel() for codes in found)
    nodes = list(quantised.graph.graph.nodes)
    in_codes = {tensor_name(node.args[1]) for node in nodes if node.name in quantised.weights}
    tensors = {tensor_name(node): tensor_of(quantised.graph, node) for node in nodes if node.op == "get_attr"}
    rest = sum(4 * tensor.numel() for name, tensor in tensors.items() if tensor is not None and name not in in_codes)
    return int(weights) + rest
