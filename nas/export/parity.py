"""Whether the exported file computes what the network computes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
from torch import nn

TOLERANCE = 1e-4  # of the largest logit; folding norms changes the rounding, about 1e-6
_QUIET = 3  # onnxruntime's log level for errors
_ORT_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)


class ParityFailed(RuntimeError):
    """The exported file gives other outputs than the network."""


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Differences between ONNX Runtime and PyTorch on the CPU in float32.

    Attributes:
        max_abs_error: largest difference of a logit.
        max_rel_error: the same divided by the largest logit of its image.
        agree_top1: share of images with the same predicted class, 0..1.
        n: images.
    """

    max_abs_error: float
    max_rel_error: float
    agree_top1: float
    n: int


def check_parity(
    model: nn.Module,
    onnx_path: Path,
    input_shape: tuple[int, int, int],
    *,
    seeds: Iterable[int] = range(8),
    tolerance: float = TOLERANCE,
    output: str | None = None,
) -> ParityReport:
    """Compare the file with the network on seeded standard normal images; evaluation mode is used and undone.

    Args:
        model: (N, C, H, W) -> logits (N, classes), or another tensor of N rows, on the CPU.
        onnx_path: the exported file, with a fixed or an open batch.
        input_shape: (channels, height, width).
        seeds: one batch of images each.
        tolerance: largest allowed ``max_rel_error``.
        output: name of the output to compare; None takes the first. Outputs of more axes are compared flattened.
    Raises: ParityFailed: outputs differ by more, or the file cannot be run.
    """
    session = _session(onnx_path)
    batch = session.get_inputs()[0].shape[0]
    images = [_images(seed, batch if isinstance(batch, int) else 2, input_shape) for seed in seeds]
    expected = np.concatenate([_torch_logits(model, batch) for batch in images])
    actual = np.concatenate([_onnx_logits(session, onnx_path, batch, output) for batch in images])
    if actual.shape != expected.shape:
        raise ParityFailed(f"{onnx_path}: outputs of shape {actual.shape}, the network gives {expected.shape}")
    rows = len(expected)
    report = _compare(actual.reshape(rows, -1).astype(np.float64), expected.reshape(rows, -1).astype(np.float64))
    if not report.max_rel_error <= tolerance:
        raise ParityFailed(
            f"{onnx_path}: logits differ from the network's by {report.max_rel_error:.2g} of the largest "
            f"({report.max_abs_error:.2g} absolute), allowed {tolerance:g}; export the file again"
        )
    return report


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = 1  # a few small batches: a pool of threads would cost more than it gives
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _ORT_ERRORS as error:
        raise ParityFailed(f"{path}: ONNX Runtime cannot load it: {_first_line(error)}") from None


def _images(seed: int, batch: int, input_shape: tuple[int, int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((batch, *input_shape), dtype=np.float32)


def _torch_logits(model: nn.Module, images: NDArray[np.float32]) -> NDArray[np.float32]:
    training = model.training
    model.eval()
    with torch.inference_mode():
        logits = model(torch.from_numpy(images)).numpy()
    model.train(training)
    result: NDArray[np.float32] = logits
    return result


def _onnx_logits(
    session: onnxruntime.InferenceSession, path: Path, images: NDArray[np.float32], output: str | None
) -> NDArray[np.float32]:
    try:
        logits: NDArray[np.float32] = session.run(
            None if output is None else [output], {session.get_inputs()[0].name: images}
        )[0]
    except _ORT_ERRORS as error:
        raise ParityFailed(f"{path}: ONNX Runtime cannot run it: {_first_line(error)}") from None
    return logits


def _compare(actual: NDArray[np.float64], expected: NDArray[np.float64]) -> ParityReport:
    error = np.abs(actual - expected)
    scale = np.maximum(np.abs(expected).max(axis=1), np.finfo(np.float32).tiny)
    agree = (actual.argmax(axis=1) == expected.argmax(axis=1)).mean()
    return ParityReport(float(error.max()), float((error.max(axis=1) / scale).max()), float(agree), len(expected))


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line), type(error).__name__)
