"""What a network *is*: plain, frozen, comparable data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

SCHEMA_VERSION = 1


class InvalidArchitecture(ValueError):
    """The text, JSON or data does not describe a network; the message says where and what was expected."""


@dataclass(frozen=True, slots=True)
class Block:
    """One row of an architecture: a block kind and its choices. Input channels are the previous block's.

    Attributes:
        kind: key into ``search_spaces.expand.BLOCKS``.
        channels: output channels, >= 1.
        kernel: side of the square kernel, odd.
        stride: of the first sub-layer, 1 or 2; later sub-layers have stride 1.
        depth: number of sub-layers, >= 1.
        inner: width of the bottleneck or of the hidden convolution; 0 where the kind has none.
        expansion: expansion factor of an inverted residual; 0 where the kind has none.
        se: squeeze-and-excite after the middle convolution.
    """

    kind: str
    channels: int
    kernel: int = 3
    stride: int = 1
    depth: int = 1
    inner: int = 0
    expansion: int = 0
    se: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The fields that differ from their default: a field added later changes no digest."""
        return {name: v for name, default in _DEFAULTS if (v := getattr(self, name)) != default}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "block") -> Self:
        """Read what ``to_dict`` wrote; raises InvalidArchitecture for unknown, missing or ill-typed fields."""
        unknown = sorted(set(data) - _BLOCK_TYPES.keys())
        if unknown:
            raise InvalidArchitecture(f"{where}: unknown field {unknown[0]!r}, expected {', '.join(_BLOCK_TYPES)}")
        for name in ("kind", "channels"):
            if name not in data:
                raise InvalidArchitecture(f"{where}: field {name!r} is missing")
        for name, value in data.items():
            if type(value) is not _BLOCK_TYPES[name]:
                raise InvalidArchitecture(
                    f"{where}.{name}={value!r}, expected a value of type {_BLOCK_TYPES[name].__name__}"
                )
        return cls(**data)


_DEFAULTS = tuple((f.name, f.default) for f in fields(Block))
_BLOCK_TYPES: dict[str, type] = {f.name: {"str": str, "int": int, "bool": bool}[str(f.type)] for f in fields(Block)}
_CANONICAL = json.JSONEncoder(separators=(",", ":"), sort_keys=True)


@dataclass(frozen=True)
class Architecture:
    """A network as a sequence of blocks; equality is identity of design.

    Input size, input channels and the number of classes belong to the task, not to the design.
    """

    blocks: tuple[Block, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form with its schema version."""
        return {"version": SCHEMA_VERSION, "blocks": [block.to_dict() for block in self.blocks]}

    def to_json(self) -> str:
        """Canonical text: the same design always gives the same text."""
        return self._json

    @cached_property
    def _json(self) -> str:
        return _CANONICAL.encode(self.to_dict())

    @cached_property
    def digest(self) -> str:
        """Content address: 20 hexadecimal digits of the SHA-256 of the canonical text."""
        return hashlib.sha256(self._json.encode()).hexdigest()[:20]

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
