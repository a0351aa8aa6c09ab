"""One candidate's training as plain data that crosses processes; the network is built where it is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Self

import torch

from nas.train.data import Dataset, load_dataset
from nas.train.fit import Training
from nas.train.recipe import Recipe
from search_spaces.arch import Architecture
from search_spaces.build import Network, build


@dataclass(frozen=True)
class Entrant:
    """JSON-ready description of one training: ``Entrant.from_dict(entrant.to_dict())`` trains identically."""

    id: int
    arch: Mapping[str, Any]
    dataset: str
    recipe: Mapping[str, Any]
    seed: int
    device: str = "cpu"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        return cls(**data)

    def start(self, dataset: Dataset | None = None) -> Training:
        """Build the network with its own initial weights, ready for the first epoch.

        Args:
            dataset: already loaded; None loads it, once per process.
        """
        data = dataset if dataset is not None else _load_once(self.dataset)
        seed = entrant_seed(self.seed, self.id)
        network = build_network(Architecture.from_dict(self.arch), data, seed=seed)
        return Training(network, data, Recipe.from_dict(self.recipe), seed=seed, device=self.device)


def entrant_seed(seed: int, entrant_id: int) -> int:
    """The seed of one candidate: a hash of the run's seed and the candidate's id, below 2**63."""
    return int.from_bytes(hashlib.sha256(f"finalist/{seed}/{entrant_id}".encode()).digest()[:8], "big") >> 1


def build_network(arch: Architecture, dataset: Dataset, *, seed: int) -> Network:
    """An untrained network for the dataset; its weights depend on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(arch, num_classes=dataset.num_classes, in_channels=dataset.input_shape[0])


@lru_cache(maxsize=2)
def _load_once(spec: str) -> Dataset:
    return load_dataset(spec)
