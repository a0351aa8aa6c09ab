"""Physical features of kernels for boosted trees that correct a GPU roofline: sizes, waves, tiles, shares of time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hardware.gpu_roofline import PRECISIONS, GpuRoofline
from hardware.kernel_arrays import KernelArrays, Vector

TILES = ((64, 64), (128, 64), (128, 128), (256, 64), (256, 128), (128, 256))
WINOGRAD_SIDES = (2, 4)  # of the output tiles of its fast 3x3 algorithms
CHANNEL_STEPS = (8, 32, 64, 128)
SIZES = ("batch", "in_channels", "channels", "in_height", "height", "positions", "in_scalars", "out_scalars", "weights")


def sizes(work: KernelArrays) -> dict[str, Vector]:
    """Columns that only grow when a kernel grows, beside what it is: all that a monotone model may see."""
    columns: dict[str, Vector] = {name: _log2(getattr(work, name)) for name in SIZES}
    columns |= {"macs": _log2(work.macs), "reduction": _log2(work.reduction), "adds": work.adds}
    return columns


def identity(work: KernelArrays) -> dict[str, Vector]:
    """Columns that say which kernel it is, in no order of cost."""
    return {"code": work.code, "kernel": work.kernel, "stride": work.stride}


def all_features(gpu: GpuRoofline, work: KernelArrays, prior_ms: Vector) -> dict[str, Vector]:
    """Every column: sizes, identity, how sizes fit tiles and waves, and how the roofline spends its time."""
    compute_ms, memory_ms = gpu.compute_ms(work), gpu.memory_ms(work)
    moved = work.in_scalars + work.out_scalars + work.weights
    added_ms = 3 * PRECISIONS[gpu.precision].scalar_bytes * work.positions * work.channels / gpu.bytes_per_ms
    added_ms = (added_ms + gpu.launch_ms) / prior_ms  # an addition that is not fused after all
    return {
        **sizes(work),
        **identity(work),
        **_fit_of_tiles(gpu, work),
        "groups": _log2(work.groups),
        "prior": _log2(prior_ms),
        "compute": _log2(compute_ms),
        "memory": _log2(memory_ms),
        "compute_bound": _log2(compute_ms / memory_ms),
        "launch_share": gpu.launch_ms / prior_ms,
        "separate_addition": added_ms,
        "fused_addition": np.log1p(work.adds * added_ms),
        "intensity": _log2(work.macs / moved),
        "channel_ratio": _log2(work.in_channels / work.channels),
        "weight_share": work.weights / moved,
        "out_share": work.out_scalars / moved,
        "split_reduction": _log2(work.reduction / np.maximum(1.0, work.positions * work.channels / 4096)),
        "unfolded": _log2(work.positions * work.reduction),
    }


def _fit_of_tiles(gpu: GpuRoofline, work: KernelArrays) -> dict[str, Vector]:
    columns: dict[str, Vector] = {}
    for height, width in TILES:
        count = np.ceil(work.positions / height) * np.ceil(work.channels / width)
        waves = count / gpu.multiprocessors
        columns[f"waves_{height}x{width}"] = _log2(waves)
        columns[f"last_wave_{height}x{width}"] = waves / np.ceil(waves)
        columns[f"filled_{height}x{width}"] = work.positions * work.channels / (count * height * width)
    for side in WINOGRAD_SIDES:
        columns[f"winograd_{side}"] = np.ceil(work.height / side) * side / work.height
    for step in CHANNEL_STEPS:
        columns[f"channels_mod_{step}"] = work.channels % step
    columns |= {f"in_channels_mod_{step}": work.in_channels % step for step in CHANNEL_STEPS[:2]}
    columns |= {"odd_side": work.in_height % 2, "side_mod_4": work.height % 4, "side_mod_8": work.height % 8}
    return columns


def as_matrix(columns: dict[str, Vector]) -> NDArray[np.float32]:
    """(n, features) of columns, in their order."""
    return np.stack(list(columns.values()), axis=1, dtype=np.float32)


def _log2(values: Vector) -> Vector:
    return np.asarray(np.log2(np.maximum(values, 1e-9)))
