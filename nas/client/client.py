"""A server's searches, with the verbs of the local API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.client.connection import Connection
from nas.client.remote_run import RemoteRun

if TYPE_CHECKING:
    import pandas as pd


class Client(Connection):
    """A server of ``netwright serve``.

    Example: ``Client("http://127.0.0.1:8000").search(data="digits", latency="0.2ms").wait().best(latency_ms=0.1)``.
    """

    def health(self) -> dict[str, Any]:
        """Version, and how many jobs run and wait."""
        return dict(self.ask("GET", "/health"))

    def runs(self) -> list[dict[str, Any]]:
        """One row a run, the newest first."""
        return list(self.ask("GET", "/runs")["runs"])

    def run(self, name: str) -> RemoteRun:
        """A run by its name; raises ServerRefused when there is none, ValueError: it is empty."""
        if not name:
            raise ValueError("client: run name '', expected the name of a run")
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

        if isinstance(archs, str | Mapping):
            archs = [archs]
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
