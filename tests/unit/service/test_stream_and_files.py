"""The stream of a run, its files while it is written, and what is remembered of it."""

import asyncio
import hashlib
import json
import os
import shutil
import socket
import sqlite3
import threading
import time
from contextlib import contextmanager
from functools import partial

import pytest
from fastapi.testclient import TestClient
from report_runs import finished_run

from nas.client import Client, RemoteRun
from nas.client.remote_run import events_of
from nas.run import Run
from nas.service import artifacts as files
from nas.service import memory, stream
from nas.service.app import create_app
from nas.service.serving import _bound
from nas.service.settings import ServiceSettings
from nas.store import FILE_NAME, RunStore

RUN = "/api/v1/runs/digits"


@pytest.fixture
def root(tmp_path):
    finished_run(tmp_path / "digits")
    return tmp_path


@pytest.fixture
def app(root):
    return create_app(ServiceSettings(root=root, requests_per_second=0))


def old(path):
    """As if it had been written long ago."""
    for file in path.parent.glob(f"{path.name}*"):
        os.utime(file, (1e9, 1e9 + file.stat().st_size))


def told(app, enough, after=0):
    """Events of the stream until its text is enough."""
    house = app.state.house

    async def gather():
        text = ""
        following = stream.follow(partial(stream.look, house, "digits"), partial(house.overview, "digits"), after)
        async with asyncio.timeout(60):
            async for line in following:
                text += line
                if enough(text):
                    return text
        return text

    text = asyncio.run(gather())
    return text, list(events_of(line.encode() for line in text.splitlines(keepends=True)))


def after_silence(text):
    """Nothing new was told at a look."""
    return ": still here" in text


def test_the_stream_tells_every_event_once_and_goes_on_after_a_number(app, root, monkeypatch):
    monkeypatch.setattr(stream, "AT_ONCE", 7)
    monkeypatch.setattr(stream, "KEEP_ALIVE_S", stream.LOOK_S)
    with Run.open(root / "digits") as run:
        kinds = [event["kind"] for event in run.events()]
    _, events = told(app, after_silence)
    assert [data["kind"] for kind, _, data in events if kind == "event"] == kinds
    assert [number for kind, number, _ in events if kind == "event"] == [str(i + 1) for i in range(len(kinds))]
    assert [data["state"] for kind, _, data in events if kind != "event"] == ["finished", "finished"]
    assert events[-1][0] == "overview"
    _, rest = told(app, after_silence, after=len(kinds) - 2)
    assert [data["kind"] for kind, _, data in rest if kind == "event"] == kinds[-2:]


def test_a_stream_has_a_place_until_its_client_goes(root):
    app = create_app(ServiceSettings(root=root, requests_per_second=0, streams=2))
    places = app.state.places

    async def watch():
        """Until the first word came."""
        client, told = asyncio.Event(), asyncio.Event()

        async def receive():
            await client.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.body":
                told.set()

        headers = [(b"host", b"127.0.0.1")]
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
                 "path": f"{RUN}/stream", "raw_path": b"", "query_string": b"", "headers": headers}  # fmt: skip
        task = asyncio.create_task(app(scope, receive, send))
        await told.wait()
        return client, task

    async def three():
        first, second = await watch(), await watch()
        assert places.taken == 2
        with TestClient(app, base_url="http://127.0.0.1") as third:
            answer = await asyncio.to_thread(third.get, f"{RUN}/stream")
        assert (answer.status_code, answer.json()["error"]["rule"]) == (429, "2 streams are open already; close one")
        for client, task in (first, second):
            client.set()
            await task
        assert places.taken == 0

    asyncio.run(asyncio.wait_for(three(), 60))


def test_an_unchanged_file_is_not_opened_again_and_silence_is_broken(app, root, monkeypatch):
    old(root / "digits" / FILE_NAME)
    monkeypatch.setattr(stream, "LOOK_S", 0.05)
    monkeypatch.setattr(stream, "KEEP_ALIVE_S", 0.2)
    opened = []
    real = Run.open.__func__
    monkeypatch.setattr(Run, "open", classmethod(lambda cls, path: opened.append(path) or real(cls, path)))
    monkeypatch.setattr("nas.service.supervisor._finished", lambda _: True)
    text, _ = told(app, lambda text: text.count(": still here") == 3)
    assert text.count("event: overview") == 1
    assert len(opened) <= 3  # the look, the overview


def test_a_remembered_answer_is_that_of_the_file_as_it_is(app, root):
    file = root / "digits" / FILE_NAME
    old(file)
    house, asked = app.state.house, []

    def count(run):
        asked.append(run)
        return {"events": len(run.events())}

    first = house.remembered("digits", "count", count)
    assert house.remembered("digits", "count", count) == first
    assert len(asked) == 1
    with RunStore.open(file, writable=True) as store:
        store.record("note", {})
    assert json.loads(house.remembered("digits", "count", count))["events"] == json.loads(first)["events"] + 1
    assert memory.stamp_of(file) is None  # too young to be told from a second write in the same tick
    assert memory.stamp_of(root / "none" / FILE_NAME) is None


def test_those_who_ask_at_once_wait_for_one_answer(root, app):
    old(root / "digits" / FILE_NAME)
    asked = []

    def slow(run):
        asked.append(run)
        time.sleep(0.3)
        return {}

    threads = [threading.Thread(target=app.state.house.remembered, args=("digits", "slow", slow)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1


def test_a_run_file_is_sent_whole_while_it_is_written(app, root, tmp_path):
    """Every copy is sound, with all that was committed before it was asked for."""
    client = TestClient(app, base_url="http://127.0.0.1")
    writing, written = threading.Event(), [0]

    def write():
        with RunStore.open(root / "digits" / FILE_NAME, writable=True) as store:
            while not writing.is_set():
                store.record("note", {"n": written[0] + 1, "text": "x" * 2000})
                written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(5):
            time.sleep(0.1)
            before = written[0]
            answer = client.get(f"{RUN}/artifacts/run.sqlite")
            assert answer.status_code == 200
            copy = tmp_path / f"copy{i}" / FILE_NAME
            copy.parent.mkdir()
            copy.write_bytes(answer.content)
            with sqlite3.connect(copy) as database:
                assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            with Run.open(copy.parent) as run:
                assert len(run.events("note")) >= before
                assert len(run.candidates(scored_only=False)) == 600
    finally:
        writing.set()
        writer.join()
    assert written[0] > 5
    assert {path.name for path in (root / ".service").iterdir()} <= {
        "jobs.sqlite",
        "jobs.sqlite-wal",
        "jobs.sqlite-shm",
    }


def test_a_file_that_is_no_database_is_refused(app, root):
    (root / "digits" / "other.sqlite").write_text("no database, but long enough to be looked at" * 40)
    answer = TestClient(app, base_url="http://127.0.0.1").get(f"{RUN}/artifacts/other.sqlite")
    assert answer.status_code == 409
    assert "cannot be copied" in answer.json()["error"]["rule"]


def test_sums_are_read_once_for_every_state_of_a_file(root, monkeypatch):
    file = root / "digits" / "winner" / "model.onnx"
    file.parent.mkdir()
    reads = []
    real = files._read_sha256
    monkeypatch.setattr(files, "_read_sha256", lambda path: reads.append(path) or real(path))

    def listed():
        return {each["path"]: each["sha256"] for each in files.artifacts(root / "digits")}["winner/model.onnx"]

    file.write_bytes(b"first")
    os.utime(file, (1e9, 1e9))
    assert listed() == listed() == hashlib.sha256(b"first").hexdigest()
    assert reads.count(file) == 1
    file.write_bytes(b"other")  # as long, and just now
    assert listed() == listed() == hashlib.sha256(b"other").hexdigest()
    assert reads.count(file) == 3  # a young file is read each time
    os.utime(file, (1e9, 1e9 + 1))
    assert listed() == listed() == hashlib.sha256(b"other").hexdigest()
    assert reads.count(file) == 4


def test_answers_do_not_wait_for_the_clients_acknowledgement():
    """Asyncio turns Nagle's algorithm off only where the socket names its protocol: 40 ms for every answer."""
    with _bound("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_a_stream_ends_when_its_run_is_gone(app, root):
    house = app.state.house

    async def gather():
        kinds = []
        following = stream.follow(partial(stream.look, house, "digits"), partial(house.overview, "digits"), 0)
        async for line in following:
            kinds.append(line.split("\n")[0])
            if line.startswith("event: overview"):
                shutil.rmtree(root / "digits")
        return kinds

    kinds = asyncio.run(asyncio.wait_for(gather(), 20))
    assert "event: overview" in kinds


def test_answers_take_a_bounded_number_of_bytes_and_the_popular_ones_stay(root, monkeypatch):
    monkeypatch.setattr(memory, "KEPT_BYTES", 1_000)
    file = root / "digits" / FILE_NAME
    old(file)
    known = memory.Memory()
    for number in range(50):
        known.answer(file, number, lambda: b"x" * 100)
        assert known.answer(file, "popular", lambda: b"y" * 100) == b"y" * 100
    assert known.known(file, "popular") == b"y" * 100
    assert known.known(file, 49) is not None
    assert known.known(file, 1) is None
    assert sum(known.known(file, number) is not None for number in range(50)) == 9
    known.answer(file, "large", lambda: b"z" * 5_000)
    assert known.known(file, "large") is None


class Cut:
    """A connection that says nothing for a while, and is then cut; the next one tells the end."""

    def __init__(self):
        self.opened = 0

    @contextmanager
    def open(self, method, path, further=None):
        self.opened += 1
        yield self.lines(self.opened)

    @staticmethod
    def lines(number):
        if number == 1:
            yield from (b"event: state\n", b'data: {"state": "running"}\n', b"\n")
            time.sleep(1.2)
            raise ConnectionResetError
        yield from (b"event: overview\n", b'data: {"state": "finished"}\n', b"\n")


def test_a_watch_outlives_a_quiet_spell_before_the_cut():
    server = Cut()
    told = list(RemoteRun(server, "first").watch(patience=1.0))
    assert [kind for kind, _ in told] == ["state", "overview"]
    assert server.opened == 2


@pytest.mark.parametrize("token", ["0123456789abcdef\n", "tökentökentöken"])
def test_a_token_that_no_header_can_hold_is_refused_in_words(token):
    with pytest.raises(ValueError, match="characters other than printable ASCII"):
        Client("http://127.0.0.1:1", token)
