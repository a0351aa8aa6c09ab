"""SVG as nested function calls; text and attributes are escaped on the way in."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

Point = tuple[float, float]


def tag(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """An element: ``tag("line", x1=0, class_="grid")``.

    Args:
        name: of the element.
        children: Markup stands as it is, any other text is escaped.
        attributes: underscores become hyphens, a trailing one is dropped; None leaves the attribute out.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(escape(child) for child in children)
    return Markup(f"<{name}{shown}>{inside}</{name}>" if inside else f"<{name}{shown}/>")


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else number(value)


def number(value: float) -> str:
    """A coordinate with two decimals at most."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def picture(width: float, height: float, label: str, *children: str) -> Markup:
    """A drawing that fills the width it is given; ``label`` is what a screen reader says."""
    return tag(
        "svg",
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        aria_label=label,
    )


def text(x: float, y: float, content: str, class_: str = "", anchor: str | None = None) -> Markup:
    """A line of text; ``anchor`` is "middle" or "end"."""
    return tag("text", content, x=x, y=y, class_=class_ or None, text_anchor=anchor)


def line(start: Point, end: Point, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)


def rect(corner: Point, width: float, height: float, class_: str, tip: str = "") -> Markup:
    """A rectangle from its upper left corner, with what the pointer tells; the style sheet rounds it."""
    x, y = corner
    return tag("rect", *tips(tip), x=x, y=y, width=max(0.0, width), height=max(0.0, height), class_=class_)


def dot(at: Point, radius: float, class_: str, tip: str = "") -> Markup:
    """A filled circle, with what the pointer tells."""
    return tag("circle", *tips(tip), cx=at[0], cy=at[1], r=radius, class_=class_)


def tips(tip: str) -> tuple[Markup, ...]:
    """The child that makes a tooltip, if there is anything to tell."""
    return (tag("title", tip),) if tip else ()


def group(*children: str, class_: str = "") -> Markup:
    """Elements together."""
    return tag("g", *children, class_=class_ or None)


def polyline(points: Iterable[Point], class_: str) -> Markup:
    """A line through points."""
    path = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return tag("path", d=f"M{path}", class_=class_)
