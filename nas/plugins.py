"""What installed packages add to the tables of names, and whether it works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.plugins import PluginBroken, Table


def tables() -> Mapping[str, Table[Any]]:
    """The tables that packages may add to, by group of entry points; imports them all."""
    from hardware.runtimes import RUNTIMES
    from nas.objective import SCORES
    from predictors import PREDICTORS
    from search_spaces import SPACES

    return {table.group: table for table in (SPACES, SCORES, PREDICTORS, RUNTIMES)}


def installed() -> list[dict[str, str]]:
    """Every offer of an installed package.

    Returns: rows of group, name, package, version, value, and problem: "" if the name can be used.
    """
    rows = []
    for group, table in tables().items():
        used = table.offers()
        for offer in table.all_offers():
            row = {"group": group, "name": offer.name, "package": offer.package, "version": offer.version}
            problem = "" if used.get(offer.name) is offer else "the name is taken"
            if not problem:
                try:
                    table[offer.name]
                except PluginBroken as error:
                    problem = str(error)
            rows.append({**row, "value": offer.value, "problem": problem})
    return rows
