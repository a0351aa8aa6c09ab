"""What a network *is*: plain, frozen, comparable data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self, TypeVar

SCHEMA_VERSION = 1


class InvalidArchitecture(ValueError):
    """The text, JSON or data does not describe a network; the message says where and what was expected."""


_Kept = TypeVar("_Kept")


class _Keeps:
    """Room for what is found once and kept; outside the fields, so that it is neither compared nor pickled.

    ``functools.cached_property`` needs a dictionary for every object, and a lock.
    """

    __slots__ = ("_digest", "_hash", "_text")
    _digest: str
    _hash: int
    _text: str

    def _keep(self, name: str, value: _Kept) -> _Kept:
        object.__setattr__(self, name, value)
        return value


@dataclass(frozen=True, slots=True)
class Block(_Keeps):
    """One row of an architecture: a block kind and its choices. Input channels are the previous block's.

    Attributes:
        kind: key into ``search_spaces.blocks.BLOCKS``, which says which of the following a kind has.
        channels: output channels, >= 1.
        kernel: side of the square kernel, odd; of the patches of a vision transformer, any.
        stride: of the first sub-layer, 1 or 2; later sub-layers have stride 1.
        depth: number of sub-layers, >= 1.
        inner: width of the bottleneck or of the hidden layer, or side of the position table of patches; 0 where the
            kind has none.
        expansion: expansion factor of an inverted residual; 0 where the kind has none.
        se: squeeze-and-excite after the middle convolution.
        act: activation, a name of ``search_spaces.layers.ACTIVATIONS``.
        heads: of the attention; 0 where the kind has none.
        head_width: channels of one head; 0 where the kind has none.
        group_width: channels of one group of the middle convolution; 0 where the kind has none.
        ops: operations on the edges of a cell, in the notation of its benchmark; "" where the kind has none.
        weight_bits: of the weights of each convolution of all sub-layers, in order; () means float.
        activation_bits: of the inputs of the same convolutions; () means float.
    """

    kind: str
    channels: int
    kernel: int = 3
    stride: int = 1
    depth: int = 1
    inner: int = 0
    expansion: int = 0
    se: bool = False
    act: str = "relu"
    heads: int = 0
    head_width: int = 0
    group_width: int = 0
    ops: str = ""
    weight_bits: tuple[int, ...] = ()
    activation_bits: tuple[int, ...] = ()

    def __hash__(self) -> int:
        """Of the fields that differ most between blocks: a hash is needed at every look-up."""
        try:
            return self._hash
        except AttributeError:
            key = (self.kind, self.channels, self.kernel, self.stride, self.depth, self.inner, self.expansion, self.ops)
            return self._keep("_hash", hash(key))

    def to_json(self) -> str:
        """Canonical text: mutants share their blocks with their parents, and so the texts of these."""
        try:
            return self._text
        except AttributeError:
            return self._keep("_text", _CANONICAL.encode(self.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        """The fields that differ from their default: a field added later changes no digest."""
        found = {name: v for name, default in _DEFAULTS if (v := getattr(self, name)) != default}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "block") -> Self:
        """Read what ``to_dict`` wrote; raises InvalidArchitecture for unknown, missing or ill-typed fields."""
        unknown = sorted(set(data) - _BLOCK_TYPES.keys())
        if unknown:
            raise InvalidArchitecture(f"{where}: unknown field {unknown[0]!r}, expected {', '.join(_BLOCK_TYPES)}")
        for name in ("kind", "channels"):
            if name not in data:
                raise InvalidArchitecture(f"{where}: field {name!r} is missing")
        return cls(**{name: _read_field(name, value, where) for name, value in data.items()})


def _read_field(name: str, value: Any, where: str) -> Any:
    """A field's value from its JSON form, checked for its type."""
    wanted = _BLOCK_TYPES[name]
    whole = not isinstance(value, list) or all(type(item) is int for item in value)
    if type(value) is not wanted or not whole:
        expected = "a list of whole numbers" if wanted is list else f"a value of type {wanted.__name__}"
        raise InvalidArchitecture(f"{where}.{name}={_shorten(value)}, expected {expected}")
    return tuple(value) if isinstance(value, list) else value


_DEFAULTS = tuple((f.name, f.default) for f in fields(Block))
_JSON_TYPES = {"str": str, "int": int, "bool": bool, "tuple[int, ...]": list}
_BLOCK_TYPES: dict[str, type] = {f.name: _JSON_TYPES[str(f.type)] for f in fields(Block)}
_CANONICAL = json.JSONEncoder(separators=(",", ":"), sort_keys=True)


@dataclass(frozen=True, slots=True)
class Architecture(_Keeps):
    """A network as a sequence of blocks; equality is identity of design.

    Input size, input channels and the number of classes belong to the task, not to the design.
    """

    blocks: tuple[Block, ...]

    @classmethod
    def written(cls, text: str, digest: str) -> Self:
        """A design by the text and the digest that it gave of itself elsewhere; its blocks are read when needed."""
        found = cls.__new__(cls)
        found._keep("_text", text)
        found._keep("_digest", digest)
        return found

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """The blocks of a design that is known by its text."""
            if name != "blocks":
                raise AttributeError(f"'Architecture' object has no attribute {name!r}")
            return self._keep("blocks", type(self).from_json(self._text).blocks)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form with its schema version."""
        return {"version": SCHEMA_VERSION, "blocks": [block.to_dict() for block in self.blocks]}

    def to_json(self) -> str:
        """Canonical text: the same design always gives the same text."""
        try:
            return self._text
        except AttributeError:
            blocks = ",".join([block.to_json() for block in self.blocks])
            return self._keep("_text", f'{{"blocks":[{blocks}],"version":{SCHEMA_VERSION}}}')

    @property
    def digest(self) -> str:
        """Content address: 20 hexadecimal digits of the SHA-256 of the canonical text."""
        try:
            return self._digest
        except AttributeError:
            return self._keep("_digest", hashlib.sha256(self.to_json().encode()).hexdigest()[:20])

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Read what ``to_dict`` wrote; raises InvalidArchitecture naming the offending place."""
        if not isinstance(data, dict) or not isinstance(data.get("blocks"), list):
            raise InvalidArchitecture(f'architecture: got {_shorten(data)}, expected {{"version": 1, "blocks": [...]}}')
        if data.get("version") != SCHEMA_VERSION:
            raise InvalidArchitecture(
                f"architecture: schema version {data.get('version')!r}, this release reads {SCHEMA_VERSION}"
            )
        if not data["blocks"]:
            raise InvalidArchitecture("architecture: no blocks, expected at least one")
        rows = []
        for i, row in enumerate(data["blocks"]):
            if not isinstance(row, dict):
                raise InvalidArchitecture(f"blocks[{i}]: got {_shorten(row)}, expected an object")
            rows.append(Block.from_dict(row, f"blocks[{i}]"))
        return cls(tuple(rows))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read canonical or hand-written JSON; raises InvalidArchitecture with line and column."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise InvalidArchitecture(
                f"architecture JSON, line {error.lineno} column {error.colno}: {error.msg}"
            ) from None
        return cls.from_dict(data)


def _shorten(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
