"""Whether 8-bit weights are exact on this CPU: without VNNI, ONNX Runtime adds products of bytes in 16 bits.

That overflows: 255 * 127 * 2 is more than 32,767. With 7-bit weights, at most 63, no sum of two products does.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

from hardware.machine import cpu_flags

_SAFE = ("avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8")  # by the names of /proc/cpuinfo
_X86 = ("x86_64", "amd64")


@dataclass(frozen=True, slots=True)
class WeightBits:
    """How many bits weights may have here.

    Attributes:
        bits: 8, or 7.
        reason: a sentence.
    """

    bits: int
    reason: str


def weight_bits_here() -> WeightBits:
    """Bits of weights that the integer kernels of this CPU compute exactly."""
    architecture = platform.machine().lower()
    if architecture not in _X86:
        return WeightBits(8, f"{architecture}: its kernels add products of bytes in 32 bits")
    flags = cpu_flags()
    if not flags:
        return WeightBits(7, "whether this CPU has VNNI is not known; 7-bit weights are exact on any")
    safe = [name for name in _SAFE if name in flags]
    if safe:
        return WeightBits(8, f"this CPU has {safe[0]}, which adds products of bytes in 32 bits")
    return WeightBits(7, "this CPU has no VNNI, so sums of 8-bit products may overflow; 7-bit weights cannot")
