"""What runs on the node of the device under test: measures networks that arrive as bytes."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hardware.device import Device
from hardware.lookup import LatencyTable
from hardware.measure import MeasureProtocol, Model, OnnxFile, measure
from hardware.models import model_from_dict, model_to_dict
from hardware.runtimes.contract import check_installed
from nas.runners.measuring import TableWanted, changes, own_table

Packed = tuple[dict[str, Any], bytes | None]  # a model as plain data, and its file
_FILES = ("path", "weights")


class MeasuringWorker:
    """Measures in one thread and says how far it is in another."""

    def __init__(self, import_paths: Sequence[str] = ()) -> None:
        sys.path.extend(path for path in import_paths if path not in sys.path)
        os.environ.pop("OMP_NUM_THREADS", None)  # Ray's, not the device's
        self._said: list[str] = []
        self._doing: tuple[str, float] = ("", 0.0)

    def ready(self) -> bool:
        """Answers once the worker has started."""
        return True

    def check(self, runtime: str) -> None:
        """Raise RuntimeRefused when a runtime is not installed here."""
        check_installed(runtime)

    def measure(
        self, models: Sequence[Packed], device: Mapping[str, Any], protocol: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Measurements of packed models, in order, under the conditions of this node."""
        with tempfile.TemporaryDirectory(prefix="netwright-") as folder:
            unpacked = [unpack(each, Path(folder) / str(i)) for i, each in enumerate(models)]
            found = measure(unpacked, Device.from_dict(dict(device)), MeasureProtocol(**protocol), self._progress)
            return [measurement.to_dict() for measurement in found]

    def table(self, wanted: dict[str, Any]) -> str:
        """The latency table that is kept on this node, or one profiled now, as JSON."""
        return own_table(TableWanted.from_dict(wanted), self._said.append, self._progress).to_json()

    def changed(self, table: str, space: str) -> str:
        """In what a table's conditions are not those of this node now."""
        return changes(LatencyTable.from_json(table), space)

    def news(self) -> tuple[list[str], tuple[str, float]]:
        """What there was to say since the last call; what is being done, and the share done."""
        said, self._said[:] = list(self._said), []
        return said, self._doing

    def _progress(self, what: str, share: float) -> None:
        self._doing = (what, share)


def pack(model: Model) -> Packed:
    """A model that can travel; raises OSError when its file cannot be read."""
    if isinstance(model, OnnxFile):
        return model_to_dict(model), Path(model.path).read_bytes()
    return model_to_dict(model), None if model.weights is None else Path(model.weights).read_bytes()


def unpack(packed: Packed, folder: Path) -> Model:
    """The model again, with its file in a folder."""
    data, content = packed
    if content is None:
        return model_from_dict(data)
    key = next(key for key in _FILES if data.get(key))
    folder.mkdir(parents=True)
    file = folder / Path(data[key]).name
    file.write_bytes(content)
    return model_from_dict({**data, key: str(file)})
