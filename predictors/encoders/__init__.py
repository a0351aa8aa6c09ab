"""Encoders: from the columns of a schema to the features of a predictor, one row a way."""

from __future__ import annotations

from predictors.encoders.cells import Cells
from predictors.encoders.encoder import Encoder
from predictors.encoders.joint import Joint
from predictors.encoders.one_hot import OneHot
from predictors.encoders.ordinal import Ordinal
from predictors.encoders.widths import Widths

ENCODERS: dict[str, type[Encoder]] = {
    "one-hot": OneHot,
    "ordinal": Ordinal,
    "widths": Widths,
    "joint": Joint,
    "cells": Cells,
}
