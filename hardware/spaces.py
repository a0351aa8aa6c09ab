"""What a latency table depends on of a search space: the networks that it draws."""

from __future__ import annotations

import hashlib
import json
from typing import Protocol

import numpy as np

from search_spaces.arch import Architecture
from search_spaces.space import GridSpace

MOST_MUTATIONS = 12  # evolution walks away from what ``sample`` draws
DIGEST_NETWORKS = 128


class Space(Protocol):
    """What profiling asks of a search space; ``name`` and ``mutate`` are used where present."""

    def sample(self, rng: np.random.Generator) -> Architecture:
        """A random member."""
        ...


def space_name(space: Space) -> str:
    """The space's own name, or its class."""
    return str(getattr(space, "name", type(space).__name__))


def sample_widely(space: Space, count: int, rng: np.random.Generator) -> list[Architecture]:
    """Random members, and where the space can mutate, also what a few mutations make of them."""
    archs = [space.sample(rng) for _ in range(count)]
    mutate = getattr(space, "mutate", None)
    if mutate is not None:
        for i in range(0, count, 2):
            for _ in range(int(rng.integers(1, MOST_MUTATIONS + 1))):
                archs[i] = mutate(archs[i], rng)
    return archs


def space_digest(space: Space) -> str:
    """What tells a space from another of the same name, or from what it was: 20 hexadecimal digits.

    Of the choices of a ``GridSpace``, and of the networks that any space draws and mutates from one fixed seed. Equal
    in every process as long as the space takes its randomness from the generator it is given.
    """
    knobs = space.knobs if isinstance(space, GridSpace) else ()
    drawn = sample_widely(space, DIGEST_NETWORKS, np.random.default_rng(0))
    content = [[[knob.name, *knob.choices] for knob in knobs], [arch.digest for arch in drawn]]
    return hashlib.sha256(json.dumps(content, default=repr).encode()).hexdigest()[:20]
