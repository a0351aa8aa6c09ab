"""Many streams of NumPy's PCG64 side by side: seeded by (seed, number), and their first words.

Making one stream takes NumPy some 12 µs, most of it for hashing the key, and drawing one number from it some 2 µs, all
of it to get in and out of NumPy. Here the keys of many numbers are hashed together, and their streams step together, by
NumPy's own published algorithms: O'Neill's seed_seq with 32-bit words, PCG64's seeding, and PCG XSL-RR 128/64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]
LongWords = NDArray[np.uint64]
MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645
POOL = 4
MASK_32 = 0xFFFFFFFF
_MASK_64 = (1 << 64) - 1
_SHIFT, _LOW = np.uint64(32), np.uint64(MASK_32)


@dataclass(frozen=True, slots=True)
class Wide:
    """Numbers of 128 bits, as arrays of their upper and lower halves; sums and products are modulo 2 ** 128."""

    high: LongWords
    low: LongWords

    @classmethod
    def constant(cls, value: int) -> Wide:
        """One number."""
        return cls(np.array([value >> 64], np.uint64), np.array([value & _MASK_64], np.uint64))

    def __add__(self, other: Wide) -> Wide:
        low = self.low + other.low
        return Wide(self.high + other.high + (low < self.low), low)

    def __mul__(self, other: Wide) -> Wide:
        high = _high_product(self.low, other.low) + self.high * other.low + self.low * other.high
        return Wide(high, self.low * other.low)

    def doubled_plus_one(self) -> Wide:
        """2 x + 1."""
        one = np.uint64(1)
        return Wide(self.high << one | self.low >> np.uint64(63), self.low << one | one)

    def integer(self, index: int) -> int:
        """One of the numbers."""
        return int(self.high[index]) << 64 | int(self.low[index])


def _high_product(a: LongWords, b: LongWords) -> LongWords:
    """The upper 64 of the 128 bits of products."""
    a_high, a_low, b_high, b_low = a >> _SHIFT, a & _LOW, b >> _SHIFT, b & _LOW
    middle = a_high * b_low + (a_low * b_low >> _SHIFT)
    lower = a_low * b_high + (middle & _LOW)
    product: LongWords = a_high * b_high + (middle >> _SHIFT) + (lower >> _SHIFT)
    return product


_WIDE_MULTIPLIER = Wide.constant(MULTIPLIER)


@dataclass(frozen=True, slots=True)
class Streams:
    """Streams of PCG64, one for each number.

    Attributes:
        state: of 128 bits.
        increment: of 128 bits, odd.
    """

    state: Wide
    increment: Wide

    @classmethod
    def keyed(cls, seed: int, numbers: Words) -> Streams:
        """In the state of ``PCG64((seed, number))``, for numbers below 2 ** 32."""
        seed_words = [seed >> shift & MASK_32 for shift in range(0, max(1, seed.bit_length()), 32)]
        entropy = [*(np.full_like(numbers, word) for word in seed_words), numbers]
        words = _generated(_pool(entropy, len(numbers)))
        increment = Wide(words[2], words[3]).doubled_plus_one()
        start = Wide(words[0], words[1]) + increment
        return cls(start * _WIDE_MULTIPLIER + increment, increment)

    def next(self) -> Streams:
        """Each a step further."""
        return Streams(self.state * _WIDE_MULTIPLIER + self.increment, self.increment)

    def words(self, count: int) -> LongWords:
        """The next words of each stream; shape (streams, count)."""
        found = np.empty((len(self.state.low), count), np.uint64)
        streams = self
        for i in range(count):
            streams = streams.next()
            high, low = streams.state.high, streams.state.low
            turn, folded = high >> np.uint64(58), high ^ low
            found[:, i] = folded >> turn | folded << (np.uint64(64) - turn & np.uint64(63))
        return found


class _Hash:
    """The multiplicative hash whose constant changes with every use."""

    def __init__(self, constant: int, multiplier: int) -> None:
        self.constant, self.multiplier = constant, multiplier

    def __call__(self, value: Words) -> Words:
        value = value ^ np.uint32(self.constant)
        self.constant = self.constant * self.multiplier & MASK_32
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


def _generated(pool: list[Words]) -> list[LongWords]:
    """Four 64-bit words made of the pool."""
    hashed = _Hash(0x8B51F9DD, 0x58F38DED)
    words = [hashed(pool[i % POOL]).astype(np.uint64) for i in range(8)]
    return [words[2 * i] | words[2 * i + 1] << _SHIFT for i in range(4)]
