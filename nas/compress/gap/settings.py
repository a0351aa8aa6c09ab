"""How a network is pruned weight by weight: plain data, checked when it is made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nas.compress.errors import CannotCompress
from nas.typed_fields import check_types

DISTRIBUTIONS = ("uniform", "global")
METHODS = ("cyclic", "parallel")
PARTITIONINGS = ("contiguous", "random")
BALANCES = ("layers", "weights", "macs")
STARTS = ("magnitude", "random")


class InvalidPruning(CannotCompress):
    """A setting of the pruning is out of its range or unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningSettings:
    """What remains in the end, for all methods that prune single weights.

    Attributes:
        sparsity: share of the prunable weights that go, at least 0 and below 1.
        distribution: "uniform" gives every layer this sparsity; "global" compares all layers by one threshold.
        least: with "global", no layer keeps fewer weights than this share of what "uniform" would leave it.
        stem: whether layers that read the image are pruned.
        classifier: whether layers that give the output are pruned.
    """

    sparsity: float
    distribution: str = "uniform"
    least: float = 0.1
    stem: bool = False
    classifier: bool = False

    def __post_init__(self) -> None:
        check_types(self, "settings.", InvalidPruning)
        check_range("sparsity", self.sparsity, 0, 1)
        check_choice("distribution", self.distribution, DISTRIBUTIONS)
        if not 0 <= self.least <= 1:
            raise InvalidPruning(f"settings.least={self.least}, expected 0 to 1")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; a checkpoint must fit it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class GapSettings(PruningSettings):
    """Settings of grow-and-prune. The paper's ResNet-50 has 4 partitions of 30 epochs, 7 rounds and 150 epochs after.

    Attributes:
        method: "cyclic" grows one partition after the other (C-GaP); "parallel" grows each in a copy of its own and
            puts the copies together (P-GaP).
        partitions: parts that the prunable layers are cut into; at most as many as there are layers.
        epochs_per_step: that a partition trains while it is dense; optimiser and learning rate start anew each time.
        rounds: how often every partition is dense.
        fine_tune_epochs: at the end with frozen masks; 0 recalibrates the norms only.
        partitioning: "contiguous" in order of execution, the same in each round; "random" draws them for each round.
        balance: what contiguous partitions have in equal shares, as far as whole layers allow: "layers", "weights" or
            "macs".
        start: first masks: by "magnitude" of the given weights, where the layers that grow first keep all theirs; or
            of "random" positions, where every layer grows from zeros, as in the authors' code of P-GaP.
    """

    method: str = "cyclic"
    partitions: int = 4
    epochs_per_step: int = 5
    rounds: int = 3
    fine_tune_epochs: int = 30
    partitioning: str = "contiguous"
    balance: str = "layers"
    start: str = "magnitude"

    def __post_init__(self) -> None:
        super(GapSettings, self).__post_init__()  # dataclasses with slots are made twice, which breaks the short form
        check_choice("method", self.method, METHODS)
        check_choice("partitioning", self.partitioning, PARTITIONINGS)
        check_choice("balance", self.balance, BALANCES)
        check_choice("start", self.start, STARTS)
        for name in ("partitions", "epochs_per_step", "rounds"):
            check_range(name, getattr(self, name), 1)
        check_range("fine_tune_epochs", self.fine_tune_epochs, 0)


def check_range(name: str, value: float, least: float, below: float = float("inf")) -> None:
    """Raise InvalidPruning unless least <= value < below."""
    if not least <= value < below:
        upper = "" if below == float("inf") else f" and below {below:g}"
        raise InvalidPruning(f"settings.{name}={value}, expected at least {least:g}{upper}")


def check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raise InvalidPruning unless the value is known."""
    if value not in known:
        raise InvalidPruning(f"settings.{name}={value!r}, expected one of {', '.join(known)}")
