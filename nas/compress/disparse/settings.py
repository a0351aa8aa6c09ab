"""Settings of DiSparse and of the baselines it is compared with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nas.compress.errors import CannotCompress
from nas.typed_fields import check_types

MODES = ("static", "pretrained", "dynamic")
BASELINES = ("snip", "magnitude", "rigl", "random")
SCORES = ("gradient_square", "taylor", "magnitude")
_RANGES = (  # name, above, at most
    ("density", 0, 1),
    ("batches", 0, 1e9),
    ("batch_size", 1, 1e9),
    ("drop", 0, 1),
    ("end", 0, 1),
    ("interval", 0, 1e9),
    ("erk_power", -1e-9, 10),
)


@dataclass(frozen=True, slots=True)
class DisparseSettings:
    """What remains and how it is chosen.

    Attributes:
        mode: one of ``MODES``: "static" prunes the given weights before training, "pretrained" prunes trained weights,
            which are then trained further, "dynamic" changes the masks while it trains. Or one of ``BASELINES``, which
            do not tell tasks apart: "snip" (static, on the summed loss), "magnitude" (smallest weights of a trained
            network), "rigl" (dynamic, on the summed loss), "random" (a random mask).
        density: share of the weights under masks that remains, over all tasks together.
        score: of a weight w in mode "pretrained": "gradient_square" |g| w^2 or "magnitude" |w|, which the authors'
            scripts take, or "taylor" |g w|, which was 3 points worse at density 0.03 (docs/compression/disparse.md).
        batches, batch_size: that gradients are summed over for scores; ``batch_size`` images each.
        drop: share of a layer's weights that the first change of a dynamic mask drops; it falls to 0 along a half
            cosine.
        end: share of the training's steps after which dynamic masks stay.
        interval: steps between changes of dynamic masks.
        erk_power: of the densities of layers in "dynamic", "rigl" and "random": 0 gives all the same, 1 is ERK.
    """

    mode: str = "static"
    density: float = 0.1
    score: str = "gradient_square"
    batches: int = 50
    batch_size: int = 16
    drop: float = 0.5
    end: float = 0.75
    interval: int = 50
    erk_power: float = 0.9

    def __post_init__(self) -> None:
        check_types(self, "disparse: ", CannotCompress)
        for name, above, most in _RANGES:
            value = getattr(self, name)
            if not above < value <= most:
                raise CannotCompress(f"disparse: {name}={value}, expected above {above:g} and at most {most:g}")
        for name, known in (("mode", (*MODES, *BASELINES)), ("score", SCORES)):
            if getattr(self, name) not in known:
                raise CannotCompress(f"disparse: {name}={getattr(self, name)!r}, expected one of {', '.join(known)}")

    @property
    def rewires(self) -> bool:
        """Whether masks change while the network trains."""
        return self.mode in {"dynamic", "rigl"}

    @property
    def joint(self) -> bool:
        """Whether all tasks are taken for one, with the loss that training minimises."""
        return self.mode in BASELINES

    @property
    def criterion(self) -> str | None:
        """The score of a weight; None when masks are drawn at random."""
        return {"static": "taylor", "snip": "taylor", "pretrained": self.score, "magnitude": "magnitude"}.get(self.mode)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)
