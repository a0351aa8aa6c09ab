"""Ctrl-C pressed again while the command says that it was stopped."""

import signal
import sys

import click
import pytest

from nas.cli.main import INTERRUPTED, cli, main
from nas.job.search_stage import Interrupted


@pytest.fixture
def ctrl_c():
    """The handler of Ctrl-C, put back afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("first", [Interrupted("interrupted"), KeyboardInterrupt(), click.exceptions.Abort()])
def test_a_second_interrupt_while_the_first_is_told_is_no_traceback(monkeypatch, ctrl_c, first):
    def stop(*_, **__):
        raise first

    def press_again(*_, **__):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(sys, "argv", ["netwright", "status", "x"])
    monkeypatch.setattr(cli, "main", stop)
    monkeypatch.setattr(click, "echo", press_again)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == INTERRUPTED
    assert ctrl_c() == signal.SIG_IGN
