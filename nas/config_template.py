"""A configuration file with every setting, its default, its unit and its meaning, made from the settings themselves."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields
from types import NoneType
from typing import Any, Literal

import annotated_types
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from nas.config import Config, read_yaml
from nas.setting_meanings import MEANINGS, SECTIONS
from nas.train.recipe import Recipe
from nas.train.supernet.recipe import SupernetRecipe
from nas.units import parse_bytes, parse_count, parse_latency_ms, parse_seconds

DEPENDENT = ("search.niches",)  # their defaults follow other settings: commented out
RECIPES: Mapping[str, type[Any]] = {"recipe": Recipe, "supernet.recipe": SupernetRecipe}
_UNITS = {
    parse_latency_ms: "a time with us, ms or s, such as 2ms",
    parse_seconds: "a time, such as 90s, 5min or 2h",
    parse_count: "a number, such as 200k or 1.5M",
    parse_bytes: "a size, such as 300KB or 2MiB",
}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_WIDTH = 118


def render_config(given: Mapping[str, Any]) -> str:
    """YAML text with all settings.

    Args:
        given: values by dotted name that replace defaults, as they would be written.
    """
    head = (
        "# Settings of a search: netwright search --config THIS_FILE --out runs/mine",
        "# Every setting is here with its default; what you do not need may be deleted. null means: not set.",
    )
    return "\n".join([*head, *_section(Config, "", dict(given))]) + "\n"


def settings(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, FieldInfo, str]]:
    """Every setting that is not a section: its dotted name, its field, its meaning ("" if nobody wrote one)."""
    meanings = _documented(model)
    for name, field in model.model_fields.items():
        if _inner(field) is None:
            yield f"{prefix}{name}", field, MEANINGS.get(f"{prefix}{name}") or meanings.get(name, "")
        else:
            yield from settings(typing.cast(type[BaseModel], _inner(field)), f"{prefix}{name}.")


def _section(model: type[BaseModel], prefix: str, given: Mapping[str, Any]) -> Iterator[str]:
    indent = "  " * prefix.count(".")
    own = {name: (field, meaning) for name, field, meaning in settings(model, prefix)}
    for name, field in model.model_fields.items():
        dotted = f"{prefix}{name}"
        inner = _inner(field)
        yield ""
        if inner is not None:
            yield from _comment(SECTIONS.get(dotted) or _sentence(inner), indent)
            yield f"{indent}{name}:"
            yield from list(_section(inner, f"{dotted}.", given))[1:]  # without the empty line
            continue
        default = _plain(field)
        meaning = own[dotted][1].rstrip(".")
        yield from _comment(f"{meaning} ({_expected(field)}; default {_inline(default)}).", indent)
        mark = "# " if dotted in DEPENDENT else ""
        yield f"{indent}{mark}{name}: {_inline(given.get(dotted, default))}"
        if dotted in RECIPES:
            yield from _recipe(RECIPES[dotted], indent)


def _recipe(recipe: type[Any], indent: str) -> Iterator[str]:
    """The settings of a recipe as comments: what is not set may depend on the data."""
    meanings = _documented(recipe)
    for field in fields(recipe):
        yield from _comment(f"  {field.name}: {_inline(field.default)}  {meanings.get(field.name, '')}", indent, 6)


def _comment(text: str, indent: str, hanging: int = 0) -> list[str]:
    inside = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(
        text.strip(), _WIDTH, initial_indent=f"{indent}# {inside}", subsequent_indent=f"{indent}# {' ' * hanging}",
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip


def _inner(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _plain(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True)
    return list(default) if isinstance(default, tuple) else default


def _inline(value: Any) -> str:
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value) and read_yaml(value) == value
    return str(value) if plain else json.dumps(value)


def _expected(field: FieldInfo) -> str:
    """What may be written, in words."""
    kinds, metadata = [field.annotation], list(field.metadata)
    optional = False
    while typing.get_origin(kinds[0]) is not None and typing.get_origin(kinds[0]) is not Literal:
        origin, parts = typing.get_origin(kinds[0]), typing.get_args(kinds[0])
        if origin is typing.Annotated:
            kinds, metadata = [parts[0]], [*metadata, *parts[1:]]
        elif NoneType in parts:
            kinds, optional = [part for part in parts if part is not NoneType], True
        else:
            return ("a list" if origin is tuple else "settings by name") + ", or null" * optional
    return _words(kinds[0], metadata) + ", or null" * optional


def _words(kind: Any, metadata: list[Any]) -> str:
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(kind)))
    for mark in metadata:
        if isinstance(mark, BeforeValidator) and mark.func in _UNITS:
            return _UNITS[mark.func]
    return _WORDS.get(kind, "a value") + _range(metadata)


def _range(metadata: list[Any]) -> str:
    """``, 1 or more, at most 5`` of field limits."""
    limits = [limit for mark in metadata for limit in (mark.metadata if isinstance(mark, FieldInfo) else [mark])]
    found = ""
    for limit in limits:
        if isinstance(limit, annotated_types.Ge):
            found += f", at least {limit.ge}"
        elif isinstance(limit, annotated_types.Le):
            found += f", at most {limit.le}"
        elif isinstance(limit, annotated_types.Lt) and limit.lt != 2**63:
            found += f", below {limit.lt}"
    return found


def _sentence(kind: type[Any]) -> str:
    return " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())


def _documented(kind: type[Any]) -> dict[str, str]:
    """The meanings under "Attributes:" of a class; several names may share one."""
    lines = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2].splitlines()
    found: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        begun = re.fullmatch(r"    (\w+(?:, \w+)*): (.*)", line)
        if begun:
            names = begun[1].split(", ")
            found |= dict.fromkeys(names, begun[2])
        elif line.startswith("        "):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    plain = {name: re.sub(r"\bNone\b", "null", text.replace("``", "")) for name, text in found.items()}
    return {name: text[0].upper() + text[1:] for name, text in plain.items()}
