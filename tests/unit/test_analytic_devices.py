"""Named devices, the CPU roofline, and networks from the sum of kernels."""

from dataclasses import replace

import numpy as np
import pytest

from hardware.analytic_devices import (
    ANALYTIC_DEVICES,
    ERRORS,
    GPUS,
    UNVERIFIED,
    UnknownAnalyticDevice,
    analytic_device,
)
from hardware.analytic_latency import AnalyticLatency
from hardware.cpu_roofline import CpuRoofline, InvalidCpu, inner_taps
from hardware.kernel_arrays import KernelArrays
from hardware.kernels import Kernel, kernels_of
from hardware.roofline import true_macs
from hardware.roofline_fit import errors_of, fit_roofline
from search_spaces import SPACES
from search_spaces.expand import expand
from search_spaces.layers import CONV, padding_of

CPU = CpuRoofline(8, 4, 5e5, 3e7, 4e7, 5e7, 2e7, 1e7, 0.005)
SHAPE = (3, 64, 64)


def conv(cin: int, side: int, cout: int, k: int = 3, stride: int = 1, groups: int = 1) -> Kernel:
    out = (side + 2 * padding_of(k, stride) - k) // stride + 1
    kind = "grouped" if groups > 1 else "pointwise" if k == 1 else "conv"
    kind = "depthwise" if groups == cin == cout else kind
    return Kernel(kind, (cin, side, side), (cout, out, out), k, stride, groups)


def ms(kernel: Kernel) -> float:
    return float(CPU.predict_ms([kernel])[0])


@pytest.mark.parametrize("name", ANALYTIC_DEVICES)
def test_every_named_device_has_a_source_and_says_what_is_known_of_its_error(name):
    for precision in GPUS[name].peaks if name in GPUS else ("fp32",):
        device = analytic_device(name, precision)
        assert device.source
        assert device.verified == ((name, precision) in ERRORS)
        assert (UNVERIFIED in str(device)) != device.verified
        latency = device.predict_ms([conv(64, 28, 64), conv(64, 28, 64, groups=64)])
        assert np.all(latency > 0)


def test_a_larger_gpu_is_faster_on_large_kernels_and_no_faster_on_tiny_ones():
    heavy, tiny = conv(256, 56, 256)._replace(batch=128), conv(8, 7, 8)
    names = ("jetson-agx-xavier", "t4", "v100", "a100", "h100")
    heavy_ms = [analytic_device(name, "fp16").predict_ms([heavy])[0] for name in names]
    tiny_ms = [analytic_device(name, "fp16").predict_ms([tiny])[0] for name in names]
    assert heavy_ms == sorted(heavy_ms, reverse=True)
    assert heavy_ms[0] > 20 * heavy_ms[-1]
    assert max(tiny_ms[1:]) < 1.5 * min(tiny_ms)


@pytest.mark.parametrize(
    ("name", "precision", "message"),
    [
        ("V101", "fp32", "device 'V101': no data sheet; did you mean 'v100'"),
        ("abacus", "fp32", "expected one of v100, t4"),
        ("v100", "bf16", "precision 'bf16', expected one of fp32, fp16, int8"),
        ("pixel4", "fp16", "precision 'fp16', expected fp32"),
    ],
)
def test_unknown_devices_say_what_there_is(name, precision, message):
    with pytest.raises(UnknownAnalyticDevice, match=message):
        analytic_device(name, precision)


def test_taps_on_padding_cost_nothing():
    layers = [layer for s in SPACES.values() for layer in expand(s.sample(np.random.default_rng(0)), SHAPE)]
    convs = [layer for layer in layers if layer.op == CONV]
    columns = KernelArrays.of([conv(8, x.in_shape[1], 8, x.kernel, x.stride) for x in convs])
    found = inner_taps(columns.in_height, columns.height, columns.kernel, columns.stride)
    assert (found**2 * 64).tolist() == [
        true_macs(layer._replace(in_shape=(8, *layer.in_shape[1:]), shape=(8, *layer.shape[1:]), groups=1))
        for layer in convs
    ]


def test_groups_off_the_vectors_and_odd_widths_cost_more_than_their_work():
    whole, odd = conv(64, 28, 64, groups=8), conv(48, 28, 48, groups=8)
    assert ms(odd) > 1.5 * ms(whole)
    assert ms(conv(64, 28, 65)) == pytest.approx(ms(conv(64, 28, 72)), rel=0.01)


def test_data_beyond_a_cache_cost_the_next_level():
    small, large = conv(16, 32, 16, k=1), conv(16, 512, 16, k=1)
    per_scalar = [float(CPU.memory_ms(KernelArrays.of([k]))[0]) / k.traffic for k in (small, large)]
    assert per_scalar[1] > 2 * per_scalar[0]


def test_a_fit_finds_a_cpu_back():
    true = replace(CPU, macs_per_ms=2e7, odd_groups=5.0, call_ms=0.02)
    rng = np.random.default_rng(0)
    kernels = []
    for _ in range(300):
        cin, side, k = int(rng.choice([3, 16, 64, 96])), int(rng.choice([7, 28, 112])), int(rng.choice([1, 3, 5]))
        groups = int(rng.choice([1, 1, cin, 8 if cin % 8 == 0 else 1]))
        kernels.append(conv(cin, side, cin if groups > 1 else int(rng.choice([16, 100, 256])), k, groups=groups))
    noisy_ms = true.predict_ms(kernels) * np.exp(0.02 * rng.normal(size=300))
    fitted = fit_roofline(CPU, kernels[:200], noisy_ms[:200])
    assert errors_of(fitted, kernels[200:], noisy_ms[200:]).mape < 0.04


def test_an_impossible_cpu_is_refused():
    with pytest.raises(InvalidCpu, match="cpu: call_ms=-1, expected a positive number"):
        replace(CPU, call_ms=-1)
    with pytest.raises(InvalidCpu, match="unknown field 'ghz'"):
        CpuRoofline.from_dict({**CPU.to_dict(), "ghz": 3})
    assert CpuRoofline.from_dict(CPU.to_dict()) == CPU


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_a_network_costs_the_sum_of_its_kernels(space):
    device = analytic_device("v100", "fp16")
    model = AnalyticLatency(device, SHAPE, 10, batch=8, factor=1.5)
    for seed in range(3):
        arch = space.sample(np.random.default_rng(seed))
        total = 1.5 * device.predict_ms(kernels_of(expand(arch, SHAPE, 10), 8)).sum()
        estimate = model.estimate(arch)
        assert estimate.mean_ms == pytest.approx(total, rel=1e-9)
        assert estimate.upper_ms == 2 * estimate.mean_ms
        assert sum(model.blocks_ms(arch)) < estimate.mean_ms
