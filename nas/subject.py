"""A network as a user names it for looking at: a design, a run's candidate, an export, or a module of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nas.spec import load_spec
from search_spaces.expand import check_input_shape, expand
from search_spaces.layers import Layer, Shape

_MODULE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class SubjectUnclear(ValueError):
    """The images that the network is for are not known; the message says what to give."""


@dataclass(frozen=True)
class Subject:
    """A network as layers.

    Attributes:
        name: as the user gave it.
        layers: with its classifier.
        input_shape: (channels, height, width) of one image.
    """

    name: str
    layers: tuple[Layer, ...]
    input_shape: Shape


def load_subject(text: str, resolution: int | None, in_channels: int | None, classes: int | None) -> Subject:
    """Read ``package.module:factory``, a published structure, a JSON file, an exported folder or ``RUN:ID``.

    Args:
        text: what the user wrote.
        resolution: side of the images; a run's candidate and its data bring their own.
        in_channels: of the images; 3 where nothing says otherwise.
        classes: of the classifier that a design gets; 10 where nothing says otherwise.
    Raises: SubjectUnclear, WeightsUnreadable, TraceRefused, InvalidArchitecture, RunFileError.
    """
    if _MODULE.fullmatch(text):
        return _of_module(text, resolution, in_channels or 3)
    spec = load_spec(text)
    data_shape, data_classes = _of_data(spec.data) if spec.data and resolution is None else (None, None)
    if data_shape is None and resolution is None:
        raise SubjectUnclear(f"{text}: of which images? give --resolution, for example --resolution 224")
    side = (resolution, resolution) if resolution else (data_shape or (3, 1, 1))[1:]
    shape = (in_channels or spec.in_channels or (data_shape or (3,))[0], *side)
    check_input_shape(shape)
    return Subject(text, expand(spec.arch, shape, classes or data_classes or 10), shape)


def _of_module(text: str, resolution: int | None, in_channels: int) -> Subject:
    from nas.weights import load_module
    from search_spaces.trace import trace

    if resolution is None:
        raise SubjectUnclear(f"{text}: of which images? give --resolution, for example --resolution 224")
    shape = (in_channels, resolution, resolution)
    check_input_shape(shape)
    return Subject(text, trace(load_module(text), shape), shape)


def _of_data(name: str) -> tuple[Shape, int]:
    from nas.train.data import load_dataset

    dataset = load_dataset(name)
    return dataset.input_shape, dataset.num_classes
