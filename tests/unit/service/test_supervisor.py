"""Jobs: queued in order, paused, found again after the server, given up when they say why."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nas.service.job_table import Job, now
from nas.service.refusal import Refusal
from nas.service.settings import ServiceSettings
from nas.service.supervisor import Supervisor

SLOW = {"data": "digits", "space": "zen-tiny", "search": {"evaluations": 10_000_000}, "train": False}


@pytest.fixture
def watcher(tmp_path):
    made = Supervisor(ServiceSettings(root=tmp_path, jobs=1))
    made.start()
    yield made
    for job in made.table.all().values():
        if job.pid:
            os.killpg(job.pid, signal.SIGKILL)
    made.close()


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def state(watcher, name):
    return watcher.table.get(name).state


def test_jobs_run_in_order_pause_resume_and_stop(watcher):
    watcher.launch("first", SLOW)
    watcher.launch("second", SLOW)
    with pytest.raises(Refusal, match="a run of that name is there"):
        watcher.launch("first", SLOW)
    until((watcher.root / "first" / "run.sqlite").exists)
    assert (state(watcher, "first"), state(watcher, "second")) == ("running", "queued")
    assert watcher.stop("second").state == "stopped"
    assert watcher.pause("first").state == "pausing"
    until(lambda: state(watcher, "first") == "paused")
    with pytest.raises(Refusal, match="is paused, expected queued or running"):
        watcher.pause("first")
    assert watcher.resume("first").state == "queued"
    pid = until(lambda: watcher.table.get("first").pid)
    os.killpg(pid, signal.SIGKILL)  # a job that is killed goes on by itself
    again = until(lambda: (job := watcher.table.get("first")).pid not in (None, pid) and job)
    assert (again.state, again.attempts) == ("running", 1)
    assert "killed" in again.message


def test_a_job_whose_folder_is_removed_is_ended_and_says_so(watcher):
    watcher.launch("first", SLOW)
    until((watcher.root / "first" / "run.sqlite").exists)
    pid = until(lambda: "first" in watcher._begun and watcher.table.get("first").pid)
    shutil.rmtree(watcher.root / "first")
    until(lambda: state(watcher, "first") == "failed")
    assert watcher.table.get("first").message == "its folder was removed while it ran"
    until(lambda: not watcher._processes.alive(pid, 0.0))


def test_a_job_that_somebody_else_interrupts_is_stopped(watcher):
    watcher.launch("first", SLOW)
    until((watcher.root / "first" / "run.sqlite").exists)
    os.kill(until(lambda: watcher.table.get("first").pid), signal.SIGINT)
    until(lambda: state(watcher, "first") == "stopped")
    assert watcher.table.get("first").message == "somebody interrupted its process"
    assert watcher.resume("first").state == "queued"


def test_jobs_hear_interrupts_of_a_server_that_is_deaf_to_them(watcher):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        watcher.launch("first", SLOW)
        pid = until(lambda: watcher.table.get("first").pid)
    finally:
        signal.signal(signal.SIGINT, before)
    [ignored] = [line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigIgn" in line]
    assert not int(ignored, 16) & 1 << signal.SIGINT - 1


def test_a_job_that_fails_says_why(watcher):
    watcher.launch("wrong", {**SLOW, "constraints": {"params": "1"}})
    until(lambda: state(watcher, "wrong") == "failed")
    assert "params" in watcher.table.get("wrong").message
    with pytest.raises(Refusal, match="is failed, expected queued"):
        watcher.stop("wrong")


def test_a_new_server_finds_living_jobs_and_not_strangers(tmp_path):
    first = Supervisor(ServiceSettings(root=tmp_path))
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    job = Job("gone", "running", 1, None, now(), pid=stranger.pid, born=1.0)  # that number is another's now
    first.table.put(job)
    first.table.put(replace(job, name="alive", born=None, pid=None, state="paused", place=2))
    second = Supervisor(ServiceSettings(root=tmp_path))
    second._notice_ends()
    assert state(second, "gone") == "queued"
    assert state(second, "alive") == "paused"
    assert stranger.poll() is None
    stranger.communicate(b"\n")
    assert stranger.returncode == 0
    second._start_next()
    assert second.table.get("gone").message == "its run file is gone"
