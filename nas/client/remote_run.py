"""A run on a server."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.client.connection import Connection, ServerGone, ServerRefused

if TYPE_CHECKING:
    import pandas as pd

ENDED = ("finished", "failed", "stopped", "paused")
PAGE = 1000
RECONNECT_S = 0.5


@dataclass(frozen=True)
class RemoteRun:
    """A run on a server.

    Attributes:
        client: asks.
        name: of the run.
    """

    client: Connection
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
                    for kind, identity, data in events_of(lines):
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
        return f"/runs/{urllib.parse.quote(self.name, safe='')}"

    def _get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self.client.ask("GET", f"{self._path}{path}", query)


def events_of(lines: Iterable[bytes]) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """Kind, number and data of whole events; one that was cut off is dropped."""
    fields: dict[str, str] = {}
    for raw in lines:
        name, _, text = raw.decode().rstrip("\n").partition(": ")
        if raw == b"\n" and "data" in fields:
            yield fields.get("event", ""), fields.get("id"), json.loads(fields["data"])
        fields = {} if raw == b"\n" else {**fields, name: text}
