"""What overflows of a CPU without VNNI change in what a quantised file computes (``hardware.integer_kernels``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Saturation:
    """What the overflow of 16-bit sums changes on some images.

    Attributes:
        codes: share of the bytes of all rounded tensors that differ from exact arithmetic, 0..1; later layers read what
            earlier ones made.
        predictions: share of images whose predicted class differs, 0..1.
        n: images.
    """

    codes: float
    predictions: float
    n: int

    @property
    def sentence(self) -> str:
        """For a report."""
        if self.codes == 0:
            return f"no 8-bit sum overflows on {self.n} images"
        return (
            f"8-bit sums overflow on this CPU: {self.codes:.2%} of rounded values and {self.predictions:.2%} of "
            f"predictions differ from exact arithmetic on {self.n} images; use 7-bit weights"
        )


def saturation(model: onnx.ModelProto, images: NDArray[np.float32], batch: int = 1) -> Saturation:
    """Run a quantised file here as it is, and once more with exact 32-bit sums, and count what differs.

    Args:
        model: of ``write_quantised_onnx``; its nodes keep the kernels that they have in use.
        images: (N, C, H, W) float32, normalised.
        batch: images per call that the file takes; N must be a multiple of it.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    codes = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    watched.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.UINT8, None) for n in codes)
    plain, exact = (_session(watched, exact=exact) for exact in (False, True))
    different, total, changed = 0, 0, 0
    for start in range(0, len(images) - batch + 1, batch):
        feed = {"images": images[start : start + batch]}
        found, wanted = plain.run(None, feed), exact.run(None, feed)
        changed += int((_classes(found) != _classes(wanted)).sum())
        for a, b in zip(found[1:], wanted[1:], strict=True):
            different, total = different + int((a != b).sum()), total + a.size
    return Saturation(different / max(total, 1), changed / len(images), len(images))


def _classes(outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.intp]:
    found: NDArray[np.intp] = outputs[0].reshape(len(outputs[0]), -1).argmax(1)
    return found


def _session(model: onnx.ModelProto, *, exact: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
