"""The latest runs are read before anybody asks."""

import os

from report_runs import finished_run

from nas.run import Run
from nas.service.warming import MOST_RUNS, Warming, latest_runs
from nas.store import FILE_NAME
from nas.views import digest


def test_the_latest_runs_are_read_in_the_background_and_a_broken_one_is_passed(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "_KNOWN", type(digest._KNOWN)())
    finished_run(tmp_path / "whole")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / FILE_NAME).write_text("no run")
    (tmp_path / "empty").mkdir()
    os.utime(tmp_path / "whole" / FILE_NAME, (1, 1))
    for side in (tmp_path / "whole").glob(f"{FILE_NAME}?*"):
        os.utime(side, (1, 1))
    assert [path.name for path in latest_runs(tmp_path)] == ["broken", "whole"]
    warming = Warming(tmp_path)
    warming.start()
    assert warming.wait(30)
    [known] = digest._KNOWN.values()
    with Run.open(tmp_path / "whole") as run:
        assert digest.digest_of(run) is known
        assert known.last == 599


def test_only_so_many_are_read(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr("nas.service.warming.digest_of", lambda run: read.append(run.directory.name))
    first = finished_run(tmp_path / "run-0")
    for i in range(1, MOST_RUNS + 3):
        folder = tmp_path / f"run-{i}"
        folder.mkdir()
        (folder / FILE_NAME).write_bytes((first / FILE_NAME).read_bytes())
        os.utime(folder / FILE_NAME, (i, i))
    warming = Warming(tmp_path)
    warming.start()
    assert warming.wait(30)
    assert len(read) == MOST_RUNS
    assert read[:2] == ["run-0", f"run-{MOST_RUNS + 2}"]
