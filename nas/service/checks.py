"""Checks of requests that FastAPI leaves out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request

from nas.service.refusal import Refusal


async def no_unknown_query(request: Request) -> None:
    """Refuse a query parameter that the route does not know, with the nearest name, and one that is given twice."""
    if not request.scope["query_string"]:
        return
    known = set(_query_names(request.scope["route"].dependant))
    for name in request.query_params:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            expected = (
                f"did you mean {near[0]!r}?" if near else f"expected {', '.join(sorted(known)) or 'no parameters'}"
            )
            raise Refusal(422, f"unknown parameter; {expected}", name, request.query_params[name])
        if len(request.query_params.getlist(name)) > 1:
            raise Refusal(422, "is given twice, expected once", name)


def _query_names(dependant: Any) -> Iterator[str]:
    """Of a route and of what it depends on."""
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)
