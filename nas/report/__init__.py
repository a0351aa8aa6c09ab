"""One offline HTML file that tells what a run did and whether it kept its budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.run import Run

__all__ = ["write_report"]


def write_report(run: Run, path: Path) -> Path:
    """Write the report of a run, finished or not; the same run always gives the same bytes.

    Args:
        run: open for reading.
        path: of the HTML file; an older report there is replaced, whole or not at all.
    Returns: the path.
    Raises: RunFileError: the run file is damaged; OSError: the file cannot be written.
    """
    from nas.report.page import render

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.part")
    text = render(run)
    try:
        half.write_text(text, encoding="utf-8")
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None
    return path
