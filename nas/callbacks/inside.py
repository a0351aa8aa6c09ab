"""Whether a callback stays inside its run: what a service may accept from somebody that it does not know."""

from __future__ import annotations

from pathlib import PurePath

from nas.callbacks import CALLBACKS
from nas.callbacks.choice import Choice

PLACES = ("path", "dir")  # options that are places, from the run directory
_HARMLESS = {"candidates", "experiment", "name", "project"}


def reaches_out(choice: Choice) -> str:
    """What a callback would touch beyond the run directory, in words; "" if nothing."""
    for name, options in choice.items():
        if name not in CALLBACKS:
            return f"{name} is code of one's own"
        for option, value in options.items():
            if option in PLACES:
                place = PurePath(str(value))
                if place.is_absolute() or ".." in place.parts or "~" in str(value):
                    return f"{name}: {option}={value} is outside the run directory"
            elif option not in _HARMLESS and (option, value) not in (("mode", "offline"), ("uri", "")):
                return f"{name}: {option}={value} reaches another server"
    return ""
