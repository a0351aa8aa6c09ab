"""Reader and writer of the structure strings in which ZenNAS and GENet publish their networks.

A string is a sequence of blocks without separators, for example
``SuperConvK3BNRELU(3,8,1,1)SuperResK3K3(8,16,1,8,1)``. The grammar holds input channels in every block; they are
checked against the previous block (the authors' parser patches a mismatch silently) and not stored.
Source: Lin et al. 2021 (Zen-NAS, arXiv 2102.01063) and Lin et al. 2020 (GENet, arXiv 2006.14090), released strings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.block_limits import check_block

_CALL = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\(([^()]*)\)\s*")
_GENET_KINDS = {"KXKX": "genet_xx", "K1KXK1": "genet_bl", "K1DWK1": "genet_dw"}


@dataclass(frozen=True, slots=True)
class _Call:
    """One ``Class(arguments)`` of the text with its 1-based column."""

    name: str
    args: tuple[float, ...]
    column: int

    def ints(self, count: int, fields: str) -> tuple[int, ...]:
        if len(self.args) != count or any(a != int(a) for a in self.args):
            shown = ",".join(f"{a:g}" for a in self.args)
            raise InvalidArchitecture(
                f"structure string, column {self.column}: {self.name}({shown}), expected {count} integers ({fields})"
            )
        return tuple(int(a) for a in self.args)


Parsed = tuple[int, Block]  # input channels, block


def _super_conv(match: re.Match[str], call: _Call) -> Parsed:
    cin, out, stride, depth = call.ints(4, "in,out,stride,sub_layers")
    return cin, Block("conv", out, kernel=int(match[1]), stride=stride, depth=depth)


def _zen(kind: str) -> Callable[[re.Match[str], _Call], Parsed]:
    def read(match: re.Match[str], call: _Call) -> Parsed:
        cin, out, stride, inner, depth = call.ints(5, "in,out,stride,bottleneck,sub_layers")
        return cin, Block(kind, out, kernel=int(match[1]), stride=stride, depth=depth, inner=inner)

    return read


def _zen_idw(match: re.Match[str], call: _Call) -> Parsed:
    cin, out, stride, inner, depth = call.ints(5, "in,out,stride,bottleneck,sub_layers")
    return cin, Block("zen_idw", out, int(match[2]), stride, depth, inner, expansion=int(match[1]))


def _genet(match: re.Match[str], call: _Call) -> Parsed:
    if len(call.args) != 6 or any(a != int(a) for i, a in enumerate(call.args) if i != 4):
        raise InvalidArchitecture(
            f"structure string, column {call.column}: {call.name}({','.join(f'{a:g}' for a in call.args)}), "
            "expected 6 numbers, all but the expansion whole (in,out,kernel,stride,expansion,sub_layers)"
        )
    cin, out, kernel, stride, _, depth = (int(a) for a in call.args)
    inner = round(out * call.args[4])
    return cin, Block(_GENET_KINDS[match[1]], out, kernel, stride, depth, inner)


_READERS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], _Call], Parsed]], ...] = (
    (re.compile(r"SuperConvK([0-9]{1,4})BNRELU"), _super_conv),
    (re.compile(r"SuperResK1K([0-9]{1,4})K1"), _zen("zen_bl")),
    (re.compile(r"SuperResIDWE([0-9]{1,4})K([0-9]{1,4})"), _zen_idw),
    (re.compile(r"SuperResK([0-9]{1,4})K\1"), _zen("zen_xx")),
    (re.compile(r"SuperRes(KXKX|K1KXK1|K1DWK1)"), _genet),
)
_EXPECTED = (
    "SuperConvK?BNRELU, SuperResK?K?, SuperResK1K?K1, SuperResIDWE?K?, SuperResKXKX, SuperResK1KXK1, "
    "SuperResK1DWK1, ConvKX followed by BN and RELU, AdaptiveAvgPool"
)


def looks_like(text: str) -> bool:
    """Whether the text is meant to be a structure string."""
    return "(" in text and not text.lstrip().startswith(("{", "["))


def read_structure(text: str, *, se: bool = False) -> tuple[Architecture, int]:
    """Read a published structure string.

    Args:
        text: the string; block names before a bar (``name|3,8,1,1``) are dropped.
        se: put squeeze-and-excite into every bottleneck block; the ZenNAS strings keep this outside the text.
    Returns: the architecture and its number of input channels.
    Raises: InvalidArchitecture: with the column, what was found and what was expected.
    """
    blocks: list[Block] = []
    first = channels = None
    calls = list(_calls(text))
    at = 0
    while at < len(calls):
        call = calls[at]
        if call.name in ("AdaptiveAvgPool", "AdaptiveAvgPool2d") and at == len(calls) - 1:
            break
        (cin, block), used = _conv_norm_relu(calls, at) if call.name == "ConvKX" else (_read_block(call), 1)
        if channels is not None and cin != channels:
            raise InvalidArchitecture(
                f"structure string, column {call.column}: {call.name} takes {cin} channels, but gets {channels}"
            )
        check_block(block, f"structure string, column {call.column}: {call.name}")
        first, channels = (cin if first is None else first), block.channels
        blocks.append(replace(block, se=True) if se and block.kind in ("zen_bl", "zen_idw") else block)
        at += used
    if first is None or first < 1:
        raise InvalidArchitecture("structure string, column 1: no block that takes at least one input channel")
    return Architecture(tuple(blocks)), first


def _calls(text: str) -> Iterator[_Call]:
    at = 0
    while at < len(text):
        match = _CALL.match(text, at)
        if match is None:
            raise InvalidArchitecture(
                f"structure string, column {at + 1}: {text[at : at + 24]!r}, expected Class(numbers)"
            )
        column = match.start(1) + 1
        numbers = match[2].rsplit("|", 1)[-1]
        where = f"structure string, column {column}: {match[0].strip()[:60]!r}"
        try:
            args = tuple(float(part) for part in numbers.split(","))
        except ValueError:
            raise InvalidArchitecture(f"{where}, expected numbers between the brackets") from None
        if not all(abs(a) < 1e9 for a in args):
            raise InvalidArchitecture(f"{where}, expected numbers below 1e9")
        yield _Call(match[1], args, column)
        at = match.end()


def _read_block(call: _Call) -> Parsed:
    for pattern, read in _READERS:
        match = pattern.fullmatch(call.name)
        if match:
            return read(match, call)
    raise InvalidArchitecture(
        f"structure string, column {call.column}: unknown class {call.name!r}, expected {_EXPECTED}"
    )


def _conv_norm_relu(calls: list[_Call], at: int) -> tuple[Parsed, int]:
    cin, out, kernel, stride = calls[at].ints(4, "in,out,kernel,stride")
    names = [call.name for call in calls[at + 1 : at + 3]]
    if names != ["BN", "RELU"] or any(call.args != (out,) for call in calls[at + 1 : at + 3]):
        raise InvalidArchitecture(
            f"structure string, column {calls[at].column}: ConvKX is followed by {names}, expected BN({out})RELU({out})"
        )
    return (cin, Block("conv", out, kernel=kernel, stride=stride)), 3


def write_structure(arch: Architecture, in_channels: int = 3) -> str:
    """The structure string of an architecture whose blocks are of the ZenNAS or GENet kinds.

    Squeeze-and-excite is not part of the grammar, so it is refused here; JSON holds it.
    Raises: InvalidArchitecture: a block kind that the grammar does not have.
    """
    genet = any(block.kind.startswith("genet_") for block in arch.blocks)
    parts = []
    for i, block in enumerate(arch.blocks):
        if block.se or block.kind not in _WRITERS:
            what = "squeeze-and-excite" if block.se else f"kind {block.kind!r}"
            raise InvalidArchitecture(f"blocks[{i}]: {what} has no structure string; write JSON instead")
        parts.append(_WRITERS[block.kind](block, in_channels, genet))
        in_channels = block.channels
    if genet:
        parts.append(f"AdaptiveAvgPool({in_channels},1)")
    return "".join(parts)


def _write_conv(b: Block, cin: int, genet: bool) -> str:
    if genet and b.depth == 1:
        return f"ConvKX({cin},{b.channels},{b.kernel},{b.stride})BN({b.channels})RELU({b.channels})"
    return f"SuperConvK{b.kernel}BNRELU({cin},{b.channels},{b.stride},{b.depth})"


def _write_zen(b: Block, cin: int, genet: bool) -> str:
    name = {
        "zen_xx": f"SuperResK{b.kernel}K{b.kernel}",
        "zen_bl": f"SuperResK1K{b.kernel}K1",
        "zen_idw": f"SuperResIDWE{b.expansion}K{b.kernel}",
    }[b.kind]
    return f"{name}({cin},{b.channels},{b.stride},{b.inner},{b.depth})"


def _write_genet(b: Block, cin: int, genet: bool) -> str:
    name = next(text for text, kind in _GENET_KINDS.items() if kind == b.kind)
    return f"SuperRes{name}({cin},{b.channels},{b.kernel},{b.stride},{_ratio(b)},{b.depth})"


def _ratio(block: Block) -> str:
    """The shortest decimal expansion factor from which the reader gets the inner width back."""
    for digits in range(1, 8):
        text = f"{block.inner / block.channels:.{digits}f}"
        if round(block.channels * float(text)) == block.inner:
            return text
    return repr(block.inner / block.channels)


_WRITERS: dict[str, Callable[[Block, int, bool], str]] = {
    "conv": _write_conv,
    "zen_xx": _write_zen,
    "zen_bl": _write_zen,
    "zen_idw": _write_zen,
    "genet_xx": _write_genet,
    "genet_bl": _write_genet,
    "genet_dw": _write_genet,
}
