"""What can be wrong with a compression; every message names the place, what it got and the way to mend it."""

from __future__ import annotations


class CannotCompress(ValueError):
    """The network, its settings or its data do not allow it; the network given is as it was."""


class Untraceable(CannotCompress):
    """PyTorch cannot export the network, so its operations are not known."""


class BudgetUnreachable(CannotCompress):
    """Nothing that the method may do keeps the budget; the message says what it can reach."""
