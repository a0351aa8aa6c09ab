"""What a trust report is asked for: plain data, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from nas.config import InvalidConfig
from nas.objective import CLOSED_FORM, SCORES
from nas.typed_fields import check_types

FEWEST = 8  # networks: below that no correlation can be told from chance
Members = Literal["closed", "cheap", "all"]
CHEAP = (*CLOSED_FORM, "synflow", "naswot")  # one image through, or one forward pass
MEMBERS: tuple[Members, ...] = ("closed", "cheap", "all")


@dataclass(frozen=True)
class TrustSettings:
    """Everything that a trust report depends on; equal settings give equal reports.

    Attributes:
        data: as for ``load_dataset``.
        space: name, or ``package.module:Space``; "auto" takes the ZenNAS space that suits the images.
        limits: on the networks, as in a configuration's ``constraints``.
        device: of the latency limit.
        networks: to train.
        repeats: of them trained once more with another seed, for the noise.
        epochs: of each training.
        images: most training images, and most validation images, that are used; None uses all.
        recipe: further settings of the training.
        scores: names of the proxies to judge.
        members: which of them the ensemble may use: those in closed form, the cheap ones (``CHEAP``), or all.
        seed: of the choice, the trainings, the scores and the bootstrap.
    """

    data: str = "digits"
    space: str = "auto"
    limits: Mapping[str, Any] = field(default_factory=dict)
    device: str = "onnxruntime"
    networks: int = 24
    repeats: int = 6
    epochs: int = 8
    images: int | None = 2_000
    recipe: Mapping[str, Any] = field(default_factory=dict)
    scores: tuple[str, ...] = tuple(SCORES)
    members: Members = "cheap"
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self, "proxies trust: ", InvalidConfig)
        for name, least in (("networks", FEWEST), ("repeats", 0), ("epochs", 1), ("images", 10)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InvalidConfig(f"proxies trust: {name}={value}, expected at least {least}")
        if self.members not in MEMBERS:
            raise InvalidConfig(f"proxies trust: members={self.members!r}, expected one of {', '.join(MEMBERS)}")
        if not self.scores or len(set(self.scores)) != len(self.scores):
            raise InvalidConfig(f"proxies trust: scores={list(self.scores)}, expected at least one and none twice")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self) | {"limits": dict(self.limits), "recipe": dict(self.recipe), "scores": list(self.scores)}

    def may_join(self, score: str) -> bool:
        """Whether the ensemble may use a score."""
        return self.members == "all" or score in (CLOSED_FORM if self.members == "closed" else CHEAP)
