"""Reader and writer of the settings in which AutoFormer publishes its networks.

YAML with a section ``RETRAIN`` of ``MLP_RATIO``, ``NUM_HEADS``, ``DEPTH`` and ``EMBED_DIM``, as in its
experiments/subnet; or a dictionary of ``mlp_ratio``, ``num_heads``, ``layer_num`` (or ``depth``) and ``embed_dim``,
which may be one width for each layer, as in its search. Images have 3 channels, patches 16 pixels, heads 64 channels.
Source: the files released with Chen et al. 2021, arXiv 2107.00651.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.autoformer import PUBLISHED_SIZES, transformer
from search_spaces.expand import check_blocks

MAX_TEXT = 100_000  # characters
MAX_LAYERS = 1_000
IN_CHANNELS = 3
_WHERE = "AutoFormer settings"
_FIELDS = ("mlp_ratio", "num_heads", "depth", "embed_dim")


def looks_like(text: str) -> bool:
    """Whether the text is meant to be AutoFormer's settings."""
    lowered = text.lower()
    return ":" in text and "mlp_ratio" in lowered and "num_heads" in lowered


def read(text: str) -> tuple[Architecture, int]:
    """Read published settings.

    Returns: the architecture and its number of input channels, which is 3.
    Raises: InvalidArchitecture: naming the field.
    """
    fields = _fields(text)
    depth = _whole(fields["depth"], "depth", MAX_LAYERS)
    widths = fields["embed_dim"] if isinstance(fields["embed_dim"], list) else [fields["embed_dim"]] * depth
    width = {_whole(value, "embed_dim") for value in _of_length(widths, "embed_dim", depth)}
    if len(width) != 1:
        raise InvalidArchitecture(f"{_WHERE}: embed_dim={sorted(width)}, expected one width for all layers")
    heads = [_whole(value, "num_heads") for value in _of_length(fields["num_heads"], "num_heads", depth)]
    ratios = [_ratio(value) for value in _of_length(fields["mlp_ratio"], "mlp_ratio", depth)]
    arch = transformer(PUBLISHED_SIZES, PUBLISHED_SIZES.patches[0], width.pop(), list(zip(heads, ratios, strict=True)))
    try:
        check_blocks(arch)
    except InvalidArchitecture as error:
        raise InvalidArchitecture(f"{_WHERE}: {error}") from None
    return arch, IN_CHANNELS


def write(arch: Architecture, in_channels: int = IN_CHANNELS) -> str:
    """The settings as YAML; raises InvalidArchitecture for a network that is not of AutoFormer's form."""
    layers = arch.blocks[1:-1]
    width = arch.blocks[0].channels
    ratios = [_shortest_ratio(block.inner, width) for block in layers]
    choices = [(block.heads, ratio) for block, ratio in zip(layers, ratios, strict=True)]
    same = transformer(PUBLISHED_SIZES, PUBLISHED_SIZES.patches[0], width, choices)
    if not layers or in_channels != IN_CHANNELS or same != arch:
        raise InvalidArchitecture(
            f"{_WHERE}: expected patches of 16 pixels of {IN_CHANNELS} channels with 14 x 14 positions, encoder layers "
            "of one width with heads of 64 channels, and a norm"
        )
    lines = ["RETRAIN:", "  MLP_RATIO:", *(f"    - {ratio}" for ratio in ratios)]
    lines += ["  NUM_HEADS:", *(f"    - {block.heads}" for block in layers)]
    return "\n".join([*lines, f"  DEPTH: {len(layers)}", f"  EMBED_DIM: {width}", ""])


def _fields(text: str) -> dict[str, Any]:
    """The four settings by their names in lower case."""
    import yaml

    if len(text) > MAX_TEXT:
        raise InvalidArchitecture(f"{_WHERE}: {len(text)} characters, expected at most {MAX_TEXT}")
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1} column {mark.column + 1}" if mark else ""
        raise InvalidArchitecture(f"{_WHERE}{place}: no YAML, expected {', '.join(_FIELDS)}") from None
    if isinstance(data, Mapping):
        data = data.get("RETRAIN", data)
    if not isinstance(data, Mapping):
        raise InvalidArchitecture(f"{_WHERE}: expected a section RETRAIN with {', '.join(_FIELDS)}")
    found = {str(name).lower(): value for name, value in data.items()}
    found.setdefault("depth", found.pop("layer_num", None))
    for name in _FIELDS:
        if found.get(name) is None:
            hint = "; a space has no network, expected the section RETRAIN" if "search_space" in found else ""
            raise InvalidArchitecture(f"{_WHERE}: {name} is missing{hint}")
    return found


def _of_length(values: Any, name: str, depth: int) -> list[Any]:
    if not isinstance(values, list) or len(values) != depth:
        got = f"{len(values)} values" if isinstance(values, list) else _shown(values)
        raise InvalidArchitecture(f"{_WHERE}: {name} has {got}, expected a list of {depth}, one for each layer (depth)")
    return values


def _whole(value: Any, name: str, most: int | None = None) -> int:
    if type(value) is not int or value < 1 or (most is not None and value > most):
        limit = "or more" if most is None else f"to {most}"
        raise InvalidArchitecture(f"{_WHERE}: {name}={_shown(value)}, expected a whole number, 1 {limit}")
    return value


def _ratio(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value <= 1024:
        raise InvalidArchitecture(f"{_WHERE}: mlp_ratio={_shown(value)}, expected a number above 0, at most 1024")
    return float(value)


def _shown(value: Any) -> str:
    return f"a {type(value).__name__}" if isinstance(value, list | dict) else repr(value)[:60]


def _shortest_ratio(inner: int, width: int) -> float:
    """The ratio of fewest digits that the rounding down turns into this hidden width."""
    for digits in range(1, 17):
        ratio = round(inner / width, digits)
        if int(width * ratio) == inner:
            return ratio
    return inner / width
