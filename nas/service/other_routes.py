"""Routes beside the runs: health, estimates, predictions, devices, and what can be named in a search."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool

from nas import views
from nas.service.answer import Json
from nas.service.answers import (
    Cluster,
    Device,
    Devices,
    Estimated,
    Health,
    Predicted,
    Scores,
    Spaces,
    Uploaded,
    answers,
)
from nas.service.checks import no_unknown_query
from nas.service.prediction import predict as predict_rows
from nas.service.refusal import Refusal, is_ours
from nas.service.requests import Estimate, Predict
from nas.service.run_routes import TheHouse

SMALL = 4_000  # bytes of networks whose counts cost less than a thread
routes = APIRouter(dependencies=[Depends(no_unknown_query)])


@routes.get("/health", summary="Whether the server lives", responses=answers(Health), tags=["server"])
def health(house: TheHouse) -> Json:
    """Needs no token."""
    from importlib.metadata import version

    states = [job.state for job in house.supervisor.table.all().values()]
    return Json({"version": version("netwright"), "running": states.count("running"), "queued": states.count("queued")})


@routes.get("/cluster", summary="The Ray cluster of the searches", responses=answers(Cluster), tags=["server"])
def cluster(house: TheHouse) -> Json:
    """That of ``netwright serve --address``, and whether its head answers; null: searches run on the server."""
    chosen = house.settings.cluster
    return Json({"cluster": None if chosen is None else chosen.view()})


@routes.post(
    "/estimate", summary="What a search would meet, before it starts", responses=answers(Estimated), tags=["runs"]
)
def estimate(house: TheHouse, asked: Estimate) -> Json:
    """The share of networks within the limits, the tightest budget, the time; costs a second or two."""
    return Json(views.estimate(house.config(asked.config)))


@routes.post(
    "/predict", summary="Costs, latency and accuracy of networks", responses=answers(Predicted), tags=["predict"]
)
async def predict(house: TheHouse, request: Request, asked: Predict) -> Json:
    """By counts, by the table of a device and by a stored predictor; nothing is measured or trained."""
    settings = house.settings
    counts_only = asked.device is None and asked.predictor is None
    if counts_only and int(request.headers.get("content-length", SMALL)) < SMALL:  # quicker than a thread
        return Json(predict_rows(asked, settings.root, allow_custom_code=settings.allow_custom_code))
    return await run_in_threadpool(
        lambda: Json(predict_rows(asked, settings.root, allow_custom_code=settings.allow_custom_code))
    )


@routes.get("/devices", summary="Devices whose latencies are known", responses=answers(Devices), tags=["devices"])
def devices() -> Json:
    """One row a device."""
    return Json(views.devices())


@routes.get("/devices/{name}", summary="One device", responses=answers(Device), tags=["devices"])
def device(name: str) -> Json:
    """Its card, its tables, what has drifted."""
    try:
        return Json(views.device(name))
    except ValueError as error:
        if not is_ours(error):
            raise
        raise Refusal(404, str(error), "name", name) from None


@routes.post(
    "/devices",
    status_code=201,
    summary="Upload a device's table",
    responses=answers(Uploaded, 201),
    tags=["devices"],
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}, "required": True}},
)
async def add_device(
    request: Request, name: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = None
) -> Json:
    """A file of ``netwright device export`` as JSON; rows of a device that is known are merged, the last one wins."""
    body = await request.body()
    try:
        given = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refusal(422, f"expected the JSON of `netwright device export` ({error})", "body") from None
    if not isinstance(given, dict) or "version" not in given:
        raise Refusal(422, "expected the JSON of `netwright device export`, an object with its version", "body", given)
    return await run_in_threadpool(_stored, body, name)


@routes.get("/spaces", summary="Search spaces", responses=answers(Spaces), tags=["names"])
def spaces() -> Json:
    """By the names that a search takes."""
    from search_spaces import SPACES

    return Json({"spaces": [{"name": name} for name in SPACES]})


@routes.get("/scores", summary="Scores of networks without training", responses=answers(Scores), tags=["names"])
def scores() -> Json:
    """By the names that a search takes."""
    from nas.objective import SCORES

    return Json({"scores": [{"name": name} for name in SCORES]})


def _stored(body: bytes, name: str | None) -> Json:
    from dataclasses import replace

    from hardware.device_store import device_path, load_device, save_device
    from hardware.plan import merge_files

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.json"
        file.write_bytes(body)
        try:
            table = merge_files([file])
        except ValueError as error:
            raise Refusal(422, str(error).replace(f"{file}", "table"), "body") from None
    table = replace(table, name=name) if name else table
    if device_path(table.name).is_file():
        table = load_device(table.name).merged(table)
    save_device(table)
    return Json({"name": table.name, "rows": sum(1 for _ in table.rows())}, 201)
