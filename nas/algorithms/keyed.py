"""Random generators keyed by (seed, number), for many numbers at a time: those of ``numpy.random.default_rng``.

Making one takes NumPy some 12 µs, most of it for hashing the key. Here the keys of a block of numbers are hashed
together, by NumPy's own published algorithm (O'Neill's seed_seq with 32-bit words, then PCG64's seeding), and one
generator is set to each state in turn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]
BLOCK = 1024  # numbers that are hashed together
POOL = 4
_MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645  # of PCG64
_128 = (1 << 128) - 1
_32 = 0xFFFFFFFF


class KeyedGenerators:
    """Gives the generator of a number; it is valid until the next one is asked for.

    Args:
        seed: first part of the key, >= 0.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generator = np.random.Generator(np.random.PCG64(0))
        self._bits = self._generator.bit_generator
        self._first = -1
        self._states: list[tuple[int, int]] = []

    def at(self, number: int) -> np.random.Generator:
        """A generator in the state of ``default_rng((seed, number))``."""
        if number > _32:  # two words
            return np.random.default_rng((self._seed, number))
        first = number - number % BLOCK
        if first != self._first:
            numbers = np.arange(first, first + BLOCK, dtype=np.uint64).astype(np.uint32)
            self._states, self._first = pcg64_states(self._seed, numbers), first
        state, increment = self._states[number - first]
        self._bits.state = {
            "bit_generator": "PCG64",
            "state": {"state": state, "inc": increment},
            "has_uint32": 0,
            "uinteger": 0,
        }
        return self._generator


def pcg64_states(seed: int, numbers: Words) -> list[tuple[int, int]]:
    """State and increment of PCG64 seeded with (seed, number), for numbers below 2**32."""
    seed_words = [seed >> shift & _32 for shift in range(0, max(1, seed.bit_length()), 32)]
    entropy = [*(np.full_like(numbers, word) for word in seed_words), numbers]
    low = _generated(_pool(entropy, len(numbers)))
    initial = [int(a) << 64 | int(b) for a, b in zip(low[0], low[1], strict=True)]
    sequence = [int(a) << 64 | int(b) for a, b in zip(low[2], low[3], strict=True)]
    found = []
    for start, stream in zip(initial, sequence, strict=True):
        increment = (stream << 1 | 1) & _128
        found.append((((increment + start) * _MULTIPLIER + increment) & _128, increment))
    return found


class _Hash:
    """The multiplicative hash whose constant changes with every use."""

    def __init__(self, constant: int, multiplier: int) -> None:
        self.constant, self.multiplier = constant, multiplier

    def __call__(self, value: Words) -> Words:
        value = value ^ np.uint32(self.constant)
        self.constant = self.constant * self.multiplier & _32
        value = value * np.uint32(self.constant)
        return value ^ (value >> np.uint32(16))


def _mix(x: Words, y: Words) -> Words:
    result: Words = x * np.uint32(0xCA01F9DD) - y * np.uint32(0x4973F715)
    return result ^ (result >> np.uint32(16))


def _pool(entropy: list[Words], count: int) -> list[Words]:
    """The entropy pool of seed_seq."""
    hashed = _Hash(0x43B0D7E5, 0x931E8875)
    zero = np.zeros(count, np.uint32)
    pool = [hashed(entropy[i] if i < len(entropy) else zero) for i in range(POOL)]
    for source in range(POOL):
        for target in range(POOL):
            if source != target:
                pool[target] = _mix(pool[target], hashed(pool[source]))
    for word in entropy[POOL:]:
        for target in range(POOL):
            pool[target] = _mix(pool[target], hashed(word))
    return pool


def _generated(pool: list[Words]) -> list[NDArray[np.uint64]]:
    """Four 64-bit words made of the pool."""
    hashed = _Hash(0x8B51F9DD, 0x58F38DED)
    words = [hashed(pool[i % POOL]).astype(np.uint64) for i in range(8)]
    return [words[2 * i] | words[2 * i + 1] << np.uint64(32) for i in range(4)]
