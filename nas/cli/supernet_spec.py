"""How a user names a network of a supernet: like any architecture, or ``largest`` and ``smallest``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search_spaces.arch import Architecture
    from search_spaces.space import GridSpace


def subnet(space: GridSpace, spec: str) -> Architecture:
    """The architecture of a SPEC argument.

    Raises: InvalidArchitecture: malformed, or no member of the space.
    """
    from nas.spec import load_spec
    from search_spaces.arch import InvalidArchitecture
    from search_spaces.extremes import largest, smallest

    if spec in ("largest", "smallest"):
        return largest(space) if spec == "largest" else smallest(space)
    arch = load_spec(spec).arch
    try:
        space.values_of(arch)
    except InvalidArchitecture as error:
        shown = spec if len(spec) <= 60 else f"{spec[:59]}…"
        raise InvalidArchitecture(f"{shown}: no network of the supernet's space {space.name}: {error}") from None
    return arch
