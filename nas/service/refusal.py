"""A request that cannot be served: which field, what value, what rule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LONGEST_VALUE = 200
OURS = ("nas", "search_spaces", "predictors", "hardware")


class Refusal(Exception):
    """Answered with its status and one sentence."""

    def __init__(self, status: int, rule: str, field: str | None = None, value: Any = None) -> None:
        """A refusal.

        Args:
            status: 4xx.
            rule: what is expected, or why not.
            field: of the request.
            value: as it was given.
        """
        super().__init__(rule)
        self.status, self.rule, self.field, self.value = status, rule, field, value

    def body(self) -> dict[str, Any]:
        """What the client reads."""
        return {"error": {"field": self.field, "value": shown(self.value), "rule": self.rule}}


@contextmanager
def about(field: str, value: Any) -> Iterator[None]:
    """What the package itself finds wrong in the block is said of one field of the request.

    Args:
        field: of the request.
        value: as it was given.
    """
    try:
        yield
    except ValueError as error:
        if not is_ours(error):
            raise
        raise Refusal(422, str(error), field, value) from None


def is_ours(error: Exception) -> bool:
    """Whether an error is one of this package, made to be read."""
    return type(error).__module__.split(".")[0] in OURS


def shown(value: Any) -> Any:
    """A value as an answer repeats it: plain and short."""
    if value is None or isinstance(value, bool | int):
        return value if not isinstance(value, int) or abs(value) < 2**53 else str(value)[:LONGEST_VALUE]
    return str(value)[:LONGEST_VALUE]
