"""Reader and writer of the settings in which Once-for-all names its MobileNetV3 sub-networks.

``{"ks": [20 kernels], "e": [20 expansions], "d": [5 depths], "r": [224], "wid": null}`` as JSON or a Python literal:
four positions a stage, those beyond its depth have no effect (written with the least choices). The image size ``r`` is
the task's and is not kept; ``wid`` (or ``w``) is the width multiplier, none for 1.0.
Source: Cai et al. 2020 (arXiv 1908.09791), released settings; ``wid`` and ``w`` of tools that use its networks.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.mobilenet import MOBILENETV3_OFA, MOBILENETV3_OFA_WIDE, MobileNetSpace
from search_spaces.space import Value

WIDTHS: dict[float, MobileNetSpace] = {1.0: MOBILENETV3_OFA, 1.2: MOBILENETV3_OFA_WIDE}
MAX_TEXT = 10_000  # characters
_POSITIONS = 4  # a stage
_KNOBS = {"ks": "kernel", "e": "expansion"}
_FIELDS = ("ks", "e", "d", "r", "wid", "w")


def looks_like(text: str) -> bool:
    """Whether the text is meant to be such a setting."""
    return text.lstrip().startswith("{") and re.search(r"""["']ks["']\s*:""", text) is not None


def read(text: str) -> tuple[Architecture, int]:
    """Read a setting.

    Returns: the architecture and its number of input channels, 3.
    Raises: InvalidArchitecture: naming the field and the position.
    """
    data = _dictionary(text)
    space = _space(data)
    values = _values(data, "d", [f"{i}.depth" for i in range(1, len(space.stages) + 1)], space)
    for field, knob in _KNOBS.items():
        names = [f"{i}.{j}.{knob}" for i in range(1, len(space.stages) + 1) for j in range(1, _POSITIONS + 1)]
        values |= _values(data, field, names, space)
    return space.decode(values), 3


def _dictionary(text: str) -> dict[str, Any]:
    if len(text) > MAX_TEXT:
        raise InvalidArchitecture(f"OFA setting: {len(text)} characters, expected at most {MAX_TEXT}")
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        try:
            data = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            raise InvalidArchitecture(
                'OFA setting: no JSON or Python literal; expected {"ks": [20 numbers], "e": [20], "d": [5]}'
            ) from None
    if not isinstance(data, dict):
        raise InvalidArchitecture(f"OFA setting: got a {type(data).__name__}, expected a dictionary")
    unknown = [str(key) for key in data if key not in _FIELDS]
    if unknown:
        raise InvalidArchitecture(f"OFA setting: unknown field {unknown[0][:60]!r}, expected {', '.join(_FIELDS)}")
    return data


def _space(data: dict[str, Any]) -> MobileNetSpace:
    width = next((data[name] for name in ("wid", "w") if data.get(name) is not None), 1.0)
    if isinstance(width, bool) or not isinstance(width, int | float) or width not in WIDTHS:
        known = " or ".join(map(str, WIDTHS))
        raise InvalidArchitecture(f"OFA setting: wid={str(width)[:60]}, expected {known} (or none, which is 1.0)")
    return WIDTHS[width]


def _values(data: dict[str, Any], field: str, names: list[str], space: MobileNetSpace) -> dict[str, Value]:
    found = data.get(field)
    if type(found) is int:
        found = [found] * len(names)  # one for all
    if not isinstance(found, list) or len(found) != len(names):
        got = f"{len(found)} numbers" if isinstance(found, list) else "nothing" if found is None else str(found)[:60]
        raise InvalidArchitecture(f"OFA setting: {field} has {got}, expected a list of {len(names)} numbers")
    choices = {knob.name: knob.choices for knob in space.knobs}
    for i, (name, value) in enumerate(zip(names, found, strict=True)):
        if type(value) is not int or value not in choices[name]:
            raise InvalidArchitecture(f"OFA setting: {field}[{i}]={str(value)[:60]}, expected one of {choices[name]}")
    return dict(zip(names, found, strict=True))


def write(arch: Architecture, in_channels: int = 3) -> str:
    """The setting as JSON, without an image size; ``wid`` only where it is not 1.0.

    Raises: InvalidArchitecture: no member of the two spaces, or other than 3 input channels.
    """
    if in_channels != 3:
        raise InvalidArchitecture(f"OFA setting: {in_channels} input channels, expected 3")
    width = 1.2 if arch.blocks[0] == MOBILENETV3_OFA_WIDE.stem[0] else 1.0
    values = WIDTHS[width].values_of(arch)
    lists = {
        field: [value for name, value in values.items() if name.endswith(f".{knob}")]
        for field, knob in (*_KNOBS.items(), ("d", "depth"))
    }
    return json.dumps(lists if width == 1.0 else {**lists, "wid": width})
