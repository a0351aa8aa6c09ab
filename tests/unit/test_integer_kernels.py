"""How many bits weights may have on a CPU."""

import platform

import pytest

from hardware import machine
from hardware.integer_kernels import weight_bits_here


@pytest.mark.parametrize(
    ("architecture", "info", "bits", "said"),
    [
        ("x86_64", {"flags": "fpu avx2 avx512f avx512_vnni"}, 8, "has avx512_vnni"),
        ("AMD64", {"flags": "fpu avx2 avx_vnni"}, 8, "has avx_vnni"),
        ("x86_64", {"flags": "fpu avx2 avx512f"}, 7, "no VNNI"),
        ("aarch64", {"Features": "fp asimd"}, 8, "aarch64"),
        ("x86_64", {}, 7, "not known"),
    ],
)
def test_bits_follow_what_the_cpu_has(monkeypatch, architecture, info, bits, said):
    monkeypatch.setattr(platform, "machine", lambda: architecture)
    monkeypatch.setattr(machine, "cpu_info", lambda: info)
    found = weight_bits_here()
    assert found.bits == bits
    assert said in found.reason
