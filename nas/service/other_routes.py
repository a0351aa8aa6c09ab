"""Routes beside the runs: health, estimates, predictions, devices, and what can be named in a search."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from nas import views
from nas.service.checks import no_unknown_query
from nas.service.prediction import predict as predict_rows
from nas.service.refusal import Refusal
from nas.service.requests import Estimate, Predict
from nas.service.run_routes import TheHouse

routes = APIRouter(dependencies=[Depends(no_unknown_query)])


@routes.get("/health", summary="Whether the server lives", tags=["server"])
def health(house: TheHouse) -> dict[str, Any]:
    """Needs no token."""
    from importlib.metadata import version

    states = [job.state for job in house.supervisor.table.all().values()]
    return {"version": version("netwright"), "running": states.count("running"), "queued": states.count("queued")}


@routes.post("/estimate", summary="What a search would meet, before it starts", tags=["runs"])
def estimate(house: TheHouse, asked: Estimate) -> dict[str, Any]:
    """The share of networks within the limits, the tightest budget, the time; costs a second or two."""
    return views.estimate(house.config(asked.config))


@routes.post("/predict", summary="Costs, latency and accuracy of networks", tags=["predict"])
def predict(house: TheHouse, asked: Predict) -> dict[str, Any]:
    """By counts, by the table of a device and by a stored predictor; nothing is measured or trained."""
    return predict_rows(asked, house.settings.root, allow_custom_code=house.settings.allow_custom_code)


@routes.get("/devices", summary="Devices whose latencies are known", tags=["devices"])
def devices() -> dict[str, Any]:
    """One row a device."""
    return views.devices()


@routes.get("/devices/{name}", summary="One device", tags=["devices"])
def device(name: str) -> dict[str, Any]:
    """Its card, its tables, what has drifted."""
    return views.device(name)


@routes.post(
    "/devices",
    status_code=201,
    summary="Upload a device's table",
    tags=["devices"],
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}, "required": True}},
)
async def add_device(
    request: Request, name: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = None
) -> dict[str, Any]:
    """A file of ``netwright device export`` as JSON; rows of a device that is known are merged, the last one wins."""
    body = await request.body()
    try:
        json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(422, f"expected the JSON of `netwright device export` ({error})", "body") from None
    return _stored(body, name)


@routes.get("/spaces", summary="Search spaces", tags=["names"])
def spaces() -> dict[str, Any]:
    """By the names that a search takes."""
    from search_spaces import SPACES

    return {"spaces": [{"name": name} for name in SPACES]}


@routes.get("/scores", summary="Scores of networks without training", tags=["names"])
def scores() -> dict[str, Any]:
    """By the names that a search takes."""
    from nas.objective import SCORES

    return {"scores": [{"name": name} for name in SCORES]}


def _stored(body: bytes, name: str | None) -> dict[str, Any]:
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
    return {"name": table.name, "rows": sum(1 for _ in table.rows())}
