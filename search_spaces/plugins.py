"""Tables of names to which installed packages may add, by entry points; nothing is looked for before it is needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

T = TypeVar("T")
GROUPS = ("netwright.spaces", "netwright.scores", "netwright.predictors", "netwright.runtimes")
_LOG = logging.getLogger("netwright.plugins")


class PluginBroken(ValueError):
    """An installed package offers a name that cannot be used; the message names the package."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A name that an installed package offers.

    Attributes:
        group: of entry points, one of ``GROUPS``.
        name: as it is written in text.
        value: ``package.module:attribute``.
        package, version: of the distribution that offers it.
        point: what loads it.
    """

    group: str
    name: str
    value: str
    package: str
    version: str
    point: EntryPoint

    def __str__(self) -> str:
        return f"{self.name!r} of package {self.package} {self.version} ({self.group}: {self.value})"


@cache
def offers(group: str) -> tuple[Offer, ...]:
    """What installed packages offer in a group, by package and name."""
    found = []
    for point in entry_points(group=group):
        distribution = point.dist
        package, version = (distribution.name, distribution.version) if distribution else ("?", "?")
        found.append(Offer(group, point.name, point.value, package, version, point))
    return tuple(sorted(found, key=lambda offer: (offer.package, offer.name)))


class Table(Mapping[str, T], Generic[T]):
    """Names of our own and those that installed packages add.

    Our own names are found without looking for packages. A name that is ours, or that an earlier package offers, is not
    replaced; that is said once, and so is a broken offer when all are listed.

    Args:
        own: our rows.
        group: of entry points.
        read: makes a row of an offer; whatever it raises makes the offer broken.
    """

    def __init__(self, own: Mapping[str, T], group: str, read: Callable[[Offer], T]) -> None:
        self.own, self.group, self._read = dict(own), group, read
        self._rows: dict[str, T] = {}
        self._said: set[str] = set()

    def all_offers(self) -> tuple[Offer, ...]:
        """What installed packages offer, names that are taken among them."""
        return offers(self.group)

    def offers(self) -> dict[str, Offer]:
        """Names that packages add, in order."""
        added: dict[str, Offer] = {}
        for offer in self.all_offers():
            if offer.name not in self.own:
                added.setdefault(offer.name, offer)
        return added

    def __getitem__(self, name: str) -> T:
        """The row; raises KeyError, or PluginBroken for an offer that cannot be used."""
        if name in self.own:
            return self.own[name]
        if name not in self._rows:
            self._rows[name] = self._load(self.offers()[name])
        return self._rows[name]

    def _load(self, offer: Offer) -> T:
        try:
            return self._read(offer)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a package's code may raise anything
            lines = str(error).strip().splitlines() or [""]
            kind = "" if isinstance(error, PluginBroken) else f"{type(error).__name__}: "
            raise PluginBroken(f"plugin: {offer} cannot be used: {kind}{lines[0][:300]}") from None

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self.offers()

    def __iter__(self) -> Iterator[str]:
        """Our own names, then those of packages that work."""
        yield from self.own
        added = self.offers()
        for offer in self.all_offers():
            if added.get(offer.name) is not offer:
                self._say(f"plugin: {offer} is not used: the name is taken")
        for name in added:
            try:
                self[name]
            except PluginBroken as error:
                self._say(str(error))
            else:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            _LOG.warning(text)
