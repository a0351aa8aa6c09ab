"""Routes that send more than one answer at once: the stream of a run, and its files."""

from __future__ import annotations

import os
import re
from functools import partial
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from nas.service.answer import Json
from nas.service.answers import Artifacts, answers
from nas.service.artifacts import DATABASE, artifact, artifacts, chunks, snapshot
from nas.service.checks import no_unknown_query
from nas.service.gatekeeper import REPORT_POLICY
from nas.service.places import PlacedStream
from nas.service.run_routes import TheHouse
from nas.service.stream import follow, look

routes = APIRouter(prefix="/runs", tags=["runs"], dependencies=[Depends(no_unknown_query)])


@routes.get("/{run}/stream", summary="Watch a run", response_class=StreamingResponse)
def stream(house: TheHouse, run: str, request: Request) -> StreamingResponse:
    """Server-sent events ``overview``, ``event`` and ``state``; Last-Event-ID continues after an event of the file."""
    house.directory(run)
    last = request.headers.get("last-event-id", "0")
    after = int(last) if re.fullmatch(r"[0-9]{1,15}", last) else 0
    lines = follow(partial(look, house, run), partial(house.overview, run), after)
    return PlacedStream(lines, request.app.state.places)


@routes.get("/{run}/artifacts", summary="Files of a run", responses=answers(Artifacts))
def list_artifacts(house: TheHouse, run: str) -> Json:
    """Paths, bytes, SHA-256."""
    return Json({"artifacts": artifacts(house.directory(run))})


@routes.get("/{run}/artifacts/{path:path}", summary="One file of a run", response_class=FileResponse)
def get_artifact(house: TheHouse, run: str, path: str) -> Response:
    """As a download; the report is shown, without scripts; a database is sent whole as of now, with its log."""
    file = artifact(house.directory(run), path)
    if file.name == "report.html":
        return FileResponse(file, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})
    if file.suffix != DATABASE:
        return FileResponse(file, filename=file.name)
    copy = snapshot(file, house.settings.own_folder)
    headers = {
        "content-length": str(os.fstat(copy.fileno()).st_size),
        "content-disposition": f"attachment; filename*=utf-8''{quote(file.name)}",
    }
    return StreamingResponse(chunks(copy), media_type="application/vnd.sqlite3", headers=headers)
