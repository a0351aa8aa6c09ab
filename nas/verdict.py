"""Does a measurement prove that a latency budget is kept? One rule and one wording for every place that says so."""

from __future__ import annotations

from typing import Literal, Protocol

Verdict = Literal["kept", "missed", "unclear", "no budget"]

_WORDS: dict[Verdict, str] = {"kept": "kept", "missed": "missed", "unclear": "not proven to be kept"}


class Measured(Protocol):
    """What the rule looks at."""

    @property
    def latency_ms(self) -> float:
        """Of one call."""

    @property
    def low_ms(self) -> float:
        """Lower end of its 95 % interval."""

    @property
    def high_ms(self) -> float:
        """Upper end of its 95 % interval."""

    @property
    def verdict(self) -> str:
        """Of the timing: ok, noisy or void."""


def judge(measured: Measured, budget_ms: float | None) -> Verdict:
    """Kept only when the whole interval is within the budget; missed when the whole interval is beyond."""
    if budget_ms is None:
        return "no budget"
    if measured.verdict == "void":
        return "unclear"
    if measured.high_ms <= budget_ms:
        return "kept"
    return "missed" if measured.low_ms > budget_ms else "unclear"


def budget_is(verdict: Verdict, budget_ms: float) -> str:
    """The verdict in words, for example "the budget of 2 ms is kept"."""
    return f"the budget of {budget_ms:g} ms is {_WORDS[verdict]}"


def sentence(measured: Measured, budget_ms: float | None, *, subject: str, reason: str = "") -> str:
    """The verdict and the figure for a person.

    Args:
        measured: the figure.
        budget_ms: None when there was no budget.
        subject: what was measured, for example "the exported file".
        reason: why the timing is not to be trusted; empty otherwise.
    """
    figure = f"{subject} takes {measured.latency_ms:.3f} ms [{measured.low_ms:.3f}, {measured.high_ms:.3f}]"
    if budget_ms is None:
        return f"{figure}; there was no latency budget"
    verdict = judge(measured, budget_ms)
    why = f" ({reason})" if reason and verdict == "unclear" else ""
    return f"{budget_is(verdict, budget_ms)}: {figure}{why}"
