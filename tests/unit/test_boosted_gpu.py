"""Boosted trees on a roofline: they learn what it misses, keep its order where asked to, and state honest intervals."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardware.boosted_gpu import BoostedGpu, fit_boosted
from hardware.calibration import held_out
from hardware.gpu_roofline import GpuRoofline, InvalidGpu
from hardware.importers.tinynas_rows import read_tinynas_rows
from hardware.kernel_arrays import KernelArrays
from hardware.kernels import Kernel
from hardware.roofline_fit import FitFailed

GPU = GpuRoofline(80, "fp32", 6e6, macs_per_ms=6e9, bytes_per_ms=9e8, launch_ms=0.01)
DATA = Path(os.environ.get("NETWRIGHT_DATA") or Path(__file__).parents[3] / "shared" / "data")
NOISE = 0.03


def some_kernels(count: int, seed: int) -> list[Kernel]:
    rng = np.random.default_rng(seed)
    found = set()
    while len(found) < count:
        cin, cout, side = int(rng.integers(1, 64)) * 8, int(rng.integers(1, 64)) * 8, int(rng.integers(4, 60))
        k, stride, batch = int(rng.choice([1, 3, 5])), int(rng.choice([1, 2])), int(rng.choice([1, 8, 64]))
        out = -(-side // stride)
        if rng.random() < 0.2:
            found.add(Kernel("depthwise", (cin, side, side), (cin, out, out), k, stride, cin, batch=batch))
        else:
            kind, adds = "pointwise" if k == 1 else "conv", bool(rng.random() < 0.3)
            found.add(Kernel(kind, (cin, side, side), (cout, out, out), k, stride, adds=adds, batch=batch))
    return sorted(found)


def measured(kernels: list[Kernel], seed: int) -> np.ndarray:
    """A device with a quirk that no roofline knows: odd sides cost 60 % more; and noise."""
    odd = np.array([kernel.in_shape[1] % 2 for kernel in kernels])
    noise = np.random.default_rng(seed).normal(0, NOISE, len(kernels))
    return GPU.predict_ms(kernels) * (1 + 0.6 * odd) * np.exp(noise)


KERNELS, FRESH = some_kernels(1000, 0), some_kernels(600, 1)
MS, FRESH_MS = measured(KERNELS, 2), measured(FRESH, 3)


@pytest.fixture(scope="module")
def model() -> BoostedGpu:
    return fit_boosted(GPU, KERNELS, MS)


def test_trees_learn_what_the_roofline_cannot(model):
    fresh = held_out(model.predict_ms(FRESH), FRESH_MS)
    assert held_out(model.roofline.predict_ms(FRESH), FRESH_MS).mape > 0.15
    assert fresh.mape < 0.06
    assert model.held_out.mape == pytest.approx(fresh.mape, rel=0.25)


@pytest.mark.parametrize("confidence", [0.6, 0.9, 0.95])
def test_intervals_cover_what_they_state(model, confidence):
    bounds = model.bounds(FRESH, confidence)
    inside = (bounds.low_ms <= FRESH_MS) & (bounds.high_ms >= FRESH_MS)
    assert confidence - 0.05 < inside.mean() < confidence + 0.09  # folds have fewer rows than the model
    assert np.all(bounds.low_ms < bounds.high_ms)


def test_json_holds_the_whole_model(model):
    again = BoostedGpu.from_json(model.to_json())
    np.testing.assert_array_equal(again.predict_ms(FRESH), model.predict_ms(FRESH))
    np.testing.assert_allclose(again.bounds(FRESH).high_ms, model.bounds(FRESH).high_ms, rtol=1e-4)
    assert again.held_out == model.held_out
    with pytest.raises(InvalidGpu, match="GPU model: cannot be read"):
        BoostedGpu.from_json(model.to_json()[:-9])


def test_a_monotone_model_never_charges_less_for_more():
    model = fit_boosted(GPU, KERNELS[::2], MS[::2], monotone=True)
    work = KernelArrays.of([kernel for kernel in FRESH if kernel.kind != "depthwise"])
    base = model.predict_ms(work)
    for name in ("batch", "channels", "in_channels", "adds"):
        more = work._replace(**{name: np.ones_like(work.adds) if name == "adds" else 2 * getattr(work, name)})
        assert np.all(model.predict_ms(more) >= base * (1 - 1e-6)), name


def test_nothing_asked_nothing_predicted(model):
    assert model.predict_ms([]).shape == (0,)


def test_rows_that_cannot_be_learned_are_refused():
    with pytest.raises(FitFailed, match="12 kernels and 12 latencies"):
        fit_boosted(GPU, KERNELS[:12], MS[:12])
    with pytest.raises(FitFailed, match="latency 5 is nan ms"):
        fit_boosted(GPU, KERNELS[:40], np.where(np.arange(40) == 4, np.nan, MS[:40]))


@pytest.mark.parametrize(("precision", "most"), [("fp32", 0.13), pytest.param("fp16", 0.17, marks=pytest.mark.slow)])
def test_a_thousand_rows_of_a_v100_predict_the_others(precision, most):
    file = DATA / "v100_conv_trt" / f"v100_trt_conv_{precision}_80.csv.gz"
    if not file.exists():
        pytest.skip(f"{file} is absent; NETWRIGHT_DATA names the folder")
    rows = read_tinynas_rows(file, "v100", precision).kernels
    chosen = np.random.default_rng(20).permutation(len(rows))[:3000]
    kernels, ms = [rows[i].kernel for i in chosen], np.array([rows[i].latency_ms for i in chosen])
    model = fit_boosted(replace(GPU, precision=precision), kernels[:1000], ms[:1000])
    assert held_out(model.predict_ms(kernels[1000:]), ms[1000:]).mape < most
