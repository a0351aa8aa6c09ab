"""Settings of the approximation of convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from nas.compress.errors import CannotCompress

METHODS = ("groups", "low-rank")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproximateSettings:
    """How far and how convolutions are approximated.

    Attributes:
        macs: budget, share of the multiply-accumulates of the whole network.
        method: "groups": k x k with groups, then 1 x 1 (filter group approximation); "low-rank": k x k with fewer
            filters, then 1 x 1.
        ridge: of the least-squares refit of the 1 x 1 weights, relative to the mean square of their inputs.
        refit: whether these weights are fitted to outputs of the whole network on the images; else they are those of
            the decomposition.
    """

    macs: float = 0.6
    method: str = "groups"
    ridge: float = 1e-3
    refit: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.macs < 1:
            raise CannotCompress(f"approximate: macs={self.macs}, expected a share above 0 and below 1")
        if self.method not in METHODS:
            raise CannotCompress(f"approximate: method={self.method!r}, expected one of {', '.join(METHODS)}")
        if not 0 <= self.ridge < 1:
            raise CannotCompress(f"approximate: ridge={self.ridge}, expected 0 to below 1")
