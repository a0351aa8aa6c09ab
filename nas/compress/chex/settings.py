"""Settings of channel exploration."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from nas.compress.errors import CannotCompress
from nas.typed_fields import check_types

SELECTIONS = ("leverage", "l1")
REGROWTHS = ("residual", "random")
SIGNALS = ("uniform", "relative", "norms", "filters")
_RANGES = (  # name, at least, at most
    ("explore", 0, 1),
    ("interval", 1, 1e9),
    ("regrow", 0, 1),
    ("floor_units", 1, 1e9),
    ("floor_share", 0, 1),
    ("round_to", 1, 1e9),
)


class InvalidChex(CannotCompress):
    """A setting of channel exploration is out of its range or unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChexSettings:
    """How much remains and how it is chosen. Exactly one of ``macs`` and ``latency_ms`` is given.

    The paper's ImageNet trainings last 250 epochs, explore for 180, change masks every 2 and have d0 = 0.2 or 0.3.

    Attributes:
        macs: budget, share of the whole network's multiply-accumulates, counted on the sliced network.
        latency_ms: budget in milliseconds, as measured by the function that the caller gives.
        explore: share of the epochs after which masks stay (T_max).
        interval: epochs between changes of masks (Delta T).
        regrow: share of all channels that is regrown at the first change (d0); it falls to 0 along a half cosine.
        floor_units, floor_share: every group keeps at least so many units and at least this share of them.
        round_to: units of each group of the final network are a multiple of this, or all.
        selection: which units of a group stay: "leverage" (column subset selection) or "l1" (largest filters).
        regrowth: which come back: "residual" draws by what the kept ones do not span, "random" draws evenly.
        signal: what one threshold compares across groups: "uniform" compares nothing and gives every group the same
            share; "norms" are the scales of batch norms, of masked units 0, as in the paper; "relative" are scales over
            their group's mean, of masked units the last ones; "filters" are norms of filters over their group's mean.
            Groups without norms are always judged by their filters.
        reset_momentum: whether the optimiser's memory of a channel that comes back starts from 0.
    """

    macs: float | None = None
    latency_ms: float | None = None
    explore: float = 0.72
    interval: int = 1
    regrow: float = 0.3
    floor_units: int = 4
    floor_share: float = 0.1
    round_to: int = 4
    selection: str = "leverage"
    regrowth: str = "residual"
    signal: str = "uniform"
    reset_momentum: bool = True

    def __post_init__(self) -> None:
        check_types(self, "chex: ", InvalidChex)
        if (self.macs is None) == (self.latency_ms is None):
            raise InvalidChex(f"chex: macs={self.macs}, latency_ms={self.latency_ms}, expected one of the two")
        if self.macs is not None and not 0 < self.macs <= 1:
            raise InvalidChex(f"chex: macs={self.macs}, expected a share above 0 and at most 1")
        if self.latency_ms is not None and not 0 < self.latency_ms < math.inf:
            raise InvalidChex(f"chex: latency_ms={self.latency_ms}, expected milliseconds above 0")
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if not least <= value <= most:
                raise InvalidChex(f"chex: {name}={value}, expected {least:g} to {most:g}")
        for name, known in (("selection", SELECTIONS), ("regrowth", REGROWTHS), ("signal", SIGNALS)):
            if getattr(self, name) not in known:
                raise InvalidChex(f"chex: {name}={getattr(self, name)!r}, expected one of {', '.join(known)}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; a checkpoint must fit it."""
        return asdict(self)
