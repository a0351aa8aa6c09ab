"""The run file: one SQLite database that holds everything a run knows."""

from nas.store.errors import RunFileError
from nas.store.run_store import RunStore, check_absent
from nas.store.schema import FILE_NAME, SCHEMA_VERSION

__all__ = ["FILE_NAME", "SCHEMA_VERSION", "RunFileError", "RunStore", "check_absent"]
