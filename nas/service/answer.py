"""Answers as JSON that any client reads, made once: nothing goes through a second validation or encoder."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response


def encoded(content: Any) -> bytes:
    """JSON without NaN, in ASCII: half a surrogate pair that a client sent is repeated as an escape."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


class Json(Response):
    """What is given, encoded; bytes are taken as they are."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return content if isinstance(content, bytes) else encoded(content)
