"""NAS-Bench-Macro: eight positions, each nothing or one of two inverted residuals, all 6,561 trained on CIFAR-10.

A network is published as a code of eight digits; as text here, ``macro:01210212``. Digit 0 is nothing (a projection
where the width changes), 1 a block of kernel 3 and expansion 3, 2 of kernel 5 and expansion 6, all with ReLU. Where
nothing stands does not matter: the codes make 3,969 distinct networks, of which the benchmark holds several trainings;
written codes have the zeros of a stage last.
Source: Su et al. 2021 (arXiv 2103.11922) and the released network. Checked against: tests/golden/nas_bench_macro.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import takewhile

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.space import GridSpace, Knob, Value

PREFIX = "macro:"
STEM, HEAD = Block("conv", 32), Block("conv", 1280, 1)
STAGES = ((64, 2), (128, 3), (256, 3))  # (width, positions); the first position halves the map
_EXPECTED = f"{PREFIX} and eight digits of 0, 1 and 2"


class MacroSpace(GridSpace):
    """The 3**8 codes; knob ``i`` is the digit of position i, from 1."""

    name = "nas-bench-macro"
    knobs = tuple(Knob(f"{i}", (0, 1, 2)) for i in range(1, sum(size for _, size in STAGES) + 1))

    def decode(self, values: Mapping[str, Value]) -> Architecture:
        """Stem, the operations that are not nothing, head."""
        digits = (int(values[knob.name]) for knob in self.knobs)
        blocks = [_block(next(digits), width, at == 0) for width, size in STAGES for at in range(size)]
        return Architecture((STEM, *(block for block in blocks if block is not None), HEAD))

    def values_of(self, arch: Architecture) -> dict[str, Value]:
        """The digits, those of nothing last in their stage."""
        blocks = arch.blocks
        if len(blocks) < 2 + len(STAGES):
            raise InvalidArchitecture(f"{self.name}: {len(blocks)} blocks, expected at least {2 + len(STAGES)}")
        for i, fixed in ((0, STEM), (-1, HEAD)):
            if blocks[i] != fixed:
                raise InvalidArchitecture(f"{self.name}: blocks[{i}] is {blocks[i]}, expected {fixed}")
        digits: list[int] = []
        at = 1
        for width, size in STAGES:
            found = list(takewhile(lambda b, width=width: b.channels == width, blocks[at:-1]))  # type: ignore[misc]
            if not 1 <= len(found) <= size:
                raise InvalidArchitecture(
                    f"{self.name}: blocks[{at + min(len(found), size)}] is {blocks[at + min(len(found), size)]}, "
                    f"expected 1 to {size} blocks of {width} channels"
                )
            read = [self._digit(b, width, j == 0, at + j) for j, b in enumerate(found)]
            digits += read + [0] * (size - len(read))
            at += len(found)
        if at != len(blocks) - 1:
            raise InvalidArchitecture(f"{self.name}: blocks[{at}] is {blocks[at]}, expected the head {HEAD}")
        return {knob.name: digit for knob, digit in zip(self.knobs, digits, strict=True)}

    def _digit(self, block: Block, width: int, opens: bool, at: int) -> int:
        choices = {digit: _block(digit, width, opens) for digit in (0, 1, 2) if opens or digit}
        for digit, expected in choices.items():
            if block == expected:
                return digit
        shown = " or ".join(str(choice) for choice in choices.values())
        raise InvalidArchitecture(f"{self.name}: blocks[{at}] is {block}, expected {shown}")


def _block(digit: int, width: int, opens: bool) -> Block | None:
    stride = 2 if opens else 1
    if digit == 0:
        return Block("projection", width, 1, stride) if opens else None
    kernel, expansion = (3, 3) if digit == 1 else (5, 6)
    return Block("mbconv", width, kernel, stride, expansion=expansion)


NAS_BENCH_MACRO = MacroSpace()


def looks_like(text: str) -> bool:
    """Whether the text is meant to be a code of NAS-Bench-Macro."""
    return text.lstrip().startswith(PREFIX)


def read(text: str) -> tuple[Architecture, int]:
    """Read ``macro:01210212``.

    Returns: the architecture and its number of input channels, 3.
    Raises: InvalidArchitecture: naming the digit.
    """
    code = text.strip().removeprefix(PREFIX)
    if len(code) != len(NAS_BENCH_MACRO.knobs):
        raise InvalidArchitecture(
            f"NAS-Bench-Macro code {text.strip()[:60]!r}: {len(code)} digits, expected {_EXPECTED}"
        )
    if wrong := re.search(r"[^012]", code):
        raise InvalidArchitecture(
            f"NAS-Bench-Macro code {text.strip()!r}: digit {wrong.start() + 1} is {wrong[0]!r}, expected {_EXPECTED}"
        )
    values = {knob.name: int(digit) for knob, digit in zip(NAS_BENCH_MACRO.knobs, code, strict=True)}
    return NAS_BENCH_MACRO.decode(values), 3


def write(arch: Architecture, in_channels: int = 3) -> str:
    """The code of a member, the zeros of a stage last.

    Raises: InvalidArchitecture: no member, or other than 3 input channels.
    """
    if in_channels != 3:
        raise InvalidArchitecture(f"NAS-Bench-Macro code: {in_channels} input channels, expected 3")
    return PREFIX + "".join(map(str, NAS_BENCH_MACRO.values_of(arch).values()))
