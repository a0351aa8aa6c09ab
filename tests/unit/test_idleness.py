"""One hint, and only where more candidates under way would help."""

import pytest

from nas.runners.idleness import Idleness


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


def watched(idle, workers, waiting, seconds=60.0, places=1600):
    """What is said in so many seconds, of which the driver waits the given part."""
    said, clock = [], Clock()
    idleness = Idleness(said.append, clock)
    while clock.seconds < seconds:
        clock.seconds += 0.5
        idleness.look(idle, workers, 0.5 * waiting, places)
    return said


def test_idle_workers_of_a_waiting_driver_are_told_once_with_a_look_ahead_that_helps():
    said = watched(idle=40, workers=64, waiting=0.9)
    assert len(said) == 1
    assert "40 of 64 workers" in said[0]
    assert "--set search.lookahead=2048" in said[0]


@pytest.mark.parametrize(
    ("idle", "workers", "waiting", "seconds"),
    [
        (5, 64, 0.9, 60.0),  # few are idle
        (10, 16, 0.9, 60.0),  # a small cluster: another look-ahead is not worth another sequence
        (40, 64, 0.3, 60.0),  # the driver is busy: it is not for lack of permission
        (40, 64, 0.9, 9.0),  # too early to tell
    ],
)
def test_nothing_is_said_otherwise(idle, workers, waiting, seconds):
    assert watched(idle, workers, waiting, seconds) == []


def test_a_start_with_idle_workers_is_forgotten():
    said, clock = [], Clock()
    idleness = Idleness(said.append, clock)
    for idle in (0, *[64] * 8, *[2] * 100):
        clock.seconds += 1.0
        idleness.look(idle if clock.seconds < 9 else 2, 64, 0.2 if clock.seconds < 9 else 0.9, 1600)
    assert said == []


def test_few_workers_do_not_hide_that_many_are_idle_later():
    said, clock = [], Clock()
    idleness = Idleness(said.append, clock)
    for second in range(4000):
        clock.seconds += 1.0
        idle, workers = (0, 10) if second < 3900 else (40, 64)
        idleness.look(idle, workers, 0.9, 1600)
    assert len(said) == 1
