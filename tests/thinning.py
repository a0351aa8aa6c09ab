"""Long tests with many like cases: every few of them run among the fast ones, all among the slow ones."""

import pytest


def thinned(cases, keep):
    """The cases; all but every ``keep``-th are slow."""
    return [
        case if i % keep == 0 or hasattr(case, "marks") else pytest.param(case, marks=pytest.mark.slow)
        for i, case in enumerate(cases)
    ]
