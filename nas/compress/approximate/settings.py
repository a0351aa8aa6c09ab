"""Settings of the approximation of convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from nas.compress.errors import CannotCompress
from nas.typed_fields import check_types

METHODS = ("groups", "low-rank")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproximateSettings:
    """How far and how convolutions are approximated.

    Attributes:
        macs: budget, share of the multiply-accumulates of the whole network.
        method: "groups": k x k with groups, then 1 x 1 (filter group approximation); "low-rank": k x k with fewer
            filters, then 1 x 1.
        least_work: convolutions with less than this share of the network's multiply-accumulates stay as they are: what
            is saved on a stem is little, and what it loses nothing behind it can mend.
        ridge: of the least-squares refit of the 1 x 1 weights, relative to the mean square of their inputs.
        refit: whether these weights are fitted to outputs of the whole network on the images; else they are those of
            the decomposition.
    """

    macs: float = 0.6
    method: str = "groups"
    least_work: float = 0.02
    ridge: float = 1e-3
    refit: bool = True

    def __post_init__(self) -> None:
        check_types(self, "approximate: ", CannotCompress)
        if not 0 < self.macs < 1:
            raise CannotCompress(f"approximate: macs={self.macs}, expected a share above 0 and below 1")
        if self.method not in METHODS:
            raise CannotCompress(f"approximate: method={self.method!r}, expected one of {', '.join(METHODS)}")
        for name in ("least_work", "ridge"):
            if not 0 <= getattr(self, name) < 1:
                raise CannotCompress(f"approximate: {name}={getattr(self, name)}, expected 0 to below 1")
