"""What a request may not name without --allow-custom-code: code, commands, files, other servers."""

from __future__ import annotations

from collections.abc import Iterator

from nas.callbacks.inside import reaches_out
from nas.config import Config
from nas.service.refusal import Refusal

BUILT_IN_DATA = ("digits", "fashion-mnist")
RULE = "is {what}; start the server with --allow-custom-code to accept it"


def check_harmless(config: Config) -> None:
    """Raise Refusal for the first setting that reaches beyond what is installed."""
    for field, value, what in _reaching(config):
        raise Refusal(403, RULE.format(what=what), f"config.{field}", value)


def _reaching(config: Config) -> Iterator[tuple[str, object, str]]:
    yield from _named(config)
    yield from _elsewhere(config)


def _named(config: Config) -> Iterator[tuple[str, object, str]]:
    if config.data not in BUILT_IN_DATA:
        yield "data", config.data, f"a file, a folder or code, not one of {', '.join(BUILT_IN_DATA)}"
    if ":" in config.space or "/" in config.space:
        yield "space", config.space, "code or a file"
    if ":" in config.search.score:
        yield "search.score", config.search.score, "code or a file"
    for field, device in (("device", config.device), *((f"also.{i}", one.device) for i, one in enumerate(config.also))):
        if device.partition(":")[0].strip() == "command" or "/" in device:
            yield field, device, "a command or a file"


def _elsewhere(config: Config) -> Iterator[tuple[str, object, str]]:
    if config.search.ensemble is not None:
        yield "search.ensemble", config.search.ensemble, "a file"
    if config.supernet.path is not None:
        yield "supernet.path", config.supernet.path, "a folder"
    for field in ("address", "device_node"):
        if (value := getattr(config.engine, field)) is not None:
            yield f"engine.{field}", value, "another machine"
    if config.store is not None:
        yield "store", "…", "another server"
    for i, choice in enumerate(config.callbacks):
        if reason := reaches_out(choice):
            yield f"callbacks.{i}", choice, reason
