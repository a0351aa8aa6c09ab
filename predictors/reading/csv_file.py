"""Tables in text files, with codes kept as they are written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from predictors.schema import InvalidTable

ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
_CODE = re.compile(r"0[0-9]+")  # a number would lose its zeros
LONG = 16  # digits from which a float64 no longer holds every whole number


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read a table; columns of digit strings such as ``00120210`` stay text.

    Args:
        path: a file whose name ends with .csv or .tsv, or with .gz after it; the first line names the columns.
    Raises: InvalidTable: no such file, not a table, no rows, two columns of one name.
    """
    file = Path(path)
    if not file.name.lower().endswith(ENDINGS):
        raise InvalidTable(f"table {file}: expected a name that ends with one of {', '.join(ENDINGS)}")
    text = _as_text(file)
    names = [str(name).strip() for name in text.iloc[0]]
    rows = text.iloc[1:].reset_index(drop=True)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidTable(f"table {file}: {names.count(twice[0])} columns are named {twice[0]!r}; rename one")
    if not len(rows):
        raise InvalidTable(f"table {file}: no rows, expected one line for each network below the line of names")
    return pd.DataFrame({name: _typed(rows[at]) for at, name in enumerate(names)})


def _as_text(file: Path) -> pd.DataFrame:
    separator = "\t" if ".tsv" in file.name.lower() else ","
    try:
        return pd.read_csv(file, sep=separator, header=None, dtype=str, keep_default_na=False, skipinitialspace=True)
    except FileNotFoundError:
        raise InvalidTable(f"table {file}: no such file") from None
    except IsADirectoryError:
        raise InvalidTable(f"table {file}: is a folder, expected a file") from None
    except pd.errors.EmptyDataError:
        raise InvalidTable(f"table {file}: empty, expected a line of names and one line for each network") from None
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, EOFError) as error:
        reason = str(error).strip().splitlines()[-1][:120]
        raise InvalidTable(f"table {file}: not a table of text ({reason})") from None


def _typed(column: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers where all of the column are numbers that a float64 holds; empty cells and NaN are missing."""
    texts = column.str.strip()
    missing = texts.str.lower().isin(["", "nan", "na", "n/a", "null", "none"])
    given = texts[~missing]
    if given.empty:
        return pd.Series(float("nan"), index=column.index)
    code = given.str.fullmatch(_CODE).any() or (given.str.fullmatch(r"[0-9]+") & (given.str.len() >= LONG)).any()
    if not code:
        numbers = pd.to_numeric(given, errors="coerce")
        if not numbers.isna().any():
            return numbers if len(given) == len(texts) else numbers.reindex(column.index).astype(float)
    return texts.mask(missing).astype(object)
