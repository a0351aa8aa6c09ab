"""An architecture and the images that it is trained on, as arguments name them."""

from __future__ import annotations

from nas.config import InvalidConfig
from nas.spec import Spec, load_spec


def spec_and_data(spec: str, data: str | None, command: str) -> tuple[Spec, str]:
    """A SPEC argument with --data, or with the data of its run; raises InvalidConfig: neither is there."""
    found = load_spec(spec)
    if (source := data or found.data) is None:
        raise InvalidConfig(f"{command}: which images? give --data, for example --data digits")
    return found, source
