"""A PostgreSQL server of the test's own, from Debian's package, run by an unprivileged user in a folder of its own."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

USER, PASSWORD, DATABASE = "tester", "a password: with / signs", "runs"


def programs():
    """The folder of ``initdb`` and ``postgres``; None where they are not installed."""
    found = shutil.which("postgres") or shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists() and (folder / "initdb").exists()), None)


def missing():
    """Why no server can be run here; None where one can."""
    if programs() is None:
        return "no PostgreSQL server here (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and _unprivileged() is None:
        return "PostgreSQL does not run as root, and there is no user postgres or nobody"
    return None


def _unprivileged():
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


class PostgresServer:
    """A server on a free port of this machine; a context manager."""

    def __init__(self, **settings):
        self.folder = Path(tempfile.mkdtemp(prefix="netwright-pg-"))
        self._bin, self._user = programs(), _unprivileged() if os.geteuid() == 0 else None
        self._settings = {"fsync": "off", "max_connections": "40", **settings}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process = None

    @property
    def url(self):
        return self.address(DATABASE)

    def address(self, database, user=USER):
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def __enter__(self):
        (self.folder / "password").write_text(PASSWORD)
        if self._user is not None:
            for path in (self.folder, self.folder / "password"):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        self._run("initdb", "-D", self.folder / "data", "-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--no-locale",
                  "--no-sync", f"--pwfile={self.folder / 'password'}")  # fmt: skip
        self.start()
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program, *args):
        done = subprocess.run(
            [self._bin / program, *args],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            **self._as_user(),
        )
        assert done.returncode == 0, done.stderr

    def _as_user(self):
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def start(self):
        """Start, also again after a stop, and wait until it answers."""
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-k", "", *options],
                cwd=self.folder, stdout=log, stderr=log, **self._as_user(),
            )  # fmt: skip
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            try:
                self.connect("postgres").close()
                return
            except Exception:  # noqa: BLE001 - psycopg may not be imported at the top: it is an extra
                time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def start_if_stopped(self):
        """For a test after one that failed."""
        if self._process is None:
            self.start()

    def stop(self, number=signal.SIGQUIT):
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def connect(self, database=DATABASE):
        """A connection of the test's own."""
        import psycopg

        return psycopg.connect(self.address(database), password=PASSWORD, autocommit=True, connect_timeout=5)
