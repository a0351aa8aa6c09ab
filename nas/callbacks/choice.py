"""Which callbacks a run has: from a configuration or a flag to objects, every mistake in one line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nas.callbacks import CALLBACKS
from nas.callbacks.callback import Callback
from search_spaces.named import NamedFailed, load_named

Choice = dict[str, dict[str, Any]]  # {name: options}, of one callback


class InvalidCallback(ValueError):
    """A callback is unknown, repeated, or has an option that it does not take."""


def check_choices(entries: Any) -> tuple[Choice, ...]:
    """Callbacks of a configuration, each ``name`` or ``{name: {option: value}}``, as the latter.

    Names and options of our own callbacks are checked here; those of a user's own (``package.module:Class``) when they
    are made, so that a configuration can be read where the module is not.
    Raises: InvalidCallback.
    """
    if isinstance(entries, str | Mapping):
        entries = [entries]
    if not isinstance(entries, Sequence):
        raise InvalidCallback(f"callbacks: got {entries!r}, expected a list such as [jsonl, {{csv: {{path: c.csv}}}}]")
    choices = tuple(_check_entry(entry) for entry in entries)
    for i, choice in enumerate(choices):
        if choice in choices[:i]:
            raise InvalidCallback(f"callbacks: {next(iter(choice))!r} is there twice, with the same options")
    return choices


def _check_entry(entry: Any) -> Choice:
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise InvalidCallback(f"callbacks: got {entry!r}, expected a name or {{name: {{option: value}}}}")
    (name, options), *_ = entry.items()
    options = {} if options is None else options
    if not isinstance(options, Mapping) or any(not isinstance(key, str) for key in options):
        raise InvalidCallback(f"callbacks: {name}: got {options!r}, expected options such as {{path: file}}")
    if ":" in str(name):
        return {str(name): dict(options)}
    if name not in CALLBACKS:
        near = difflib.get_close_matches(str(name), CALLBACKS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(CALLBACKS)}"
        raise InvalidCallback(f"callback {name!r}: unknown; {hint} (your own: package.module:Class)")
    _make(str(name), options)
    return {str(name): dict(options)}


def parse_choice(text: str) -> Choice:
    """``NAME[:key=value,…]`` as the command line takes it; raises InvalidCallback.

    A user's own is ``package.module:Class`` with its options after a second colon.
    """
    name, _, rest = text.partition(":")
    if name not in CALLBACKS and rest and "=" not in rest.partition(":")[0].partition(",")[0]:
        attribute, _, rest = rest.partition(":")
        name = f"{name}:{attribute}"
    options = {}
    for item in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise InvalidCallback(f"--callback {text!r}: cannot read {item!r}, expected NAME[:key=value,...]")
        options[key.strip()] = value.strip()
    return check_choices([{name: options}])[0]


def make_callbacks(choices: Sequence[Choice]) -> list[tuple[str, Callback]]:
    """The callbacks with their names; raises InvalidCallback."""
    return [(name, _make(name, options)) for choice in choices for name, options in choice.items()]


def _make(name: str, options: Mapping[str, Any]) -> Callback:
    try:
        kind = load_named(CALLBACKS.get(name, name))
    except NamedFailed as error:
        raise InvalidCallback(f"callback {name!r}: {error}") from None
    if not (isinstance(kind, type) and issubclass(kind, Callback)):
        raise InvalidCallback(f"callback {name!r}: expected a subclass of nas.callbacks.Callback")
    if is_dataclass(kind):
        return _from_fields(name, kind, options)
    try:
        return kind(**options)
    except Exception as error:  # noqa: BLE001 - a user's code may raise anything
        raise InvalidCallback(f"callback {name!r}: {type(error).__name__}: {error}") from None


def _from_fields(name: str, kind: type[Any], options: Mapping[str, Any]) -> Callback:
    known = [field.name for field in fields(kind) if field.init]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
            raise InvalidCallback(f"callback {name!r}: unknown option {option!r}; {hint}")
    try:
        made: Callback = TypeAdapter(kind).validate_python(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        message = str(first["msg"]).removeprefix("Value error, ")
        raise InvalidCallback(f"callback {name!r}: {place}={first.get('input')!r}: {message}") from None
    return made
