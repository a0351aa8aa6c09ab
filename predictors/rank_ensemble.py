"""Several scores as one: normal scores of their ranks among reference networks, added with weights >= 0."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

KEY = "ensemble"  # where a trust report holds it


class InvalidEnsemble(ValueError):
    """The file is missing or is not one, or it holds no ensemble; the message says which."""


@dataclass(frozen=True)
class Scale:
    """Turns a score into a normal score by where it stands among reference scores.

    A reference of mid-rank r among n has the normal score Phi^-1((r - 1/2) / n); between references it is
    interpolated linearly; beyond the extremes it goes on along the line from the median to the extreme, so that a
    search that leaves the references behind still climbs. Strictly rising unless all references are equal, then 0.

    Attributes:
        reference: scores of the reference networks, any order.
    """

    reference: tuple[float, ...]

    @cached_property
    def _knots(self) -> tuple[list[float], list[float], float, float]:
        """References without repetition, their normal scores, and the slopes below and above."""
        values, times = np.unique(np.array(self.reference), return_counts=True)
        mid_ranks = np.cumsum(times) - (times - 1) / 2
        normal = ndtri((mid_ranks - 0.5) / len(self.reference))
        middle = float(np.median(values))
        level = float(np.interp(middle, values, normal))
        low, high = (
            float((normal[end] - level) / (values[end] - middle)) if values[end] != middle else 0.0 for end in (0, -1)
        )
        return values.tolist(), normal.tolist(), low, high

    def __call__(self, score: float) -> float:
        """The normal score of a score."""
        values, normal, low, high = self._knots
        if score <= values[0]:
            return normal[0] + low * (score - values[0])
        if score >= values[-1]:
            return normal[-1] + high * (score - values[-1])
        i = bisect_right(values, score)
        share = (score - values[i - 1]) / (values[i] - values[i - 1])
        return normal[i - 1] + share * (normal[i] - normal[i - 1])

    def of(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Normal scores of many."""
        return np.array([self(float(score)) for score in scores])


@dataclass(frozen=True)
class Member:
    """One score of an ensemble: its name, its weight >= 0 and the scale of its reference scores."""

    score: str
    weight: float
    scale: Scale


@dataclass(frozen=True)
class RankEnsemble:
    """A weighted sum of normal scores; higher is better.

    Attributes:
        members: those of weight above 0.
        input_shape: (channels, height, width) of the images for which the references were scored.
    """

    members: tuple[Member, ...]
    input_shape: tuple[int, int, int]

    def combine(self, scores: Sequence[float]) -> float:
        """The ensemble's score from those of its members, in their order."""
        return sum(m.weight * m.scale(score) for m, score in zip(self.members, scores, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "input_shape": list(self.input_shape),
            "members": [
                {"score": m.score, "weight": m.weight, "reference": sorted(m.scale.reference)} for m in self.members
            ],
        }

    @classmethod
    def from_dict(cls, data: Any, where: str = "ensemble") -> Self:
        """Read what ``to_dict`` wrote; raises InvalidEnsemble with what is wrong."""
        try:
            members = tuple(
                Member(str(row["score"]), float(row["weight"]), Scale(tuple(map(float, row["reference"]))))
                for row in data["members"]
            )
            channels, height, width = (int(n) for n in data["input_shape"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidEnsemble(f"{where}: damaged ensemble ({type(error).__name__}: {error}); {_MAKE}") from None
        numbers = [number for m in members for number in (m.weight, *m.scale.reference)]
        if not members or not all(m.scale.reference for m in members) or not all(map(math.isfinite, numbers)):
            raise InvalidEnsemble(f"{where}: an ensemble without members, references or finite numbers; {_MAKE}")
        if min(m.weight for m in members) < 0 or sum(m.weight for m in members) == 0:
            raise InvalidEnsemble(f"{where}: weights {[m.weight for m in members]}, expected some above 0, none below")
        return cls(members, (channels, height, width))


_MAKE = "make it with `netwright proxies trust`"


def read_ensemble(path: str | Path) -> RankEnsemble:
    """The ensemble of a trust report.

    Args:
        path: of the JSON file, or of the folder that holds ``trust.json``.
    Raises: InvalidEnsemble: no such file, not JSON, not a trust report, or one without an ensemble, which says why.
    """
    file = Path(path)
    file = file / "trust.json" if file.is_dir() else file
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidEnsemble(f"ensemble {file}: no such file; {_MAKE}") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InvalidEnsemble(f"ensemble {file}: cannot be read as JSON ({reason}); {_MAKE}") from None
    if not isinstance(data, Mapping) or KEY not in data:
        raise InvalidEnsemble(f"ensemble {file}: not a trust report; {_MAKE}")
    if isinstance(data[KEY], Mapping) and not data[KEY].get("members"):
        raise InvalidEnsemble(f"ensemble {file}: holds none: {data[KEY].get('reason', 'no members')}")
    return RankEnsemble.from_dict(data[KEY], f"ensemble {file}")
