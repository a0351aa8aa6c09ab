"""Reader and writer of the nested block tokens in which BINAS and HardCoRe-NAS publish their networks.

``[['ds_r1_k3_s1_e1_c16_nre'], ['ir_r1_k5_s2_e3_c24_nre_se0.25', …], …, ['cn_r1_k1_s1_c960']]``: ds is a depthwise
separable block, ir an inverted residual, cn a convolution; r repeats, k kernel, s stride, e expansion, c channels, n
activation (hard swish where none is given), se the gate. The stem and the pooled head of 1280 features are not in the
text: the stem has 40 channels where the first block has 24 (width 1.2), else 32.
Source: Nayman et al. 2021 (arXiv 2110.12399), released strings and code.
"""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from itertools import pairwise

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.block_limits import check_block
from search_spaces.layers import HARD_SWISH, RELU, RELU6, SILU

HEAD = Block("pooled_conv_bias", 1280, 1, act=HARD_SWISH)
MAX_TEXT, MAX_REPEATS = 100_000, 100
_WIDE, _WIDE_STEM, _STEM = 24, 40, 32
_ACTS = {"re": RELU, "r6": RELU6, "hs": HARD_SWISH, "sw": SILU}
_NAMES = {act: name for name, act in _ACTS.items()}
_KINDS = {"ds": "mbconv", "ir": "mbconv", "cn": "conv"}
_OPTION = re.compile(r"(se|[rksec])([0-9]{1,6}(?:\.[0-9]{1,6})?)|n([a-z0-9]{1,8})")


def looks_like(text: str) -> bool:
    """Whether the text is meant to be a list of such stages."""
    return re.match(r"""\s*["']?\s*\[\s*\[\s*["'][a-z]+_""", text) is not None


def read(text: str) -> tuple[Architecture, int]:
    """Read a network.

    Returns: the architecture with its stem and head, and its number of input channels, 3.
    Raises: InvalidArchitecture: naming the stage, the token and the field.
    """
    blocks: list[Block] = []
    for i, stage in enumerate(_stages(text)):
        for j, token in enumerate(stage):
            where = f"block tokens, stage {i}, block {j} {token[:60]!r}"
            block, repeats = _read_token(token, where)
            if j and block.stride != 1:
                raise InvalidArchitecture(f"{where}: s={block.stride}, expected 1 but in the first block of a stage")
            blocks += [block, *[replace(block, stride=1)] * (repeats - 1)]
    stem = Block("conv", _WIDE_STEM if blocks[0].channels == _WIDE else _STEM, 3, 2, act=HARD_SWISH)
    return Architecture((stem, *blocks, HEAD)), 3


def _stages(text: str) -> list[list[str]]:
    expected = "expected [['ds_r1_k3_s1_e1_c16_nre'], …, ['cn_r1_k1_s1_c960']]"
    if len(text) > MAX_TEXT:
        raise InvalidArchitecture(f"block tokens: {len(text)} characters, expected at most {MAX_TEXT}")
    bare = text.strip()
    if bare[:1] in ('"', "'"):
        bare = bare[1:].removesuffix(bare[0])
    try:
        data = ast.literal_eval(bare)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        raise InvalidArchitecture(f"block tokens: no list of lists; {expected}") from None
    rows = data if isinstance(data, list) else []
    if not rows or not all(isinstance(row, list) and row and all(isinstance(t, str) for t in row) for row in rows):
        raise InvalidArchitecture(f"block tokens: got {str(data)[:60]!r}; {expected}")
    return rows


def _read_token(token: str, where: str) -> tuple[Block, int]:
    letters, *options = token.split("_")
    if letters not in _KINDS:
        raise InvalidArchitecture(f"{where}: type {letters!r}, expected one of {', '.join(_KINDS)}")
    numbers: dict[str, float] = {}
    act = HARD_SWISH
    for option in options:
        match = _OPTION.fullmatch(option)
        if match is None or (match[3] and match[3] not in _ACTS):
            acts = ", ".join(f"n{name}" for name in _ACTS)
            raise InvalidArchitecture(f"{where}: {option!r}, expected r, k, s, e, c or se with a number, or {acts}")
        if match[3]:
            act = _ACTS[match[3]]
        elif match[1] in numbers:
            raise InvalidArchitecture(f"{where}: {match[1]} stands twice, expected it once")
        else:
            numbers[match[1]] = float(match[2])
    _check_numbers(letters, numbers, where)
    r, k, s, e, c = (int(numbers.get(name, 1)) for name in "rksec")
    expansion = 0 if letters == "cn" else e
    block = Block(_KINDS[letters], c, k, s, expansion=expansion, se="se" in numbers, act=act)
    check_block(block, where)
    return block, r


def _check_numbers(letters: str, numbers: dict[str, float], where: str) -> None:
    """Every needed number is there, whole and within what the type takes."""
    needed = "rkse" if letters == "ir" else "rks"
    for name in (*needed, "c"):
        if name not in numbers:
            raise InvalidArchitecture(f"{where}: {name} is missing, expected {name} and a number")
    for name, value in numbers.items():
        if name == "se" and (value != 0.25 or letters == "cn"):
            raise InvalidArchitecture(f"{where}: se={value:g}, expected {'no gate' if letters == 'cn' else 'se0.25'}")
        if name != "se" and value != int(value):
            raise InvalidArchitecture(f"{where}: {name}={value:g}, expected a whole number")
    if not 1 <= numbers["r"] <= MAX_REPEATS:
        raise InvalidArchitecture(f"{where}: r={numbers['r']:g}, expected 1 to {MAX_REPEATS}")
    e = numbers.get("e", 1)
    if letters == "ir" and e < 2:
        raise InvalidArchitecture(f"{where}: e={e:g}, expected 2 or more (ds is the block without expansion)")
    if letters != "ir" and e != 1:
        raise InvalidArchitecture(f"{where}: e={e:g}, expected 1 for {letters}")


def write(arch: Architecture, in_channels: int = 3) -> str:
    """The nested tokens; a stage begins where the width changes or the map is halved.

    Raises: InvalidArchitecture: a block that the tokens do not have, another stem or head, or other than 3 channels.
    """
    stem, *body, head = arch.blocks if len(arch.blocks) > 2 else (Block("conv", 1), Block("conv", 1), HEAD)
    expected = Block("conv", _WIDE_STEM if body[0].channels == _WIDE else _STEM, 3, 2, act=HARD_SWISH)
    if in_channels != 3 or stem != expected or head != HEAD:
        raise InvalidArchitecture(
            f"block tokens: {in_channels} input channels, stem {stem}, head {head}; expected 3, {expected}, {HEAD}"
        )
    stages: list[list[str]] = [[_write_token(body[0], 1)]]
    for i, (before, block) in enumerate(pairwise(body), 2):
        if before.channels != block.channels or before.kind != block.kind or block.stride != 1:
            stages.append([])
        stages[-1].append(_write_token(block, i))
    return repr(stages)


def _write_token(block: Block, at: int) -> str:
    if block.kind not in ("mbconv", "conv") or block.act not in _NAMES or block.depth != 1:
        raise InvalidArchitecture(
            f"block tokens: blocks[{at}] is {block}, expected mbconv or conv of depth 1 with {', '.join(_NAMES)}"
        )
    act = "" if block.act == HARD_SWISH else f"_n{_NAMES[block.act]}"
    gate = "_se0.25" if block.se else ""
    if block.kind == "conv":
        return f"cn_r1_k{block.kernel}_s{block.stride}_c{block.channels}{act}"
    letters = "ds" if block.expansion == 1 else "ir"
    return f"{letters}_r1_k{block.kernel}_s{block.stride}_e{block.expansion}_c{block.channels}{act}{gate}"
