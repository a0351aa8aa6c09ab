"""One quick command for all tests; a folder and a small run for those of one file, so that no two share a name."""

import pytest
from command_place import QUICK, USER
from commands import CommandServer


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    (folder / "user.py").write_text(USER)
    (folder / "unfinished.py").write_text("def f(:")
    (folder / "bad.onnx").write_text("not a network")
    (folder / "bad.txt").write_text("not a network")
    (folder / "ending.py").write_text("import sys\nsys.exit(0)")
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with CommandServer(tmp_path_factory.mktemp("commands")) as started:
        yield started


@pytest.fixture(scope="module")
def run(server, place):
    ended = server.run("search", *QUICK, "--json", "--out", "run", cwd=place)
    assert ended.code == 0, ended.err
    return ended.json()
