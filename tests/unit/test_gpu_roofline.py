"""The GPU roofline: its staircases and factors, and that a fit finds a GPU back from latencies."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.gpu_roofline import GpuRoofline, InvalidGpu
from hardware.kernel_arrays import KernelArrays
from hardware.kernels import Kernel, kernels_of
from hardware.roofline_fit import FitFailed, errors_of, fit_roofline
from search_spaces import SPACES
from search_spaces.expand import expand

GPU = GpuRoofline(80, "fp16", 6e6, macs_per_ms=6e10, bytes_per_ms=9e8, launch_ms=0.01)
V100 = Path(os.environ.get("NETWRIGHT_DATA") or Path(__file__).resolve().parents[3] / "shared/data") / "v100_conv_trt"


def conv(cin: int, side: int, cout: int, k: int = 3, stride: int = 1, batch: int = 64, **more: object) -> Kernel:
    out = -(-side // stride)
    kind = "pointwise" if k == 1 else "conv"
    return Kernel(kind, (cin, side, side), (cout, out, out), k, stride, batch=batch)._replace(**more)


def depthwise(channels: int, side: int, k: int = 3, batch: int = 64) -> Kernel:
    shape = (channels, side, side)
    return Kernel("depthwise", shape, shape, k, 1, channels, batch=batch)


def ms(gpu: GpuRoofline, kernel: Kernel) -> float:
    return float(gpu.predict_ms([kernel])[0])


def some_kernels(n: int, seed: int) -> list[Kernel]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        cin, cout = (int(rng.choice([3, 16, 24, 64, 128, 320, 1024])) for _ in range(2))
        side, k = int(rng.choice([7, 14, 28, 56, 112])), int(rng.choice([1, 3, 5, 7]))
        batch = int(rng.choice([1, 32, 128]))
        if rng.random() < 0.25:
            found.append(depthwise(cout, side, k, batch))
        else:
            found.append(conv(cin, side, cout, k, int(rng.choice([1, 2])), batch, adds=bool(rng.random() < 0.5)))
    return found


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_columns_count_like_the_kernels_of_every_space(space):
    shape = (getattr(space, "in_channels", 3), 32, 32)
    kernels = kernels_of(expand(space.sample(np.random.default_rng(0)), shape, 10), batch=4)
    columns = KernelArrays.of(kernels)
    assert columns.macs.tolist() == [kernel.macs for kernel in kernels]
    latency = GPU.predict_ms(columns)
    assert np.all(np.isfinite(latency))
    assert np.all(latency >= GPU.launch_ms)


def test_no_kernels_take_no_time():
    assert GPU.predict_ms([]).shape == (0,)


def test_a_last_wave_that_is_nearly_empty_costs_as_much_as_a_full_one():
    full = 256 * 80  # eight waves of tiles of 64 x 64
    products = [conv(512, 1, 128, k=1, batch=batch) for batch in (full, full + 1, full + 64 * 40)]
    whole, begun, filled = GPU.compute_ms(KernelArrays.of(products))
    assert begun > 1.09 * whole
    assert begun == filled


def test_channels_off_the_alignment_cost_as_the_next_multiple():
    assert ms(GPU, conv(61, 28, 61)) == pytest.approx(ms(GPU, conv(64, 28, 64)), rel=0.02)
    assert ms(GPU, conv(72, 28, 72)) > 1.05 * ms(GPU, conv(64, 28, 64))


def test_at_batch_one_small_kernels_cost_their_launch():
    assert ms(GPU, conv(16, 7, 16, batch=1)) == pytest.approx(GPU.launch_ms, rel=0.6)
    assert ms(GPU, conv(512, 56, 512, batch=64)) > 50 * GPU.launch_ms


def test_depthwise_is_far_slower_per_multiply_add():
    dense, thin = conv(256, 28, 256), depthwise(256, 28)
    assert ms(GPU, thin) / thin.macs > 10 * ms(GPU, dense) / dense.macs


def test_a_fused_addition_is_extra_traffic():
    plain = conv(16, 112, 16, k=1)
    assert ms(GPU, plain._replace(adds=True)) > 1.2 * ms(GPU, plain)


def test_grouped_convolutions_fill_their_tiles_badly():
    shape = (256, 14, 14)
    grouped = Kernel("grouped", shape, shape, 3, 1, 32, batch=64)
    assert ms(GPU, grouped) / grouped.macs > 4 * ms(GPU, conv(256, 14, 256)) / conv(256, 14, 256).macs


@given(st.integers(1, 600), st.integers(1, 600), st.sampled_from([1, 3, 5]), st.integers(1, 40), st.integers(1, 64))
def test_more_of_anything_never_costs_less(cin, cout, k, side, batch):
    cin += 4  # few channels have kernels of their own
    base = ms(GPU, conv(cin, side, cout, k, 1, batch))
    more = [conv(cin + 8, side, cout, k, 1, batch), conv(cin, side, cout + 8, k, 1, batch)]
    more += [conv(cin, side + 1, cout, k, 1, batch), conv(cin, side, cout, k, 1, batch + 1)]
    assert all(ms(GPU, kernel) >= base * 0.999 for kernel in more)


def test_a_fit_finds_a_gpu_back_from_noisy_latencies():
    true = replace(GPU, macs_per_ms=3e10, bytes_per_ms=4e8, launch_ms=0.03, winograd=0.6, depthwise_k3=0.5)
    kernels, others = some_kernels(800, 0), some_kernels(400, 1)
    noise = np.exp(0.03 * np.random.default_rng(2).normal(size=800))
    latency_ms = true.predict_ms(kernels) * noise
    latency_ms[::50] *= 5  # measurements that went wrong
    fitted = fit_roofline(GPU, kernels, latency_ms)
    held = errors_of(fitted, others, true.predict_ms(others))
    assert held.mape < 0.03
    assert fitted.launch_ms == pytest.approx(0.03, rel=0.1)
    assert fitted.winograd == pytest.approx(0.6, rel=0.1)


@pytest.mark.parametrize(("precision", "most"), [("fp32", 0.18), ("fp16", 0.26)])
def test_v100_rows_are_fitted_as_well_as_documented(precision, most):
    file = V100 / f"v100_trt_conv_{precision}_80.csv.gz"
    if not file.exists():
        pytest.skip(f"{file} is absent")
    rows = pd.read_csv(file).sample(6000, random_state=0).to_numpy()
    kernels = [
        depthwise(cout, h, k, batch)._replace(shape=(cout, -(-h // s), -(-h // s)), stride=s, adds=bool(adds))
        if kind == "Depthwise"
        else conv(cin, h, cout, k, s, batch, adds=bool(adds))
        for kind, batch, cin, h, _, cout, k, s, adds, _ in rows
    ]
    latency_ms = rows[:, -1].astype(float)
    fitted = fit_roofline(replace(GPU, precision=precision), kernels[:4000], latency_ms[:4000])
    held = errors_of(fitted, kernels[4000:], latency_ms[4000:])
    assert held.mape < most
    assert held.spearman > 0.96


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "fp8"}, "gpu: precision='fp8', expected one of fp32, fp16, int8"),
        ({"launch_ms": 0.0}, "gpu: launch_ms=0.0, expected a positive number"),
        ({"bytes_per_ms": float("nan")}, "gpu: bytes_per_ms=nan, expected a positive number"),
    ],
)
def test_impossible_gpus_are_refused(change, message):
    with pytest.raises(InvalidGpu, match=message):
        replace(GPU, **change)


def test_unusable_latencies_are_refused():
    kernels = some_kernels(40, 0)
    with pytest.raises(FitFailed, match="12 kernels and 12 latencies, expected as many of both, 30 or more"):
        fit_roofline(GPU, kernels[:12], np.ones(12))
    latency_ms = np.ones(40)
    latency_ms[6] = -1
    with pytest.raises(FitFailed, match="latency 7 is -1 ms, expected a positive number"):
        fit_roofline(GPU, kernels, latency_ms)


def test_a_gpu_survives_json():
    assert GpuRoofline.from_dict(GPU.to_dict()) == GPU
    with pytest.raises(InvalidGpu, match="unknown field 'clock'"):
        GpuRoofline.from_dict({**GPU.to_dict(), "clock": 1})
