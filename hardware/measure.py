"""The one timer: latency of networks on a device, with an interval, a verdict and the conditions.

One child process per device; a numerics gate before any timing; short bursts of all models interleaved and
spread over time; the minimum (or the 10th percentile) of burst medians. See ``hardware.protocol``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hardware.bench import Bench, RealClock
from hardware.device import Device
from hardware.measurement import Measurement
from hardware.models import LayerModel, Model, OnnxFile
from hardware.protocol import MeasureProtocol, run_campaign
from hardware.runtimes.contract import NumericsMismatch, RuntimeRefused
from hardware.target import MeasurementFailed, Target

__all__ = [
    "LayerModel",
    "MeasureProtocol",
    "Measurement",
    "MeasurementFailed",
    "Model",
    "NumericsMismatch",
    "OnnxFile",
    "RealClock",
    "RuntimeRefused",
    "measure",
]

TIMING_SHARE = 0.5  # of ``max_s`` that is kept for timing, however long loading took


Progress = Callable[[str, float], None]  # what is being done, share done in 0..1


def measure(
    models: Sequence[Model],
    device: Device,
    protocol: MeasureProtocol = MeasureProtocol(),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> list[Measurement]:
    """Time networks on a device.

    Args:
        models: ONNX files or layers; their bursts are interleaved, so many take little longer than one.
        device: runtime, threads and batch.
        protocol: how much to measure; ``MeasureProtocol.quick()`` and ``.careful()`` are presets. For several
            threads it is raised.
        progress: told what is going on.
    Returns: one measurement per model, in order.
    Raises: RuntimeRefused: a model that the runtime cannot load. NumericsMismatch: an output that is wrong.
        MeasurementFailed: the measuring process died or hung.
    """
    if not models:
        return []
    protocol = protocol.for_threads(device.threads)
    tell = progress or (lambda what, share: None)
    clock = RealClock()
    began = clock.now()
    with Target(device, protocol.hang_s) as target:
        bench = Bench(target, device, protocol, clock)
        for i, model in enumerate(models):
            tell("loading", i / len(models))
            bench.load(model)

        def burst(at: int) -> float:
            tell("timing", min(1.0, (clock.now() - began) / left_s))
            return bench.burst(at)

        left_s = max(protocol.max_s - (clock.now() - began), TIMING_SHARE * protocol.max_s)
        began = clock.now()
        run_campaign(len(models), burst, protocol.capped(left_s), clock)
    return [bench.measurement(at) for at in range(len(models))]
