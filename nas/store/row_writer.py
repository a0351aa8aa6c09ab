"""The process that writes rows for a driver: ``python -m nas.store.row_writer PATH``, see ``nas.store.row_process``.

It reads a dictionary and then batches of rows, until its input ends, and answers a line for each batch committed.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from nas.store.packing import Packer
from nas.store.row_process import DONE
from nas.store.rows import COLUMNS
from nas.store.sqlite_file import connect
from nas.store.writer import insertion

_DESIGN = COLUMNS.index("arch")


def main() -> None:
    """Write what comes in."""
    messages, answers = sys.stdin.buffer, sys.stdout.buffer
    packer = Packer(pickle.load(messages))
    connection = connect(Path(sys.argv[1]), "rw")
    statement = insertion("qmark")
    while True:
        try:
            rows = pickle.load(messages)
        except (EOFError, pickle.UnpicklingError):  # the driver has ended, perhaps within a message
            return
        packed = [(*row[:_DESIGN], packer.pack(row[_DESIGN]), *row[_DESIGN + 1 :]) for row in rows]
        with connection:
            connection.executemany(statement, packed)
        answers.write(DONE)
        answers.flush()


if __name__ == "__main__":
    main()
