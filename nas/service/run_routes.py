"""Routes of runs: launch, steer, ask."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool

from nas import views
from nas.run import NothingFeasible, Run, UnknownMetric
from nas.service.answer import Json
from nas.service.answers import (
    Best,
    Candidate,
    Comparison,
    Named,
    Overview,
    Page,
    Pareto,
    Predictors,
    Runs,
    Scatter,
    answers,
)
from nas.service.checks import no_unknown_query
from nas.service.house import House
from nas.service.job_table import Job
from nas.service.refusal import Refusal, about
from nas.service.requests import Launch
from nas.views.plain import as_view

LOOKS_AT_ONCE = 4
LOOKS_S = 20.0  # that one request may take to look for a candidate on another device
Limit = Annotated[float | None, Query(gt=0, le=1e300, allow_inf_nan=False)]


async def house_of(request: Request) -> House:
    """Of the application."""
    house: House = request.app.state.house
    return house


async def limits(  # noqa: PLR0913 - one for each cost
    latency_ms: Limit = None,
    latency_upper_ms: Limit = None,
    params: Limit = None,
    macs: Limit = None,
    depth: Limit = None,
    convs: Limit = None,
    peak_memory_bytes: Limit = None,
) -> dict[str, float]:
    """Limits by metric; latency_ms is held by the upper bound of the estimate."""
    given = {
        "latency_ms": latency_ms, "latency_upper_ms": latency_upper_ms, "params": params, "macs": macs,
        "depth": depth, "convs": convs, "peak_memory_bytes": peak_memory_bytes,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


TheHouse = Annotated[House, Depends(house_of)]
_LOOKING = threading.BoundedSemaphore(LOOKS_AT_ONCE)  # the threads that answer are everybody's
Limits = Annotated[dict[str, float], Depends(limits)]
routes = APIRouter(prefix="/runs", tags=["runs"], dependencies=[Depends(no_unknown_query)])


@routes.get("", summary="All runs, newest first", responses=answers(Runs))
def list_runs(house: TheHouse) -> Json:
    """One row a run."""
    return Json({"runs": house.listing()})


@routes.post("", status_code=201, summary="Queue a search", responses=answers(Named, 201))
def launch(house: TheHouse, asked: Launch) -> Json:
    """Check the settings, and queue a search in a process of its own."""
    config = house.config(asked.config)
    if config.train and not config.constraints.constraints():
        rule = "without a limit the largest network of a space wins; give latency, params, macs, memory or depth"
        raise Refusal(422, rule, "config.constraints", config.constraints.model_dump(exclude_none=True))
    job = house.supervisor.launch(asked.name or _new_name(house.settings.root, config.data), config.to_dict())
    return _named(job, 201)


@routes.get("/{run}", summary="A run on one screen", responses=answers(Overview))
def show(house: TheHouse, run: str) -> Json:
    """Settings, stages, counts, progress, throughput, best, winner, verification, and the state of its job."""
    return Json(house.overview(run))


@routes.post("/{run}/pause", summary="Finish what is under way, then wait", responses=answers(Named))
def pause(house: TheHouse, run: str) -> Json:
    """As Ctrl-C on the command."""
    house.directory(run)
    return _named(house.supervisor.pause(run))


@routes.post("/{run}/resume", summary="Go on", responses=answers(Named))
def resume(house: TheHouse, run: str) -> Json:
    """Queue a run that is paused, stopped or failed; it ends as if it had not been interrupted."""
    house.directory(run)
    return _named(house.supervisor.resume(run))


@routes.post("/{run}/stop", summary="End", responses=answers(Named))
def stop(house: TheHouse, run: str) -> Json:
    """Finish what is under way, then end; it can still be resumed."""
    house.directory(run)
    return _named(house.supervisor.stop(run))


@routes.get("/{run}/candidates", summary="Candidates, a page at a time", responses=answers(Page))
def candidates(  # noqa: PLR0913 - the query
    house: TheHouse,
    run: str,
    at_most: Limits,
    outcome: str | None = None,
    sort: str = "id",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
) -> Json:
    """Rows without designs; ``next`` is the ``after`` of the following page."""
    return Json(house.view(run, lambda opened: views.page(opened, outcome, sort, limit, after, at_most)))


@routes.get("/{run}/candidates/{candidate}", summary="One candidate", responses=answers(Candidate))
def candidate(house: TheHouse, run: str, candidate: Annotated[int, InPath(ge=0, lt=2**53)]) -> Json:
    """Its design, costs of every block, ancestors, and what one change would give."""
    return Json(house.view(run, lambda opened: views.candidate(opened, candidate)))


@routes.get("/{run}/best", summary="The best candidate within further limits", responses=answers(Best))
async def best(house: TheHouse, run: str, at_most: Limits, device: str | None = None) -> Json:
    """Of this run's candidates; with ``device`` the latency is that device's."""
    if device is not None:
        return await run_in_threadpool(
            lambda: Json(house.view(run, lambda opened: _best_on(house, opened, at_most, device)))
        )
    return await house.answer(run, ("best", *sorted(at_most.items())), lambda opened: _best(opened, at_most))


@routes.get("/{run}/pareto", summary="The Pareto set", responses=answers(Pareto))
async def pareto(house: TheHouse, run: str) -> Json:
    """What no other candidate beats in score and cost."""
    return await house.answer(run, "pareto", views.pareto)


@routes.get("/{run}/scatter", summary="All candidates as points and density", responses=answers(Scatter))
async def scatter(
    house: TheHouse,
    run: str,
    points: Annotated[int, Query(ge=0, le=20_000)] = 2000,
    bins: Annotated[int, Query(ge=2, le=256)] = 64,
) -> Json:
    """The Pareto set and a sample as points, the rest as counts of cells."""
    return await house.answer(
        run, ("scatter", points, bins), lambda opened: views.scatter(opened, points=points, bins=bins)
    )


@routes.get("/{run}/compare", summary="Candidates side by side", responses=answers(Comparison))
def compare(house: TheHouse, run: str, ids: Annotated[str, Query(pattern=r"^[0-9]{1,15}(,[0-9]{1,15}){0,7}$")]) -> Json:
    """Up to eight candidates by their numbers, with commas."""
    return Json(house.view(run, lambda opened: views.compare(opened, [int(each) for each in ids.split(",")])))


@routes.get("/{run}/predictors", summary="What the predictors of a run are worth", responses=answers(Predictors))
async def predictors(house: TheHouse, run: str) -> Json:
    """Predicted against measured."""
    return await house.answer(run, "predictors", views.predictors)


def _best(run: Run, at_most: dict[str, float]) -> dict[str, Any]:
    try:
        return views.best(run, at_most)
    except (NothingFeasible, UnknownMetric) as error:
        raise _refused(error, at_most) from None


def _refused(error: NothingFeasible | UnknownMetric, at_most: dict[str, float]) -> Refusal:
    status = 404 if isinstance(error, NothingFeasible) else 422
    return Refusal(status, str(error), ", ".join(at_most) or "limits", ", ".join(f"{v:g}" for v in at_most.values()))


def _best_on(house: House, run: Run, at_most: dict[str, float], device: str) -> dict[str, Any]:
    if not house.settings.allow_custom_code and (device.startswith("command") or "/" in device):
        raise Refusal(403, "is a command or a file; the server does not accept it", "device", device)
    if "latency_ms" not in at_most:
        raise Refusal(422, "a device goes with a budget; give latency_ms", "latency_ms")
    if not _LOOKING.acquire(blocking=False):
        rule = f"{LOOKS_AT_ONCE} requests look for a candidate on another device already; ask again later"
        raise Refusal(429, rule, "device", device)
    with about("device", device):
        try:
            found = run.best_on(device, seconds=LOOKS_S, **at_most)
        except (NothingFeasible, UnknownMetric) as error:
            raise _refused(error, at_most) from None
        finally:
            _LOOKING.release()
    return as_view({**found, "arch": found["arch"].to_dict()})


def _named(job: Job, status: int = 200) -> Json:
    return Json({"name": job.name, "state": job.state}, status)


def _new_name(root: Path, data: str) -> str:
    base = re.sub(r"[^A-Za-z0-9]+", "-", data).strip("-")[:40] or "run"
    stem = f"{base}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    return next(name for i in range(1000) if not (root / (name := f"{stem}-{i}" if i else stem)).exists())
