"""The application: routes, the page, and every error as one JSON line."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from nas.run import NothingFeasible
from nas.service import other_routes, run_routes, watch_routes
from nas.service.answer import Json
from nas.service.gatekeeper import Gatekeeper
from nas.service.house import House
from nas.service.places import Places
from nas.service.refusal import Refusal, is_ours, shown
from nas.service.settings import ServiceSettings
from nas.service.supervisor import Supervisor
from nas.service.warming import Warming
from nas.store import RunFileError
from nas.views import UnknownCandidate

API = "/api/v1"
STATIC = Path(__file__).parent / "static"
_LOG = logging.getLogger(__name__)


class Problem(BaseModel):
    """What was wrong."""

    field: str | None
    value: Any
    rule: str


class ProblemAnswer(BaseModel):
    """The body of every answer of 4xx."""

    error: Problem


def create_app(settings: ServiceSettings) -> FastAPI:
    """The service over the runs of a folder; its jobs are looked after while it is served."""
    settings.root.mkdir(parents=True, exist_ok=True)
    supervisor = Supervisor(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warming = Warming(settings.root)
        supervisor.start()
        warming.start()
        yield
        warming.close()
        supervisor.close()

    app = FastAPI(
        title="netwright",
        description="Searches for neural networks under latency budgets: launch, watch, ask, download.",
        version="1",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses={status: {"model": ProblemAnswer} for status in (400, 401, 403, 404, 409, 411, 413, 421, 422, 429)},
    )
    app.state.house = House(settings, supervisor)
    app.state.places = Places(settings.streams)
    app.include_router(run_routes.routes, prefix=API)
    app.include_router(watch_routes.routes, prefix=API)
    app.include_router(other_routes.routes, prefix=API)
    _answer_errors(app, settings.root)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.get("/", include_in_schema=False)
    def index() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.add_middleware(Gatekeeper, settings=settings)
    return app


def _answer_errors(app: FastAPI, root: Path) -> None:
    def without_root(rule: str) -> str:
        """Where the runs are is nobody's business."""
        return rule.replace(f"{root}/", "")

    @app.exception_handler(Refusal)
    async def refused(_: Request, error: Refusal) -> Json:
        return _answer(error.status, without_root(error.rule), error.field, error.value)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Json:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            reason = f"not JSON: {first['ctx']['error']}, at character {first['loc'][-1]}"
            return _answer(422, reason, "body")
        if isinstance(first.get("input"), bytes):
            given = request.headers.get("content-type")
            return _answer(422, "expected application/json", "Content-Type", given)
        field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return _answer(422, str(first["msg"]), field, first.get("input"))

    @app.exception_handler(HTTPException)
    async def missed(request: Request, error: HTTPException) -> Json:
        if error.status_code == 400:
            return _answer(400, "expected JSON in UTF-8, not nested deeply", "body")
        return _answer(error.status_code, f"{error.detail}; see /api/openapi.json", "path", request.url.path)

    @app.exception_handler(ValueError)
    @app.exception_handler(RuntimeError)
    async def foreseen(_: Request, error: Exception) -> Json:
        if not is_ours(error):
            raise error
        statuses = ((NothingFeasible, 404), (UnknownCandidate, 404), (RunFileError, 409))
        status = next((status for kind, status in statuses if isinstance(error, kind)), 422)
        rule = getattr(error, "rule", str(error))
        return _answer(status, without_root(rule), getattr(error, "field", None), getattr(error, "value", None))


def _answer(status: int, rule: str, field: str | None = None, value: Any = None) -> Json:
    return Json({"error": {"field": field, "value": shown(value), "rule": rule}}, status)
