"""Random generators keyed by (seed, number), for many numbers in turn: those of ``numpy.random.default_rng``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nas.algorithms.pcg64 import MASK_32, MULTIPLIER, Streams

BLOCK = 1024  # numbers whose streams are made together
HELD = 16  # words of each; a proposal takes half a dozen
_MASK_128 = (1 << 128) - 1
_TO_UNIT = 2.0**-53
_INT64 = np.int64
NONE = -1  # for the half of a word, when no half is left


class KeyedGenerators:
    """Gives the generator of a number; it is valid until the next one is asked for.

    Args:
        seed: first part of the key, >= 0.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generator = _HeldGenerator()
        self._first = -1
        self._streams: Streams
        self._words: list[list[int]] = []

    def __reduce__(self) -> tuple[type[KeyedGenerators], tuple[int]]:
        """A copy makes its own streams."""
        return KeyedGenerators, (self._seed,)

    def at(self, number: int) -> np.random.Generator:
        """A generator that draws as ``default_rng((seed, number))``."""
        if number > MASK_32:  # two words
            return np.random.default_rng((self._seed, number))
        index = number % BLOCK
        first = number - index
        if first != self._first:
            numbers = np.arange(first, first + BLOCK, dtype=np.uint64).astype(np.uint32)
            self._streams, self._first = Streams.keyed(self._seed, numbers), first
            self._words = self._streams.words(HELD).tolist()
        self._generator.begin(self._words[index], self._streams, index)
        return self._generator


class _HeldGenerator(np.random.Generator):
    """Draws single numbers from the words that it was given, as NumPy would, at a fifth of the time.

    For everything else, and beyond these words, NumPy takes over in the state that it would be in.
    """

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))
        self._next, self._half = HELD + 1, NONE

    def begin(self, words: list[int], streams: Streams, index: int) -> None:
        """Stand at the beginning of a stream whose first words are these."""
        self._words, self._streams, self._index = words, streams, index
        self._next, self._half = 0, NONE

    def hand_over(self) -> None:
        """Let NumPy go on from here."""
        if self._next >= HELD + 1:
            return
        state, increment = self._streams.state.integer(self._index), self._streams.increment.integer(self._index)
        for _ in range(self._next):
            state = (state * MULTIPLIER + increment) & _MASK_128
        super().bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": state, "inc": increment},
            "has_uint32": int(self._half >= 0),
            "uinteger": max(0, self._half),
        }
        self._next, self._half = HELD + 1, NONE

    @property
    def bit_generator(self) -> np.random.BitGenerator:
        """NumPy's."""
        self.hand_over()
        return super().bit_generator

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """As ``numpy.random.Generator.random``; a Python number where one is drawn."""
        if self._next >= HELD or size is not None or dtype is not np.float64 or out is not None:
            self.hand_over()
            return super().random(size, dtype, out)
        word = self._words[self._next]
        self._next += 1
        return (word >> 11) * _TO_UNIT

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        """As ``numpy.random.Generator.uniform``; a Python number where one is drawn between Python numbers."""
        if size is not None or not (isinstance(low, (int, float)) and isinstance(high, (int, float))):
            self.hand_over()
            return super().uniform(low, high, size)
        return low + (high - low) * self.random()

    def integers(
        self, low: Any, high: Any = None, size: Any = None, dtype: Any = np.int64, endpoint: bool = False
    ) -> Any:
        """As ``numpy.random.Generator.integers``; a Python number where one is drawn from fewer than 2 ** 32.

        Lemire's method: the upper half of a 32-bit word times the number of choices, drawn again where that is
        unfair; the two halves of a 64-bit word serve two draws.
        """
        first, choices = (0, low) if high is None else (low, high - low)
        plain = size is None and dtype is _INT64 and not endpoint and type(choices) is int
        while plain and 1 < choices <= MASK_32:
            word = self._half
            if word >= 0:
                self._half = NONE
            else:
                at = self._next
                if at >= HELD:
                    break
                both = self._words[at]
                self._next = at + 1
                word, self._half = both & MASK_32, both >> 32
            product = word * choices
            left = product & MASK_32
            if left >= choices or left >= (MASK_32 + 1 - choices) % choices:
                return first + (product >> 32)
        if plain and choices == 1:
            return first
        self.hand_over()
        return super().integers(low, high, size, dtype, endpoint)


def _taken_over(name: str) -> Callable[..., Any]:
    """A method of NumPy's, in the state that it would be in."""
    method = getattr(np.random.Generator, name)

    def called(self: _HeldGenerator, *args: Any, **kwargs: Any) -> Any:
        self.hand_over()
        return method(self, *args, **kwargs)

    return called


for _name in dir(np.random.Generator):
    if not _name.startswith("_") and _name not in vars(_HeldGenerator):
        setattr(_HeldGenerator, _name, _taken_over(_name))
