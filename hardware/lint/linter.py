"""Apply the rules, and judge every fix: timed on this machine where that is the device, else predicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hardware.analytic_devices import AnalyticDevice
from hardware.analytic_latency import KernelModel
from hardware.cpu_roofline import CpuRoofline
from hardware.device import Device
from hardware.gpu_roofline import GpuRoofline
from hardware.kernels import kernels_of
from hardware.lint.finding import Effect, Finding, Judged
from hardware.lint.rules import GPU_ALIGNMENT, RULES, Context
from hardware.measure import LayerModel, Measurement, MeasureProtocol, Progress, measure
from hardware.runtime_memory import block_here
from search_spaces.layers import Layer, Shape

MOST_MEASURED = 12  # findings, those with the largest predicted gain
# fitted to 240 single kernels of ONNX Runtime on an AMD EPYC 7003, 1 thread: 19 % left-out error, Spearman 0.984
X86_CORE = CpuRoofline(
    vector=8,
    scalar_bytes=4,
    private_bytes=5.12e5,
    shared_bytes=3.2e7,
    macs_per_ms=4.78e7,
    private_bytes_per_ms=2.27e7,
    shared_bytes_per_ms=1e10,
    memory_bytes_per_ms=2.1e6,
    call_ms=0.0063,
    sharpness=0.82,
    pointwise=0.70,
    depthwise=0.84,
    few_channels=0.74,
    odd_groups=3.9,
)


def lint(
    layers: Sequence[Layer],
    input_shape: Shape,
    device: Device | AnalyticDevice,
    *,
    batch: int = 1,
    seconds: float = 30.0,
    progress: Progress | None = None,
) -> list[Judged]:
    """Findings with the effect of each fix, the largest gain first; a fix that was measured to cost is kept, last.

    Args:
        layers: a network: of ``expand`` or ``search_spaces.trace.trace``.
        input_shape: (channels, height, width) of one image.
        device: a ``Device`` that runs here is measured on; of one from a data sheet, effects are predicted.
        batch: images per call, for a device from a data sheet.
        seconds: for timing; 0 predicts only.
        progress: told what is being timed.
    """
    context = _context(device, input_shape, batch)
    findings = _merged(finding for rule in RULES for finding in rule(layers, context))
    judged = [Judged(finding, _predicted(finding, context)) for finding in findings]
    judged.sort(key=lambda each: -each.total_gain_ms)
    if isinstance(device, Device) and seconds > 0:
        judged = _measured(judged[:MOST_MEASURED], device, seconds, progress) + judged[MOST_MEASURED:]
    else:
        judged = [each for each in judged if each.helps]
    return sorted(judged, key=lambda each: (not each.helps, -each.total_gain_ms))


def network_ms(layers: Sequence[Layer], device: Device | AnalyticDevice, input_shape: Shape, batch: int = 1) -> float:
    """Predicted milliseconds of the whole network, to see the gains beside."""
    context = _context(device, input_shape, batch)
    return float(context.model.predict_ms(kernels_of(layers, context.batch)).sum())


def _context(device: Device | AnalyticDevice, input_shape: Shape, batch: int) -> Context:
    side = max(input_shape[1:])
    if isinstance(device, AnalyticDevice):
        roofline = device.roofline
        if isinstance(roofline, GpuRoofline):
            return Context("gpu", roofline, batch, side, GPU_ALIGNMENT, roofline.launch_ms)
        return Context("cpu", roofline, batch, side, roofline.vector)
    if device.name == "cuda":
        from hardware.analytic_devices import analytic_device

        return Context("gpu", analytic_device("v100").roofline, device.batch, side, GPU_ALIGNMENT)
    return Context("cpu", replace(X86_CORE, vector=block_here()), device.batch, side, block_here())


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """Findings of equal shapes as one, with all names."""
    found: dict[tuple[str, tuple[Layer, ...], tuple[Layer, ...]], Finding] = {}
    for finding in findings:
        key = (finding.rule, finding.before, finding.after)
        first = found.get(key)
        found[key] = finding if first is None else replace(first, layers=(*first.layers, *finding.layers))
    return list(found.values())


def _predicted(finding: Finding, context: Context) -> Effect:
    before = _sum_ms(context.model, finding.before, context.batch)
    after_batch = finding.batch_after or context.batch
    after = _sum_ms(context.model, finding.after, after_batch)
    if finding.batch_after:
        before, after = before / context.batch, after / after_batch
    return Effect(before, after, "predicted")


def _sum_ms(model: KernelModel, layers: Sequence[Layer], batch: int) -> float:
    return float(model.predict_ms(kernels_of(layers, batch)).sum())


def _measured(judged: Sequence[Judged], device: Device, seconds: float, progress: Progress | None) -> list[Judged]:
    """The same findings with timed effects: all befores and afters interleaved in one campaign."""
    pairs = [each for each in judged if not each.finding.batch_after]
    models = [
        LayerModel(f"{i}.{name}", layers, layers[0].in_shape)
        for i, each in enumerate(pairs)
        for name, layers in (("before", each.finding.before), ("after", each.finding.after))
    ]
    timed = measure(models, device, MeasureProtocol.quick(seconds), progress)
    effects = dict(zip(map(id, pairs), map(_timed, timed[::2], timed[1::2]), strict=True))
    return [replace(each, effect=effects.get(id(each), each.effect)) for each in judged]


def _timed(before: Measurement, after: Measurement) -> Effect:
    overlap = before.low_ms <= after.high_ms and after.low_ms <= before.high_ms
    doubtful = overlap or "void" in (before.verdict, after.verdict)
    return Effect(before.latency_ms, after.latency_ms, "measured", doubtful)
