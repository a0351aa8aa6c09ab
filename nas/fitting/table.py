"""The table of a fit: which columns describe networks, which is the label, and what is left out and why."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.fitting.alike import alike
from nas.fitting.baselines import says_something, structure_scores
from nas.fitting.gaps import HEADER, InvalidColumns, finite_columns, numbers_of, said_of, stand_ins
from predictors.reading import read, read_csv, schema_of
from predictors.reading.names import is_cost
from predictors.regressor import Floats
from predictors.schema import Schema


class InvalidTarget(ValueError):
    """The labels are not finite numbers that differ; the message names the line of the file."""


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are.

    Attributes:
        target: of the labels.
        features: those that describe networks; () takes all that are left.
        drop: to be left out.
        costs: known without training, the baseline; None finds them by name.
        group: equal entries are labels of one network; None takes networks with equal choices for one.
        weights: how precise a label is, relative to one of weight 1.
    """

    target: str
    features: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    costs: tuple[str, ...] | None = None
    group: str | None = None
    weights: str | None = None


@dataclass(frozen=True)
class LabelledTable:
    """A table ready to be learned from.

    Attributes:
        features: the columns that describe networks.
        schema: what they mean.
        raw: (n, columns of the schema).
        labels: (n,).
        weights: (n,) above 0.
        networks: (n,) number of the network of each row.
        baselines: (n,) columns by name that a predictor must beat.
        has_costs: whether those are costs; else they are the columns and sums of the structure.
        dropped: reasons by name of the columns left out.
        warnings: sentences that a user must see.
    """

    features: pd.DataFrame
    schema: Schema
    raw: Floats
    labels: Floats
    weights: Floats
    networks: NDArray[np.intp]
    baselines: dict[str, Floats]
    has_costs: bool
    dropped: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_table(path: Path, columns: Columns) -> LabelledTable:
    """Read and check the table of a fit.

    Raises: InvalidTable, InvalidColumns, InvalidTarget.
    """
    return labelled_table(read_csv(path), columns)


def labelled_table(frame: pd.DataFrame, columns: Columns) -> LabelledTable:
    """The same from a DataFrame."""
    _check_names(frame, columns)
    labels = _labels(frame[columns.target], columns.target)
    weights = _weights(frame, columns.weights)
    kept = weights > 0
    frame, labels, weights = frame[kept].reset_index(drop=True), labels[kept], weights[kept]
    dropped, warnings = dict.fromkeys(columns.drop, "left out by --drop"), []
    special = {columns.target, columns.group, columns.weights, *columns.drop}
    costs = [name for name in frame.columns if name not in special and _is_cost(frame, name, columns.costs)]
    if columns.features:
        chosen = list(columns.features)
    else:
        chosen = [name for name in frame.columns if name not in special]
        found, suspected = alike(columns.target, labels, numbers_of(frame, [c for c in chosen if c not in costs]))
        if len(found) < len(chosen):
            dropped |= found
            chosen = [name for name in chosen if name not in found]
        if found:
            warnings.append(
                f"left out as further labels: {', '.join(found)} ({next(iter(found.values()))}); --features overrides"
            )
        warnings += [
            f"column {name!r} ranks as the target does (tau {tau:.2f}): is it another label? "
            f"leave it out with --drop {name!r}"
            for name, tau in suspected.items()
        ]
    chosen, broken = finite_columns(frame, chosen, costs, asked=bool(columns.features))
    dropped |= broken
    warnings += [f"left out: {name}, {why}" for name, why in broken.items()] + stand_ins(numbers_of(frame, chosen))
    features = frame[chosen]
    schema = schema_of(features, costs=[name for name in costs if name in chosen])
    raw = read(schema, features)
    dropped |= schema.source["dropped"]
    known = {name: values for name, values in numbers_of(frame, costs).items() if says_something(values)}
    return LabelledTable(
        features=features,
        schema=schema,
        raw=raw,
        labels=labels,
        weights=weights,
        networks=_networks(frame, columns.group, schema, raw),
        baselines=known or structure_scores(schema, raw),
        has_costs=bool(known),
        dropped=dropped,
        warnings=tuple(warnings),
    )


def near(name: str, known: Sequence[str]) -> str:
    """What is meant instead, or what there is."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"others are {', '.join(map(repr, known[:20])) or 'none'}"


def _check_names(frame: pd.DataFrame, columns: Columns) -> None:
    known = [str(name) for name in frame.columns]
    asked = {
        "--target": (columns.target,),
        "--features": columns.features,
        "--drop": columns.drop,
        "--costs": columns.costs or (),
        "--group": (columns.group,) if columns.group else (),
        "--weights": (columns.weights,) if columns.weights else (),
    }
    for option, names in asked.items():
        for name in names:
            if name not in known:
                raise InvalidColumns(f"{option} {name!r}: no such column, {near(name, known)}")
            if option != "--target" and name == columns.target:
                raise InvalidColumns(f"{option} {name!r}: that is the target; leave it out there")
    for name in columns.costs or ():
        if frame[name].dtype.kind not in "fiub":
            raise InvalidColumns(f"--costs {name!r}: holds text, expected numbers")


def _labels(column: pd.Series[Any], name: str) -> Floats:
    numbers = pd.to_numeric(column, errors="coerce")
    text = np.flatnonzero((numbers.isna() & column.notna()).to_numpy())
    if len(text):
        at = int(text[0])
        raise InvalidTarget(
            f"target {name!r}: line {at + HEADER} holds {str(column.iloc[at])[:40]!r}, expected numbers"
        )
    labels = numbers.to_numpy(dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(labels))
    if len(broken):
        raise InvalidTarget(
            f"target {name!r}: line {broken[0] + HEADER} of the file is {said_of(labels[broken[0]])} "
            f"({len(broken)} of {len(labels)} labels are missing or not finite), expected finite numbers; "
            "leave those lines out"
        )
    if np.ptp(labels) == 0:
        raise InvalidTarget(f"target {name!r}: all {len(labels)} labels are {labels[0]:g}; there is nothing to learn")
    return labels


def _weights(frame: pd.DataFrame, name: str | None) -> Floats:
    if name is None:
        return np.ones(len(frame))
    weights = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise InvalidColumns(f"--weights {name!r}: line {bad[0] + HEADER} is no finite number of at least 0")
    if not (weights > 0).any():
        raise InvalidColumns(f"--weights {name!r}: all are 0, expected some above 0")
    return weights


def _is_cost(frame: pd.DataFrame, name: str, asked: tuple[str, ...] | None) -> bool:
    return name in asked if asked is not None else is_cost(name) and frame[name].dtype.kind in "fiub"


def _networks(frame: pd.DataFrame, group: str | None, schema: Schema, raw: Floats) -> NDArray[np.intp]:
    """Number of the network of each row: by the group, or by equal choices and numbers; costs may be measured anew."""
    if group is not None:
        return np.asarray(pd.factorize(frame[group], use_na_sentinel=False)[0], np.intp)
    kept = schema.of_kind("choice", "number") or tuple(range(raw.shape[1]))
    rows = np.nan_to_num(raw[:, kept], nan=np.inf)
    return np.asarray(np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1), np.intp)
