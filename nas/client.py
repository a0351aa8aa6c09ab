"""A server's searches from Python, with the verbs of the local API; needs neither torch nor Ray."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

API = "/api/v1"
ENDED = ("finished", "failed", "stopped", "paused")
PAGE = 1000
RECONNECT_S = 0.5


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


class Client:
    """A server of ``netwright serve``.

    Example: ``Client("http://127.0.0.1:8000").search(data="digits", latency="0.2ms").wait().best(latency_ms=0.1)``.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 60.0) -> None:
        """Nothing is asked yet.

        Args:
            url: of the server, for example "http://127.0.0.1:8000".
            token: of the server, where it wants one.
            timeout: seconds for an answer.
        Raises: ValueError: not an address.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"client: url={url!r}, expected an address such as http://127.0.0.1:8000")
        self._base, self._token, self._timeout = f"{parts.scheme}://{parts.netloc}{API}", token, timeout

    def health(self) -> dict[str, Any]:
        """Version, and how many jobs run and wait."""
        return dict(self.ask("GET", "/health"))

    def runs(self) -> list[dict[str, Any]]:
        """One row a run, the newest first."""
        return list(self.ask("GET", "/runs")["runs"])

    def run(self, name: str) -> RemoteRun:
        """A run by its name; raises ServerRefused when there is none."""
        found = RemoteRun(self, name)
        found.status()
        return found

    def search(  # noqa: PLR0913 - as nas.search
        self,
        *,
        data: str = "digits",
        latency: str | None = None,
        device: str = "onnxruntime",
        space: str = "auto",
        name: str | None = None,
        seed: int = 0,
        config: Mapping[str, Any] | None = None,
    ) -> RemoteRun:  # fmt: skip
        """Queue a search, as ``nas.search``; returns at once.

        Args:
            data: dataset.
            latency: budget with its unit, for example "2ms"; None for no latency budget.
            device: what the budget is held on.
            space: name of a search space.
            name: of the run; None lets the server choose.
            seed: of everything random.
            config: further settings; the arguments above are laid on top where given.
        Raises: ServerRefused: with field, value and rule.
        """
        base = dict(config or {})
        given: dict[str, Any] = {"data": data, "device": device, "space": space, "seed": seed}
        usual = {"data": "digits", "device": "onnxruntime", "space": "auto", "seed": 0}
        base |= {key: value for key, value in given.items() if key not in base or value != usual[key]}
        if latency is not None:
            base["constraints"] = {**base.get("constraints", {}), "latency": latency}
        body = {"config": base} | ({} if name is None else {"name": name})
        return RemoteRun(self, self.ask("POST", "/runs", body=body)["name"])

    def estimate(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What a search would meet: feasible share, tightest budget, time."""
        return dict(self.ask("POST", "/estimate", body={"config": dict(config)}))

    def predict(
        self,
        archs: Sequence[Any],
        *,
        input_shape: Sequence[int] = (3, 32, 32),
        num_classes: int = 10,
        space: str | None = None,
        device: str | None = None,
        predictor: str | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Costs of architectures, their latency on a device and their accuracy by a predictor of the server.

        Args:
            archs: ``Architecture``, its dictionary, or a published text.
            input_shape: (channels, height, width).
            num_classes: outputs.
            space: whose latency table is used.
            device: whose latency is predicted.
            predictor: name of a predictor on the server.
        Returns: one row a network.
        """
        import pandas as pd

        plain = [each.to_dict() if hasattr(each, "to_dict") else each for each in archs]
        body = {"archs": plain, "input_shape": list(input_shape), "num_classes": num_classes}
        named = {"space": space, "device": device, "predictor": predictor}
        body |= {key: value for key, value in named.items() if value is not None}
        return pd.DataFrame(self.ask("POST", "/predict", body=body)["rows"])

    def devices(self) -> list[dict[str, Any]]:
        """Devices whose latencies the server knows."""
        return list(self.ask("GET", "/devices")["devices"])

    def add_device(self, file: str | Path, name: str | None = None) -> dict[str, Any]:
        """Upload a JSON table of ``netwright device export``."""
        query = {} if name is None else {"name": name}
        return dict(self.ask("POST", "/devices", query, json.loads(Path(file).read_text(encoding="utf-8"))))

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


@dataclass(frozen=True)
class RemoteRun:
    """A run on a server.

    Attributes:
        client: asks.
        name: of the run.
    """

    client: Client
    name: str

    def status(self) -> dict[str, Any]:
        """Everything that the first screen of a run shows, its state among it."""
        return dict(self._get(""))

    def wait(self, seconds: float | None = None, every: float = 1.0) -> RemoteRun:
        """Until the job has ended.

        Args:
            seconds: at most; None for ever.
            every: so many seconds it is looked at.
        Raises: TimeoutError; ServerRefused: the job failed, with its reason.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while (status := self.status())["state"] not in ENDED:
            if until is not None and time.monotonic() > until:
                raise TimeoutError(f"run {self.name}: still {status['state']} after {seconds:g} s")
            time.sleep(every)
        if status["state"] == "failed":
            raise ServerRefused(
                409, {"field": "run", "value": self.name, "rule": f"failed: {status['job']['message']}"}
            )
        return self

    def watch(self, patience: float = 60.0) -> Iterator[tuple[str, dict[str, Any]]]:
        """Events as they come: ("overview" | "event" | "state", data); ends when the job has.

        A connection that is cut is taken up again after the last event of the run file that came, also with another
        server at the same address; what the run looks like is then told anew.

        Args:
            patience: seconds for which a server may be away.
        Raises: ServerRefused; ServerGone: it was away for longer.
        """
        last: str | None = None
        told: dict[str, Any] | None = None
        gone_since: float | None = None
        while True:
            try:
                resumed = {} if last is None else {"last-event-id": last}
                with self.client.open("GET", f"{self._path}/stream", further=resumed) as lines:
                    gone_since = None
                    for kind, identity, data in _events(lines):
                        last = identity or last
                        if kind == "state" and data == told:
                            continue
                        told = data if kind == "state" else told
                        yield kind, data
                        if kind == "overview" and data.get("state") in ENDED:
                            return
            except (ServerGone, OSError, http.client.HTTPException):
                pass
            gone_since = gone_since or time.monotonic()
            if time.monotonic() - gone_since > patience:
                raise ServerGone(f"client: run {self.name}: nobody has answered for {patience:g} s")
            time.sleep(RECONNECT_S)

    def candidates(self, **query: Any) -> pd.DataFrame:
        """All candidates, or those of a query such as ``outcome="scored", latency_ms=0.2``."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        after: int | None = None
        while True:
            page = self._get("/candidates", {"limit": PAGE, **query} | ({} if after is None else {"after": after}))
            rows += page["rows"]
            after = page["next"]
            if after is None:
                return pd.DataFrame(rows)

    def pareto(self) -> pd.DataFrame:
        """What no other candidate beats in score and cost."""
        import pandas as pd

        return pd.DataFrame(self._get("/pareto")["rows"])

    def best(self, device: str | None = None, **at_most: float) -> dict[str, Any]:
        """The best candidate within further limits, with its architecture as a dictionary under "arch"."""
        return dict(self._get("/best", {**at_most, **({} if device is None else {"device": device})}))

    def pause(self) -> str:
        """Finish what is under way, then wait; the new state."""
        return str(self.client.ask("POST", f"{self._path}/pause")["state"])

    def resume(self) -> str:
        """Go on; the new state."""
        return str(self.client.ask("POST", f"{self._path}/resume")["state"])

    def stop(self) -> str:
        """End; the new state."""
        return str(self.client.ask("POST", f"{self._path}/stop")["state"])

    def artifacts(self) -> list[dict[str, Any]]:
        """Files: path, bytes, sha256."""
        return list(self._get("/artifacts")["artifacts"])

    def download(self, path: str, to: str | Path) -> Path:
        """One file of the run, whole and as the server has it, or not at all.

        Args:
            path: as ``artifacts`` lists it.
            to: a folder, or the file to write.
        Raises: ServerRefused; RuntimeError: what came is not what the server has.
        """
        known = {each["path"]: each for each in self.artifacts()}
        target = Path(to) / Path(path).name if Path(to).is_dir() else Path(to)
        with self.client.open("GET", f"{self._path}/artifacts/{urllib.parse.quote(path)}") as answer:
            content = answer.read()
        wanted = known.get(path, {}).get("sha256")
        if wanted is not None and hashlib.sha256(content).hexdigest() != wanted:
            raise RuntimeError(f"run {self.name}: {path} changed on its way; ask again")
        half = target.with_name(f".{target.name}.part")
        half.write_bytes(content)
        half.replace(target)
        return target

    @property
    def _path(self) -> str:
        return f"/runs/{urllib.parse.quote(self.name)}"

    def _get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self.client.ask("GET", f"{self._path}{path}", query)


def _events(lines: Iterable[bytes]) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """Kind, number and data of whole events; one that was cut off is dropped."""
    fields: dict[str, str] = {}
    for raw in lines:
        name, _, text = raw.decode().rstrip("\n").partition(": ")
        if raw == b"\n" and "data" in fields:
            yield fields.get("event", ""), fields.get("id"), json.loads(fields["data"])
        fields = {} if raw == b"\n" else {**fields, name: text}


def _problem(error: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        return dict(json.loads(error.read())["error"])
    except (ValueError, KeyError, TypeError):
        return {"rule": error.reason}
