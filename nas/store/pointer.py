"""The file ``run.store``: says where the tables of a run are, when they are on a server."""

from __future__ import annotations

import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import sqlalchemy as sa

from nas.store.errors import RunFileError

POINTER_NAME = "run.store"
_VERSION = 1
_KEY = re.compile(r"[a-z][a-z0-9_]{0,62}")
_EXPECTED = "expected postgresql://user@host/database"
_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_SECRETS = ("password", "passfile", "sslpassword")


class InvalidStore(ValueError):
    """The address of a store is not one."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a run is.

    Attributes:
        url: ``postgresql://user@host/database``, never with a password.
        key: name of the run's schema there.
    """

    url: str
    key: str

    @classmethod
    def new(cls, url: str, directory: Path) -> Self:
        """A place for a new run, named after its directory; raises InvalidStore."""
        name = re.sub(r"[^a-z0-9]+", "_", directory.resolve().name.lower()).strip("_")[:40]
        return cls(check_url(url), f"run_{name}_{secrets.token_hex(4)}".replace("__", "_"))

    @classmethod
    def read(cls, path: Path) -> Self:
        """What a file says; raises RunFileError."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["version"] != _VERSION:
                raise ValueError(f"version {data['version']}, this release reads {_VERSION}")
            if not _KEY.fullmatch(data["run"]):
                raise ValueError(f"{data['run']!r} is no name of a run")
            return cls(check_url(data["url"]), data["run"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
            raise RunFileError(
                f"run {path}: cannot be read ({reason}); it is damaged or does not point to a run"
            ) from None

    def write(self, path: Path) -> None:
        """Write the file so that it is there completely or not at all."""
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with draft.open("w", encoding="utf-8") as file:
                json.dump({"version": _VERSION, "url": self.url, "run": self.key}, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def check_url(text: str) -> str:
    """The address in its usual spelling; raises InvalidStore, in which no password is repeated."""
    try:
        url = sa.make_url(text)
        port_and_host = url.port, url.host
    except (sa.exc.ArgumentError, ValueError, AttributeError):
        raise InvalidStore(f"store: not an address, {_EXPECTED}") from None
    if url.drivername not in _SCHEMES:
        raise InvalidStore(f"store: {url.drivername}://…, {_EXPECTED}; leave it out for a file in the run directory")
    if url.password is not None or any(name in url.query for name in _SECRETS):
        raise InvalidStore(
            "store: the address holds a password, which would be kept with the run; leave it out and give it as "
            "PGPASSWORD or in ~/.pgpass"
        )
    if not url.database:
        raise InvalidStore(f"store: {text}: names no database, {_EXPECTED}")
    del port_and_host
    return url.set(drivername="postgresql").render_as_string()
