"""Which choices make a block: bounds of every field, and which fields a kind has."""

from __future__ import annotations

from search_spaces.arch import Block, InvalidArchitecture
from search_spaces.blocks import BLOCKS
from search_spaces.blocks.kind import BlockKind
from search_spaces.layers import ACTIVATIONS

MAX_CHANNELS, MAX_KERNEL, MAX_DEPTH, MAX_EXPANSION = 65_536, 255, 1_000, 256  # beyond every published network
MAX_HEADS = 1_024
MIN_BITS, MAX_BITS = 2, 16
_OPTIONAL = {
    "inner": MAX_CHANNELS,
    "expansion": MAX_EXPANSION,
    "heads": MAX_HEADS,
    "head_width": MAX_CHANNELS,
    "group_width": MAX_CHANNELS,
}


def check_block(block: Block, where: str = "block") -> None:
    """Raise InvalidArchitecture unless the block's choices make sense for its kind."""
    if block.kind not in BLOCKS:
        raise InvalidArchitecture(f"{where}.kind={block.kind!r}, expected one of {', '.join(BLOCKS)}")
    kind = BLOCKS[block.kind]
    for name, (least, most) in _limits(kind).items():
        if not least <= getattr(block, name) <= most:
            raise InvalidArchitecture(
                f"{where}.{name}={getattr(block, name)}, expected {_range(least, most)} for {block.kind}"
            )
    if block.kernel % 2 == 0 and not kind.even_kernel:
        raise InvalidArchitecture(f"{where}.kernel={block.kernel}, expected an odd number")
    problem = _check_names(block, kind) or _check_bits(block, kind) or (kind.refuse(block) if kind.refuse else None)
    if problem:
        raise InvalidArchitecture(f"{where}.{problem}")


def _limits(kind: BlockKind) -> dict[str, tuple[int, int]]:
    limits = {"channels": (1, MAX_CHANNELS), "kernel": (1, MAX_KERNEL), "stride": (1, 2), "depth": (1, MAX_DEPTH)}
    return limits | {name: (1, most) if name in kind.uses else (0, 0) for name, most in _OPTIONAL.items()}


def _range(least: int, most: int) -> str:
    return f"{least} to {most}" if most > least else str(least)


def _check_names(block: Block, kind: BlockKind) -> str | None:
    if block.se and "se" not in kind.uses:
        return f"se=True, expected False for {block.kind}"
    if block.act not in (ACTIVATIONS if "act" in kind.uses else ("relu",)):
        return (
            f"act={block.act!r}, expected {', '.join(ACTIVATIONS) if 'act' in kind.uses else 'relu'} for {block.kind}"
        )
    if block.ops and "ops" not in kind.uses:
        return f"ops={block.ops!r}, expected none for {block.kind}"
    return None


def _check_bits(block: Block, kind: BlockKind) -> str | None:
    if not block.weight_bits and not block.activation_bits:
        return None
    wanted = kind.quantised * block.depth
    if not wanted:
        return f"weight_bits={block.weight_bits}, expected none for {block.kind}"
    for name in ("weight_bits", "activation_bits"):
        bits = getattr(block, name)
        if len(bits) != wanted or not all(MIN_BITS <= each <= MAX_BITS for each in bits):
            return (
                f"{name}={bits}, expected {wanted} numbers of {MIN_BITS} to {MAX_BITS}, one for each of the "
                f"{kind.quantised} convolutions of {block.depth} sub-layers"
            )
    return None
