"""Lines of a text file, plain or gzipped, with numbers for messages."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

from hardware.device_table import InvalidTable

CODE = "utf-8-sig"  # spreadsheets put a byte order mark before the header


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Number from 1 and text of every line that is not empty. Raises InvalidTable."""
    try:
        with gzip.open(path, "rt", encoding=CODE) if path.suffix == ".gz" else path.open(encoding=CODE) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.strip()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InvalidTable(f"{path}: cannot be read ({error}); expected text, or text in a .gz") from None
