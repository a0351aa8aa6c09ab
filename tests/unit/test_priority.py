"""Scheduling rights, tried for real in processes of their own."""

import json
import os
import subprocess
import sys

import pytest

from hardware.priority import may_run_real_time

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux scheduling")


def run(code):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout)


UNPRIVILEGED = """
import json, os, time
from hardware.priority import Priority
os.setuid(65534)
one, two = Priority(1, on_cpu=True), Priority(2, on_cpu=True)
with one.burst():
    policy = os.sched_getscheduler(0)
print(json.dumps([one.mode, one.now_ns is time.process_time_ns, two.mode, two.now_ns is time.perf_counter_ns, policy]))
"""

IN_AND_OUT = """
import gc, json, os, threading
from hardware.priority import Priority
stop = threading.Event()
threading.Thread(target=stop.wait).start()
priority = Priority(1, on_cpu=True)
policies = lambda: [os.sched_getscheduler(int(task)) for task in os.listdir("/proc/self/task")]
before = policies()
with priority.burst():
    during, collecting = policies(), gc.isenabled()
after = policies()
stop.set()
print(json.dumps([priority.mode, before, during, after, collecting, gc.isenabled(), len(os.sched_getaffinity(0))]))
"""


@LINUX
@pytest.mark.skipif(sys.platform == "linux" and os.geteuid() != 0, reason="only root can become another user")
def test_without_rights_cpu_time_serves_one_thread_and_wall_time_several():
    assert run(UNPRIVILEGED) == ["cpu-time", True, "wall", True, 0]


@LINUX
def test_real_time_covers_all_threads_and_only_the_burst():
    mode, before, during, after, collecting, collects_again, cpus = run(IN_AND_OUT)
    assert before == after == [0, 0]
    if may_run_real_time():
        assert mode == "fifo"
        assert during == [os.SCHED_FIFO] * 2
    else:
        assert mode in ("nice", "cpu-time")
        assert during == [0, 0]
    assert not collecting
    assert collects_again
    assert cpus == 1


@LINUX
def test_asking_for_rights_changes_nothing():
    may_run_real_time()
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
