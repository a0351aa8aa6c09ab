"""What a run knows: one SQLite file, or a schema on a PostgreSQL server."""

from nas.store.errors import RunFileError
from nas.store.places import find_run
from nas.store.pointer import POINTER_NAME, InvalidStore, check_url
from nas.store.run_store import RunStore, check_absent
from nas.store.schema import FILE_NAME, SCHEMA_VERSION

__all__ = [
    "FILE_NAME",
    "POINTER_NAME",
    "SCHEMA_VERSION",
    "InvalidStore",
    "RunFileError",
    "RunStore",
    "check_absent",
    "check_url",
    "find_run",
]
