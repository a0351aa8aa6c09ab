"""Repeated K-fold splits; labels of one network stay together."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rows = NDArray[np.intp]
Split = tuple[Rows, Rows]  # training rows, test rows; ascending


class TooFewRows(ValueError):
    """Fewer networks than folds, or folds too small for what is asked of them; the message says how many are needed."""


def repeated_folds(n: int, folds: int, repeats: int, seed: int, groups: ArrayLike | None = None) -> list[Split]:
    """Splits of n rows, each row in one test fold of each repeat; a function of its arguments.

    Args:
        n: number of rows.
        folds: of one repeat, from 2 on; sizes differ by one row at most (with groups, by as little as they allow).
        repeats: from 1 on; each shuffles anew.
        seed: of the shuffles.
        groups: (n,) which network each row is of; rows of one network are never on both sides of a split.
    Returns: ``repeats`` times ``folds`` pairs, repeat by repeat.
    Raises: TooFewRows: fewer rows (distinct networks) than folds. ValueError: folds below 2 or repeats below 1.
    """
    if folds < 2 or repeats < 1:
        raise ValueError(f"folds={folds}, repeats={repeats}, expected at least 2 folds and 1 repeat")
    network = network_numbers(n, groups)
    count = int(network.max()) + 1 if n else 0
    if count < folds:
        what = "rows" if groups is None else "distinct networks"
        raise TooFewRows(f"{count} labelled {what} for {folds} folds; give at least {folds}, or ask for fewer folds")
    sizes = np.bincount(network)
    splits: list[Split] = []
    for repeat in range(repeats):
        fold_of = _dealt(sizes, folds, np.random.default_rng((seed, repeat)))[network]
        splits.extend((np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(folds))
    return splits


def network_numbers(n: int, groups: ArrayLike | None) -> Rows:
    """(n,) number from 0 of the network of each row, in order of first appearance; without groups, each its own.

    Raises: ValueError: groups of another length.
    """
    if groups is None:
        return np.arange(n)
    names = np.asarray(groups)
    if names.shape != (n,):
        raise ValueError(f"groups of shape {names.shape}, expected one entry for each of the {n} rows")
    _, first, place = np.unique(names, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.intp)
    order[np.argsort(first)] = np.arange(len(first))
    return order[place]


def _dealt(sizes: Rows, folds: int, rng: np.random.Generator) -> Rows:
    """(networks,) fold of each: shuffled, then the largest first, each to the fold that has the fewest rows."""
    shuffled = rng.permutation(len(sizes))
    fold_of = np.empty(len(sizes), dtype=np.intp)
    if (sizes == 1).all():
        fold_of[shuffled] = np.arange(len(sizes)) % folds
        return fold_of
    rows, networks = np.zeros(folds), np.zeros(folds)
    for network in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold = int(np.lexsort((networks, rows))[0])
        fold_of[network] = fold
        rows[fold] += sizes[network]
        networks[fold] += 1
    return fold_of
