"""A race between finalists as plain data: who runs, by which rule, and what came of each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from nas.train.entrant import Entrant
from nas.train.fit import EpochReport
from nas.train.halving import Halving
from search_spaces.arch import Architecture


class InvalidRace(ValueError):
    """The candidates cannot be trained together, or the folder holds another race."""


class CandidateLike(Protocol):
    """What is trained: anything with an id and an architecture."""

    @property
    def id(self) -> int:
        """Unique among the candidates."""

    @property
    def arch(self) -> Architecture:
        """The design."""


@dataclass(frozen=True, slots=True)
class FinalistResult:
    """One candidate after the race.

    Attributes:
        id: the candidate's.
        curve: one report per trained epoch.
        top1: validation accuracy after its last epoch, 0..1; None when it failed: what it reached before it broke
            stands in the curve, and is no result.
        epochs: trained.
        stopped_early: it fell out at a rung, or failed.
        failure: why the training broke or diverged; None otherwise.
    """

    id: int
    curve: tuple[EpochReport, ...]
    top1: float | None
    epochs: int
    stopped_early: bool
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Race:
    """Everything that both engines need; plain data except for the listeners."""

    entrants: tuple[Entrant, ...]
    halving: Halving
    storage_dir: Path
    on_epoch: Callable[[int, EpochReport], None] = field(default=lambda _id, _report: None)
    on_result: Callable[[FinalistResult], None] = field(default=lambda _result: None)

    def result(self, entrant_id: int, curve: Sequence[EpochReport], failure: str | None) -> FinalistResult:
        """The outcome of one entrant."""
        top1 = curve[-1].validation_top1 if curve and failure is None else None
        early = len(curve) < self.halving.max_epochs or failure is not None
        return FinalistResult(entrant_id, tuple(curve), top1, len(curve), early, failure)


def checkpoint_path(race: Race, entrant: Entrant) -> Path:
    """Where the serial engine keeps one training."""
    return race.storage_dir / f"finalist-{entrant.id}.pt"


def check_race(race: Race) -> None:
    """Refuse an empty or ambiguous race, and a folder that holds another one; note what this one is."""
    ids = [entrant.id for entrant in race.entrants]
    if not ids or len(set(ids)) != len(ids):
        raise InvalidRace(f"finalists: ids {ids}, expected at least one candidate and no id twice")
    note = race.storage_dir / "race.json"
    # through JSON, so that tuples and lists compare equal
    mine = json.loads(json.dumps({"version": 1, "entrants": [entrant.to_dict() for entrant in race.entrants]}))
    if note.exists():
        try:
            theirs = json.loads(note.read_text())
        except ValueError:
            theirs = None
        if theirs != mine:
            raise InvalidRace(
                f"{race.storage_dir}: holds a race of other candidates, data, recipe or seed; "
                "give another folder or delete it"
            )
        return
    race.storage_dir.mkdir(parents=True, exist_ok=True)
    temporary = note.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(mine))
    temporary.replace(note)
