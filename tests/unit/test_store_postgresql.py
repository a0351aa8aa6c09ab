"""Runs on a PostgreSQL server: what can go wrong on the way, and what is asked of the user's address."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from postgresql_server import DATABASE, PASSWORD, USER, PostgresServer, missing

from nas.config import Config, InvalidConfig
from nas.records import Candidate, Failure
from nas.run import Run
from nas.store import FILE_NAME, POINTER_NAME, InvalidStore, RunFileError, RunStore, check_url
from nas.store.pointer import Pointer
from nas.store.postgresql import PostgresRun
from search_spaces.arch import Architecture, Block

ARCH = Architecture((Block("conv", 8),))
SECRET = "s3cret"


def one_line(caught, *parts):
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert all(part in text for part in parts), text
    assert SECRET not in text
    return True


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgres://me@host:5433/db", "postgresql://me@host:5433/db"),
        ("postgresql+psycopg://host/db?sslmode=require", "postgresql://host/db?sslmode=require"),
        ("postgresql:///db", "postgresql:///db"),
    ],
)
def test_an_address_is_kept_in_its_usual_spelling(url, kept):
    assert check_url(url) == kept
    assert Config.from_dict({"store": url}).store == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "expected postgresql://"),
        ("run.sqlite", "expected postgresql://"),
        ("mysql://me@host/db", "mysql://…, expected postgresql://"),
        ("postgresql://me@host", "names no database"),
        ("postgresql://me@host:port/db", "expected postgresql://"),
        (f"postgresql://me:{SECRET}@host/db", "PGPASSWORD"),
        (f"postgresql://me@host/db?password={SECRET}", "PGPASSWORD"),
    ],
)
def test_a_wrong_address_is_one_line_without_its_password(url, said, tmp_path):
    with pytest.raises(InvalidStore, match=said) as caught:
        check_url(url)
    assert one_line(caught, "store:")
    with pytest.raises(InvalidConfig, match=said) as caught:
        Config.from_dict({"store": url})
    assert one_line(caught, "store:")
    with pytest.raises(InvalidStore):
        RunStore.create(tmp_path / FILE_NAME, {}, url)
    assert not (tmp_path / POINTER_NAME).exists()


def test_a_missing_driver_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(RunFileError, match="pip install 'netwright") as caught:
        RunStore.create(tmp_path / FILE_NAME, {}, "postgresql://me@host/db")
    assert one_line(caught, "netwright[postgresql]")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"version": 2, "url": "postgresql://h/d", "run": "run_a"}',
        '{"version": 1, "url": "postgresql://h/d", "run": "a; DROP SCHEMA b"}',
        f'{{"version": 1, "url": "postgresql://u:{SECRET}@h/d", "run": "run_a"}}',
        '{"version": 1, "url": 3, "run": "run_a"}',
    ],
)
def test_a_damaged_pointer_is_one_line(tmp_path, text):
    (tmp_path / POINTER_NAME).write_text(text)
    with pytest.raises(RunFileError, match="cannot be read") as caught:
        Run.open(tmp_path)
    assert one_line(caught, POINTER_NAME)


def test_a_pointer_is_named_after_its_directory(tmp_path):
    pointer = Pointer.new("postgresql://me@h/d", tmp_path / "Ü digits-2026 " / "..")
    (again := tmp_path / "Ü digits-2026").mkdir()
    pointer = Pointer.new("postgresql://me@h/d", again)
    assert pointer.key.startswith("run_digits_2026_")
    pointer.write(again / POINTER_NAME)
    assert Pointer.read(again / POINTER_NAME) == pointer
    assert [path.name for path in again.iterdir()] == [POINTER_NAME]
    assert Pointer.new("postgresql://me@h/d", again) != pointer


def test_no_server_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("psycopg", reason="the extra netwright[postgresql] is not installed")
    monkeypatch.delenv("PGPASSWORD", raising=False)
    with pytest.raises(RunFileError, match=r"no connection to postgresql://me@127\.0\.0\.1:9/db") as caught:
        RunStore.create(tmp_path / FILE_NAME, {}, "postgresql://me@127.0.0.1:9/db")
    assert one_line(caught, "refused", "is the server running?")
    assert list(tmp_path.glob("*run.store")) == []


@pytest.fixture(scope="module")
def server():
    if why := missing():
        pytest.skip(why)
    with PostgresServer() as started:
        yield started


@pytest.fixture
def password(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)


@pytest.fixture
def create(tmp_path, server, password):
    server.start_if_stopped()
    return lambda: RunStore.create(tmp_path / "run" / FILE_NAME, {"config": 1}, server.url)


def failure(number):
    return Failure(Candidate(number, ARCH), "error", "x")


@pytest.mark.slow
def test_what_a_server_refuses_is_one_line(server, tmp_path, monkeypatch):
    with server.connect() as connection:
        connection.execute(f"CREATE ROLE poor LOGIN PASSWORD '{SECRET}'")
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    for url, given, said in (
        (server.address("nowhere"), PASSWORD, ('database "nowhere" does not exist', "createdb nowhere")),
        (server.url, SECRET, ("password authentication failed", "PGPASSWORD")),
        (server.url, None, ("no password", "PGPASSWORD")),
        (server.address(DATABASE, "poor"), SECRET, ("permission denied", "GRANT CREATE ON DATABASE runs TO poor")),
        (server.address("latin"), PASSWORD, ("LATIN1", "UTF8")),
    ):
        monkeypatch.delenv("PGPASSWORD", raising=False)
        if given is not None:
            monkeypatch.setenv("PGPASSWORD", given)
        with pytest.raises(RunFileError) as caught:
            RunStore.create(tmp_path / FILE_NAME, {}, url)
        assert one_line(caught, *said)
        assert list(tmp_path.glob("*run.store*")) in ([], [tmp_path / "run.store.lock"])


@pytest.mark.slow
def test_a_password_file_serves(server, tmp_path, monkeypatch):
    monkeypatch.delenv("PGPASSWORD", raising=False)
    file = tmp_path / "pgpass"
    escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    file.write_text(f"127.0.0.1:{server.port}:*:{USER}:{escaped}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    with RunStore.create(tmp_path / FILE_NAME, {}, server.url) as store:
        assert store.events() == []
    assert PASSWORD not in store.path.read_text()


@pytest.mark.slow
def test_a_run_whose_tables_are_gone_is_one_line(server, create):
    with create() as store:
        pass
    with server.connect() as connection:
        connection.execute(f"DROP SCHEMA {Pointer.read(store.path).key} CASCADE")
    with pytest.raises(RunFileError, match="dropped, or this is another database") as caught:
        Run.open(store.path)
    assert one_line(caught, str(store.path))


@pytest.mark.slow
def test_a_lost_connection_is_waited_for(server, create):
    with create() as store, RunStore.open(store.path) as reader:
        store.append([failure(0)])
        store.commit()
        assert len(list(reader.results())) == 1
        server.stop()
        back = threading.Timer(1.5, server.start)
        back.start()
        store.append([failure(1)])
        store.record("measured", {"id": 1})
        back.join()
        store.record("measured", {"id": 2})
        assert [event["id"] for event in reader.events()] == [1, 2]
        assert [result.candidate.id for result in reader.results()] == [0, 1]
        with pytest.raises(RunFileError, match="another process is writing"):  # the lock came back as well
            RunStore.open(store.path, writable=True)


@pytest.mark.slow
@pytest.mark.parametrize("done", [False, True])
def test_a_commit_whose_answer_was_lost_is_not_done_twice(server, create, done):
    """The connection ends just before the server hears of the commit, or just after it has done it."""
    with create() as store:
        store.append([failure(0)])
        store.commit()
        usual, calls = store._connection.commit, []

        def commit():
            if not calls:
                calls.append(1)
                if done:
                    usual()
                with server.connect() as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'netwright'"
                    )
                if done:
                    store._connection.exec_driver_sql("SELECT 1")
            usual()

        store._connection.commit = commit
        store.append([failure(1), failure(2)])
        store.record("measured", {"id": 7})
        store.append([failure(3)])
        store.record("measured", {"id": 8})
        assert [result.candidate.id for result in store.results()] == [0, 1, 2, 3]
        assert [event["id"] for event in store.events()] == [7, 8]


@pytest.mark.slow
def test_a_connection_that_does_not_come_back_is_one_line_and_nothing_is_lost(server, create, monkeypatch):
    monkeypatch.setattr(PostgresRun, "patience_s", 1.0)
    store = create()
    store.append([failure(0)])
    store.commit()
    server.stop()
    store.append([failure(1)])
    for end in (store.commit, store.close):
        with pytest.raises(RunFileError, match="did not come back in 1 s") as caught:
            end()
    assert one_line(caught, "netwright resume", "refused")
    server.start()
    with RunStore.open(store.path, writable=True) as again:
        assert [result.candidate.id for result in again.results()] == [0]


KILLED = """
import os, sys
from pathlib import Path
from nas.store.pointer import Pointer
if sys.argv[3] == "before":
    Pointer.write = lambda *_: os._exit(9)
else:
    usual = Path.replace
    Path.replace = lambda path, target: os._exit(9) if target.name == "run.store" else usual(path, target)
from nas.store import RunStore
RunStore.create(Path(sys.argv[1]), {}, sys.argv[2])
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_while_a_run_is_made_leaves_none_for_long(server, create, tmp_path, moment):
    path = tmp_path / "run" / FILE_NAME
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    script = [sys.executable, "-c", KILLED, str(path), server.url, moment]
    before = schemas(server)
    assert subprocess.run(script, check=False, env=environment).returncode == 9
    assert not path.with_name(POINTER_NAME).exists()
    with create() as store:
        store.record("measured", {})
    assert schemas(server) - before == {Pointer.read(store.path).key}


def schemas(server):
    with server.connect() as connection:
        return {row[0] for row in connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'run%'")}


WRITER = """
import sys, time
from pathlib import Path
from nas.store import RunStore
store = RunStore.open(Path(sys.argv[1]), writable=True)
print("there", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_killed_writer_gives_its_lock_up(create):
    with create() as store:
        pass
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store.path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as writer:
        assert writer.stdout.readline() == "there\n"
        with pytest.raises(RunFileError, match="another process is writing"):
            RunStore.open(store.path, writable=True)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    end = time.monotonic() + 20
    while True:  # the server has to hear of it
        try:
            RunStore.open(store.path, writable=True).close()
            return
        except RunFileError:
            assert time.monotonic() < end
            time.sleep(0.1)


@pytest.mark.slow
def test_a_reader_of_a_server_cannot_write(server, create):
    with create() as store:
        pass
    with RunStore.open(Path(store.path)) as reader, pytest.raises(RunFileError, match="read-only") as caught:
        reader.record("measured", {})
    assert one_line(caught)
