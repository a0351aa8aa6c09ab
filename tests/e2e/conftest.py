"""One folder, one quick command and one small run for all tests of the command."""

import pytest
from command_place import QUICK, USER
from commands import CommandServer


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    (folder / "user.py").write_text(USER)
    (folder / "unfinished.py").write_text("def f(:")
    (folder / "bad.onnx").write_text("not a network")
    (folder / "bad.txt").write_text("not a network")
    (folder / "ending.py").write_text("import sys\nsys.exit(0)")
    return folder


@pytest.fixture(scope="session")
def server(place):
    with CommandServer(place) as started:
        yield started


@pytest.fixture(scope="session")
def run(server, place):
    ended = server.run("search", *QUICK, "--json", "--out", "run", cwd=place)
    assert ended.code == 0, ended.err
    return ended.json()
