"""What the routes answer, for the schema: a field that is stated is always there, and a later release may add others.

The routes send what the views make as it is; that the two agree is checked by the fuzz test, not at every request.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

Facts = dict[str, Any]
Number = int | float


class Answered(BaseModel):
    """The body of an answer."""

    model_config = ConfigDict(extra="allow")


class Named(Answered):
    """A run and the state of its job."""

    name: str
    state: str


class Row(Answered):
    """A candidate without its design."""

    id: int
    parent: int | None
    digest: str
    outcome: str
    reason: str | None
    violation: Number | None
    score: Number | None
    latency_ms: Number | None
    latency_upper_ms: Number | None
    params: int | None
    macs: int | None
    depth: int | None
    convs: int | None
    peak_memory_bytes: int | None


class Listed(Named):
    """A run in one line."""

    job: Facts | None
    data: str | None
    space: str | None
    device: str | None
    candidates: int
    started: str | None


class Runs(Answered):
    """All runs."""

    runs: list[Listed]


class Overview(Named):
    """A run on one screen; one that waits to begin has only its settings and its counts."""

    job: Facts | None
    config: Facts | None
    candidates: int
    finished: bool


class Page(Answered):
    """Some candidates, and where to go on."""

    rows: list[Row]
    next: int | None
    total: int


class Candidate(Answered):
    """All about one candidate."""

    id: int
    row: Row
    architecture: Facts
    lineage: Facts
    found: Facts | None
    winner: bool
    betters: dict[str, Row | None]
    changes: Facts
    downloads: list[Facts]


class Best(Answered):
    """The best candidate; with the latency of another device, figures that it lacks are left out."""

    id: int
    score: Number
    digest: str
    arch: Facts


class Pareto(Answered):
    """What no other candidate beats."""

    cost: str
    rows: list[Row]


class Scatter(Answered):
    """Points, and counts of the rest."""

    x: str
    y: str
    pareto: list[Row]
    finalists: list[Facts]
    winner: int | None
    points: dict[str, list[Number]]
    density: dict[str, list[Any]]
    budget: Number | None
    candidates: int


class Compared(Answered):
    """One of those side by side."""

    id: int
    row: Row
    architecture: Facts
    found: Facts | None


class Comparison(Answered):
    """Candidates side by side."""

    candidates: list[Compared]


class Predictors(Answered):
    """Predicted against measured."""

    latency: Facts | None
    accuracy: Facts | None


class Artifact(Answered):
    """A file of a run; one that a search writes to has no sum."""

    path: str
    bytes: int
    sha256: str | None


class Artifacts(Answered):
    """The files of a run."""

    artifacts: list[Artifact]


class Health(Answered):
    """That the server lives."""

    version: str
    running: int
    queued: int


class Cluster(Answered):
    """Where the searches of the server run."""

    cluster: Facts | None


class Estimated(Answered):
    """What a search would meet."""

    space: str
    samples: int
    feasible: int
    feasible_share: float
    interval: list[float]
    tightest: dict[str, Number | None]
    unreachable: list[str]
    evaluations_per_second: Number | None
    seconds: dict[str, Number | None]
    notes: list[str]


class PredictedRow(Answered):
    """A network's costs; with a device its latency, with a predictor "predicted" and its interval."""

    digest: str
    params: int
    macs: int
    depth: int


class Predicted(Answered):
    """A row a network, in the order given."""

    rows: list[PredictedRow]
    warnings: list[str]


class DeviceRow(Answered):
    """A device in one line."""

    name: str
    problem: str | None


class Devices(Answered):
    """Devices whose latencies are known."""

    devices: list[DeviceRow]


class Device(Answered):
    """A device."""

    name: str
    device: str
    rows: dict[str, int]
    coverage: Facts
    tables: list[Facts]
    drift: list[str] | None


class Uploaded(Answered):
    """A table that was stored."""

    name: str
    rows: int


class NamedThing(Answered):
    """What can be named in a search."""

    name: str


class Spaces(Answered):
    """Search spaces."""

    spaces: list[NamedThing]


class Scores(Answered):
    """Scores."""

    scores: list[NamedThing]


def answers(model: type[Answered], status: int = 200) -> dict[int | str, dict[str, Any]]:
    """Of a route: what it answers when all is well."""
    return {status: {"model": model}}
