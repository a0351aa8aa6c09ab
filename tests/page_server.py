"""The page with its views over HTTP, as small as can be: what the browser tests need of a service, and its policy."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from nas import views
from nas.config import Config
from nas.run import Run
from nas.store.sampling import last_id
from nas.views.document import STATIC

TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
API = "/api/v1/"


class PageServer:
    """Serves the runs of a folder on a port of its own until it is closed; ``posted`` is what the page asked for."""

    def __init__(self, root: Path, port: int = 0) -> None:
        self.root, self.posted = root, list[tuple[str, Any]]()
        self.states: dict[str, str] = {}
        self._open = True
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.get(self)

            def do_POST(self) -> None:
                server.post(self)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._served = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._served.daemon_threads = True
        self.port = self._served.server_port
        self._thread = threading.Thread(target=self._served.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._served.shutdown()
        self._served.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}/"

    def get(self, request: Any) -> None:
        """A file, a view or a stream."""
        asked = urlsplit(request.path)
        if not asked.path.startswith(API):
            name = asked.path.strip("/").removeprefix("static/") or "index.html"
            file = STATIC / name
            found = file.is_file()
            _answer(
                request,
                200 if found else 404,
                file.read_bytes() if found else b"",
                TYPES.get(file.suffix, "text/plain"),
            )
            return
        parts = [unquote(part) for part in asked.path.removeprefix(API).split("/")]
        query = {key: values[-1] for key, values in parse_qs(asked.query).items()}
        if parts[-1] == "stream":
            self._stream(request, parts[1])
            return
        self._json(request, lambda: self._view(parts, query))

    def _view(self, parts: list[str], query: dict[str, str]) -> Any:
        whole = {
            "health": lambda: {"version": "0", "running": 0},
            "runs": lambda: {"runs": [self._of(path.name, self._lite) for path in sorted(self.root.iterdir())]},
            "cluster": lambda: {"cluster": None},
            "spaces": lambda: {"spaces": [{"name": "zen-tiny"}]},
            "devices": views.devices,
        }
        if len(parts) == 1:
            return whole[parts[0]]()
        _, name, *kind = parts
        of_run: dict[str, Callable[[Run], Any]] = {
            "": self._whole,
            "scatter": views.scatter,
            "pareto": views.pareto,
            "predictors": views.predictors,
            "candidates": lambda run: _page(run, query) if len(kind) == 1 else views.candidate(run, int(kind[1])),
            "compare": lambda run: views.compare(run, [int(i) for i in query["ids"].split(",")]),
        }
        return self._of(name, of_run[kind[0] if kind else ""])

    def post(self, request: Any) -> None:
        """What the page wants done."""
        body = json.loads(request.rfile.read(int(request.headers["content-length"])))
        path = request.path.removeprefix(API)
        self.posted.append((path, body))
        self._json(request, lambda: self._done(path, body))

    def _done(self, path: str, body: Any) -> Any:
        if path == "estimate":
            return views.estimate(Config.from_dict(body["config"]))
        if path == "runs":
            return {"name": body.get("name") or "run", "state": "queued"}
        _, name, verb = path.split("/")
        self.states[name] = {"pause": "paused", "resume": "running", "stop": "stopped"}[verb]
        return {"name": name, "state": self.states[name]}

    def _stream(self, request: Any, name: str) -> None:
        _head(request, 200, "text/event-stream")
        seen: Any = None
        try:
            while self._open:
                now = (self._of(name, lambda run: last_id(run.store)), self.states.get(name))
                if now != seen:
                    seen = now
                    text = json.dumps(self._of(name, self._whole))
                    request.wfile.write(f"event: overview\ndata: {text}\n\n".encode())
                    request.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    def _of(self, name: str, view: Callable[[Run], Any]) -> Any:
        if name in self.states and not (self.root / name).is_dir():
            return {"name": name, "state": self.states[name], "job": {"message": "3 searches are before it"}}
        with Run.open(self.root / name) as run:
            return view(run)

    def _lite(self, run: Run) -> dict[str, Any]:
        return {**views.listing(run), "state": self.states.get(run.directory.name)}

    def _whole(self, run: Run) -> dict[str, Any]:
        return {**views.overview(run), "state": self.states.get(run.directory.name)}

    def _json(self, request: Any, answer: Callable[[], Any]) -> None:
        try:
            status, body = 200, answer()
        except (ValueError, RuntimeError) as error:
            status, body = 422, {"error": {"field": None, "value": None, "rule": str(error)}}
        _answer(request, status, json.dumps(body, allow_nan=False).encode(), "application/json")


def _page(run: Run, query: dict[str, str]) -> dict[str, Any]:
    limits = {key: float(value) for key, value in query.items() if key == "latency_ms"}
    after = int(query["after"]) if "after" in query else None
    return views.page(run, query.get("outcome"), query["sort"], int(query["limit"]), after, limits)


def _answer(request: Any, status: int, body: bytes, kind: str) -> None:
    _head(request, status, kind, len(body))
    request.wfile.write(body)


def _head(request: Any, status: int, kind: str, length: int | None = None) -> None:
    request.send_response(status)
    request.send_header("content-type", kind)
    request.send_header("content-security-policy", "default-src 'self'")
    request.send_header("cache-control", "no-store")
    if length is not None:
        request.send_header("content-length", str(length))
    request.end_headers()
