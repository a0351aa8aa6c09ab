"""Routes of runs: launch, watch, steer, ask, download."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, StreamingResponse

from nas import views
from nas.run import NothingFeasible, Run
from nas.service.artifacts import artifact, artifacts
from nas.service.checks import no_unknown_query
from nas.service.gatekeeper import REPORT_POLICY
from nas.service.house import House
from nas.service.refusal import Refusal
from nas.service.requests import Launch
from nas.service.stream import follow
from nas.store.sampling import last_id

Limit = Annotated[float | None, Query(gt=0, le=1e300, allow_inf_nan=False)]


def house_of(request: Request) -> House:
    """Of the application."""
    house: House = request.app.state.house
    return house


def limits(  # noqa: PLR0913 - one for each cost
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
Limits = Annotated[dict[str, float], Depends(limits)]
routes = APIRouter(prefix="/runs", tags=["runs"], dependencies=[Depends(no_unknown_query)])


@routes.get("", summary="All runs, newest first")
def list_runs(house: TheHouse) -> dict[str, Any]:
    """One row a run."""
    return {"runs": house.listing()}


@routes.post("", status_code=201, summary="Queue a search")
def launch(house: TheHouse, asked: Launch) -> dict[str, Any]:
    """Check the settings, and queue a search in a process of its own."""
    config = house.config(asked.config)
    job = house.supervisor.launch(asked.name or _new_name(house.settings.root, config.data), config.to_dict())
    return {"name": job.name, "state": job.state}


@routes.get("/{run}", summary="A run on one screen")
def show(house: TheHouse, run: str) -> dict[str, Any]:
    """Settings, stages, counts, progress, throughput, best, winner, verification, and the state of its job."""
    return house.overview(run)


@routes.post("/{run}/pause", summary="Finish what is under way, then wait")
def pause(house: TheHouse, run: str) -> dict[str, Any]:
    """As Ctrl-C on the command."""
    house.directory(run)
    return _named(house.supervisor.pause(run))


@routes.post("/{run}/resume", summary="Go on")
def resume(house: TheHouse, run: str) -> dict[str, Any]:
    """Queue a run that is paused, stopped or failed; it ends as if it had not been interrupted."""
    house.directory(run)
    return _named(house.supervisor.resume(run))


@routes.post("/{run}/stop", summary="End")
def stop(house: TheHouse, run: str) -> dict[str, Any]:
    """Finish what is under way, then end; it can still be resumed."""
    house.directory(run)
    return _named(house.supervisor.stop(run))


@routes.get("/{run}/stream", summary="Watch a run", response_class=StreamingResponse)
def stream(house: TheHouse, run: str, request: Request) -> StreamingResponse:
    """Server-sent events ``overview``, ``event`` and ``state``; Last-Event-ID continues after an event of the file."""
    house.directory(run)
    last = request.headers.get("last-event-id", "-1")
    after = int(last) if re.fullmatch(r"-?[0-9]{1,15}", last) else -1
    app = request.app.state
    if app.streams.count >= house.settings.streams:
        raise Refusal(429, f"{house.settings.streams} streams are open already; close one")

    def look() -> tuple[Any, dict[str, Any], Any, list[dict[str, Any]]]:
        state = house.state(run)
        try:
            with house.open(run) as opened:
                mark, events = last_id(opened.store), opened.events()
        except Refusal:
            mark, events = None, []
        return (mark, len(events), state["state"]), state, lambda: house.overview(run), [_short(e) for e in events]

    return StreamingResponse(app.streams.counted(follow(look, after)), media_type="text/event-stream")


@routes.get("/{run}/candidates", summary="Candidates, a page at a time")
def candidates(  # noqa: PLR0913 - the query
    house: TheHouse,
    run: str,
    at_most: Limits,
    outcome: str | None = None,
    sort: str = "id",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
) -> dict[str, Any]:
    """Rows without designs; ``next`` is the ``after`` of the following page."""
    return house.view(run, lambda opened: views.page(opened, outcome, sort, limit, after, at_most))


@routes.get("/{run}/candidates/{candidate}", summary="One candidate")
def candidate(house: TheHouse, run: str, candidate: Annotated[int, InPath(ge=0, lt=2**53)]) -> dict[str, Any]:
    """Its design, costs of every block, ancestors, and what one change would give."""
    return house.view(run, lambda opened: views.candidate(opened, candidate))


@routes.get("/{run}/best", summary="The best candidate within further limits")
def best(house: TheHouse, run: str, at_most: Limits, device: str | None = None) -> dict[str, Any]:
    """Of this run's candidates; with ``device`` the latency is that device's."""
    return house.view(run, lambda opened: _best(house, opened, at_most, device))


@routes.get("/{run}/pareto", summary="The Pareto set")
def pareto(house: TheHouse, run: str) -> dict[str, Any]:
    """What no other candidate beats in score and cost."""
    return house.view(run, views.pareto)


@routes.get("/{run}/scatter", summary="All candidates as points and density")
def scatter(
    house: TheHouse,
    run: str,
    points: Annotated[int, Query(ge=0, le=20_000)] = 2000,
    bins: Annotated[int, Query(ge=2, le=256)] = 64,
) -> dict[str, Any]:
    """The Pareto set and a sample as points, the rest as counts of cells."""
    return house.view(run, lambda opened: views.scatter(opened, points=points, bins=bins))


@routes.get("/{run}/compare", summary="Candidates side by side")
def compare(house: TheHouse, run: str, ids: Annotated[str, Query(pattern=r"^[0-9]{1,15}(,[0-9]{1,15}){0,7}$")]) -> Any:
    """Up to eight candidates by their numbers, with commas."""
    return house.view(run, lambda opened: views.compare(opened, [int(each) for each in ids.split(",")]))


@routes.get("/{run}/predictors", summary="What the predictors of a run are worth")
def predictors(house: TheHouse, run: str) -> dict[str, Any]:
    """Predicted against measured."""
    return house.view(run, views.predictors)


@routes.get("/{run}/artifacts", summary="Files of a run")
def list_artifacts(house: TheHouse, run: str) -> dict[str, Any]:
    """Paths, bytes, SHA-256."""
    return {"artifacts": artifacts(house.directory(run))}


@routes.get("/{run}/artifacts/{path:path}", summary="One file of a run", response_class=FileResponse)
def get_artifact(house: TheHouse, run: str, path: str) -> FileResponse:
    """As a download; the report is shown, without scripts."""
    file = artifact(house.directory(run), path)
    if file.name == "report.html":
        return FileResponse(file, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})
    return FileResponse(file, filename=file.name)


def _best(house: House, run: Run, at_most: dict[str, float], device: str | None) -> dict[str, Any]:
    try:
        if device is None:
            [first] = views.page(run, "scored", "score", 1, None, at_most)["rows"] or [run.best(**at_most)]
            found = {**first, "arch": run.architecture(first["id"])}
        else:
            if not house.settings.allow_custom_code and (device.startswith("command") or "/" in device):
                raise Refusal(403, "is a command or a file; the server does not accept it", "device", device)
            if "latency_ms" not in at_most:
                raise Refusal(422, "a device goes with a budget; give latency_ms", "latency_ms")
            found = run.best_on(device, **at_most)
    except NothingFeasible as error:
        raise Refusal(404, str(error), "limits", at_most) from None
    return {**found, "arch": found["arch"].to_dict()}


def _named(job: Any) -> dict[str, Any]:
    return {"name": job.name, "state": job.state}


def _short(event: dict[str, Any]) -> dict[str, Any]:
    """An event without its large parts: the overview has them."""
    return {key: value for key, value in event.items() if isinstance(value, bool | int | str) or value is None}


def _new_name(root: Path, data: str) -> str:
    base = re.sub(r"[^A-Za-z0-9]+", "-", data).strip("-")[:40] or "run"
    stem = f"{base}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    return next(name for i in range(1000) if not (root / (name := f"{stem}-{i}" if i else stem)).exists())
