"""What the page is made of: sections of figures, tables, text to copy and plain sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with the sentence below it."""

    chart: Markup
    caption: str = ""
    kind: Literal["figure"] = "figure"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; columns named in ``words`` are aligned left, all others are numbers.

    Attributes:
        title: what a click opens, when ``folded``; else its caption.
        strong: position of the row that stands out.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = (0,)
    strong: int | None = None
    folded: bool = True
    kind: Literal["table"] = "table"


@dataclass(frozen=True, slots=True)
class Code:
    """Text to copy: one click selects all of it."""

    title: str
    text: str
    kind: Literal["code"] = "code"


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence that must not be missed."""

    text: str
    grave: bool = False
    kind: Literal["note"] = "note"


Part = Figure | Table | Code | Note


@dataclass(frozen=True, slots=True)
class Section:
    """One chapter; without parts its lead says in one line why there is nothing to show."""

    anchor: str
    title: str
    lead: str
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One number with its name, and what it stands against."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Headline:
    """The first screen.

    Attributes:
        state: chooses the mark: "kept", "missed" or "open".
        words: the verdict in two or three words.
        sentences: what was measured, how accurate, whether the search helped.
    """

    state: Literal["kept", "missed", "open"]
    words: str
    sentences: tuple[str, ...]
    figures: tuple[KeyFigure, ...]
