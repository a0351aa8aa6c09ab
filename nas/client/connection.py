"""Requests of a server's API and its refusals; needs neither torch nor Ray."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

API = "/api/v1"


class ServerRefused(RuntimeError):
    """The server said no; the message names field, value and rule.

    Attributes:
        status: of HTTP.
        field: of the request, or None.
    """

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        field, value, rule = (error.get(name) for name in ("field", "value", "rule"))
        place = "" if field is None else f"{field}{'' if value is None else f'={value!r}'}: "
        super().__init__(f"server ({status}): {place}{rule}")
        self.status, self.field = status, field


class ServerGone(RuntimeError):
    """Nobody answers at that address."""


class Connection:
    """To a server of ``netwright serve``."""

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 60.0) -> None:
        """Nothing is asked yet.

        Args:
            url: of the server, for example "http://127.0.0.1:8000".
            token: of the server, where it wants one.
            timeout: seconds for an answer.
        Raises: ValueError: not an address, or a token that no header can hold.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"client: url={url!r}, expected an address such as http://127.0.0.1:8000")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ValueError("client: the token has characters other than printable ASCII (a line break at its end?)")
        self._base, self._token, self._timeout = f"{parts.scheme}://{parts.netloc}{API}", token, timeout

    def ask(self, verb: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """One request of the API.

        Args:
            verb: GET or POST.
            path: below ``/api/v1``.
            query: parameters.
            body: JSON-ready.
        Returns: what the server answers, from JSON.
        Raises: ServerRefused; ServerGone.
        """
        with self.open(verb, path, query, body) as answer:
            return json.loads(answer.read())

    def open(
        self,
        verb: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        further: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer as a file, asked for with further headers; raises as ``ask``."""
        address = f"{self._base}{path}{'?' + urllib.parse.urlencode(query) if query else ''}"
        data = None if body is None and verb == "GET" else json.dumps({} if body is None else body).encode()
        headers = dict(further or {}) | ({"content-type": "application/json"} if data is not None else {})
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(address, data, headers, method=verb)
        try:
            return urllib.request.urlopen(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            with error:
                raise ServerRefused(error.code, _problem(error)) from None
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise ServerGone(f"client: {self._base}: {reason}; is `netwright serve` running there?") from None


def _problem(error: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        return dict(json.loads(error.read())["error"])
    except (ValueError, KeyError, TypeError):
        return {"rule": error.reason}
